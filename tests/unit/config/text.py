"""A small good configuration, and what its faults come to."""

from __future__ import annotations

from pathlib import Path

from controlplane.model.intent import NodeIntent
from pe.config import ConfigError, ConfigErrors, parse_config

GOOD = """\
name: pe1
asn: 65000
loopback: 10.255.0.1
core-ports:
  core0:
    addresses: 10.0.0.1/31
peers:
  10.255.0.2:
    md5: core
vrfs:
  red:
    rd: 65000:1
    route-target: 65000:1
    ports:
      ce1:
        addresses: [10.1.1.1/30, 2001:db8:1::1/64]
    neighbors:
      10.1.1.2:
        asn: 65001
        md5: red
        import: 10.1.0.0/16 le 24
        export: any
  blue:
    rd: 65000:2
    route-target: 65000:2
    ports:
      ce2:
        addresses: 10.1.1.1/30
    static-routes:
      - prefix: 10.2.0.0/16
        via: 10.1.1.2
"""


def changed(*edits: tuple[str, str]) -> str:
    """Return the good text with pieces replaced, each of which must be there."""
    text = GOOD
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def intent(*edits: tuple[str, str]) -> NodeIntent:
    """What a changed text means."""
    return parse_config(changed(*edits)).intent


def errors(text: str, folder: Path = Path()) -> tuple[ConfigError, ...]:
    """Return the faults of a text, none if it is good."""
    try:
        parse_config(text, folder=folder)
    except ConfigErrors as found:
        return found.errors
    return ()


def only(text: str) -> ConfigError:
    """Return the one fault of a text."""
    found = errors(text)
    assert len(found) == 1, [str(error) for error in found]
    return found[0]


def line_of(text: str, piece: str) -> int:
    """Return the line, from 1, that first holds a piece of text."""
    return text[: text.index(piece)].count("\n") + 1
