"""The documented tables hold every key, in the sections that have it, and no other; the example
uses each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pe.config.errors import KeyPath
from pe.config.keys import known_keys

EXAMPLE = (Path(__file__).parents[3] / "labs/examples/pe.yaml").read_text()
INSTEAD = re.compile(r"^( *)# ((?:md5-file|tcp-ao): )", re.MULTILINE)
"""Keys that stand in the example as comments, since they exclude another."""

PAGE = (Path(__file__).parents[3] / "docs/configuration.md").read_text()
RED = ("vrfs", "red")
SECTIONS = {
    "The node": (),
    "core-ports.NAME": ("core-ports", "core0"),
    "peers.ADDRESS": ("peers", "10.0.0.1"),
    "vrfs.NAME": RED,
    "limits": (*RED, "limits"),
    "ports.NAME": (*RED, "ports", "ce1"),
    "neighbors.ADDRESS": (*RED, "neighbors", "10.0.0.1"),
    "max-prefix": (*RED, "neighbors", "10.0.0.1", "max-prefix"),
    "static-routes": (*RED, "static-routes", 0),
    "workloads.NAME": (*RED, "workloads", "web"),
    "timers": ("timers",),
    "api": ("api",),
    "tcp": ("api", "tcp"),
    "grants": ("api", "tcp", "grants", 0),
}


def documented() -> dict[str, list[str]]:
    """Heading -> the keys of the table below it."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        keys = re.findall(r"^\| `([a-z0-9-]+)` \|", body, flags=re.MULTILINE)
        if keys:
            found[heading.strip().strip("`")] = keys
    return found


def test_every_section_is_documented() -> None:
    assert set(documented()) == set(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_keys_of_a_section(heading: str) -> None:
    known = known_keys(SECTIONS[heading])
    assert known
    assert sorted(documented()[heading]) == sorted(known)


def used(section: object, path: KeyPath = ()) -> Iterator[tuple[str, str]]:
    """Yield heading and key of everything that the example says."""
    if isinstance(section, list):
        for index, each in enumerate(section):
            yield from used(each, (*path, index))
    elif isinstance(section, dict):
        known = known_keys(path)
        headings = [h for h, at in SECTIONS.items() if known_keys(at) == known]
        for key, value in section.items():
            yield from ((heading, str(key)) for heading in headings)
            yield from used(value, (*path, key))


def test_the_example_uses_every_key() -> None:
    found = set(used(yaml.safe_load(INSTEAD.sub(r"\1\2", EXAMPLE))))
    every = {(heading, key) for heading, at in SECTIONS.items() for key in known_keys(at)}
    assert every - found == set()
