"""A ruleset as values: what nftables should hold, comparable and without its text.

Rules are kept as text because that is what nft reads, but every name and address in them comes
through ``name``, ``quoted`` or an ``ipaddress`` type: nothing that a user typed gets in unseen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

_PLAIN = re.compile(r"[A-Za-z0-9._-]")
_DEVICE = re.compile(r"[^\s/\"\\{};@#\x00-\x1f\x7f]{1,15}")


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set or (``is_map``) a map. ``declaration`` is its type and flags; a ``dynamic`` one is
    filled by packets, and its elements are not ours to say. With ``interval`` elements are
    ranges, replaced together."""

    name: str
    declaration: str
    elements: frozenset[str] = frozenset()
    is_map: bool = False
    dynamic: bool = False
    interval: bool = False

    @property
    def keyword(self) -> str:
        """What nft calls it."""
        return "map" if self.is_map else "set"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; ``hook`` is its base declaration, "" for a chain that is only jumped to."""

    name: str
    rules: tuple[str, ...]
    hook: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a family, everything by name."""

    family: str
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, NamedSet] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()


Ruleset: TypeAlias = dict[str, Table]
"""Our tables by family."""


def table(family: str, chains: Iterable[Chain], sets: Iterable[NamedSet]) -> Table:
    """A table of these, with every counter that a rule names."""
    by_name = {chain.name: chain for chain in chains}
    rules = (rule for chain in by_name.values() for rule in chain.rules)
    counters = frozenset(match for rule in rules for match in _COUNTER.findall(rule))
    return Table(family, by_name, {s.name: s for s in sets}, counters)


_COUNTER = re.compile(r'counter name "([^"]+)"')


def name(text: str) -> str:
    """``text`` as part of an nft identifier: what it cannot hold becomes _xx, two hex digits."""
    return "".join(c if _PLAIN.match(c) else f"_{ord(c):02x}" for c in text)


def quoted(device: str) -> str:
    """A device's name as nft reads it; ValueError for one that could break out of its quotes."""
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"{device!r} cannot be the name of a port")
    return f'"{device}"'


def counted(requirement: str, subject: str = "", traffic: str = "") -> str:
    """Count under the requirement's id (security.md), the class of traffic where it keeps several
    apart, and the port or VRF that it protects."""
    prefix = f"{requirement}.{traffic}" if traffic else requirement
    suffix = f"__{name(subject)}" if subject else ""
    return f'counter name "{prefix}{suffix}"'


def dropped(requirement: str, subject: str = "", traffic: str = "") -> str:
    """Count and drop."""
    return f"{counted(requirement, subject, traffic)} drop"


def braces(elements: Iterable[object]) -> str:
    """An anonymous set."""
    return "{ " + ", ".join(sorted(map(str, elements))) + " }"


def devices(set_name: str, names: Iterable[str]) -> NamedSet:
    """A set of device names."""
    return NamedSet(set_name, "type ifname", frozenset(map(quoted, names)))
