"""The documented tables hold every key, in the sections that have it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pe.config.keys import known_keys

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
