"""Verdict tables: the elements of the kernel's maps, as plain dictionaries.

The path of a packet that opens a flow, each step one lookup independent of the number of workloads
and rules:

1. source and destination address -> identity: `addresses4/6` (hash), else `ranges4/6`
   (intervals that cover all addresses of a VRF). No identity: the VRF is not here, deny.
2. `pairs[source, destination]`, else `sources[source]`, else `destinations[destination]`
   -> contract. Every identity has an element in `destinations`.
3. `ports` or `icmp` (hash), else `port_ranges` (intervals), else `protocols`, else
   `contracts` -> verdict. Every contract has an element in `contracts`.

Contract numbers have bit 31 set, identities are below 2^15: a packet mark can hold
`source << 16 | destination` and then the contract; bit 31 says which of the two it is.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from controlplane.model.verdict import Verdict


class Slot(enum.Enum):
    """One of the two parallel sets of maps: the staged one is counted and never decides."""

    ENFORCED = "enforced"
    STAGED = "staged"


AddressKey = tuple[str, bytes]
"""VRF name and packed address."""

RangeKey = tuple[str, bytes, bytes]
"""VRF name, first and last packed address (inclusive); ranges of a VRF are disjoint."""


@dataclass(slots=True)
class Tables:
    """Elements of each map. `port_ranges` of a contract and protocol are disjoint, inclusive."""

    addresses4: dict[AddressKey, int] = field(default_factory=dict)
    addresses6: dict[AddressKey, int] = field(default_factory=dict)
    ranges4: dict[RangeKey, int] = field(default_factory=dict)
    ranges6: dict[RangeKey, int] = field(default_factory=dict)
    pairs: dict[tuple[int, int], int] = field(default_factory=dict)
    sources: dict[int, int] = field(default_factory=dict)
    destinations: dict[int, int] = field(default_factory=dict)
    contracts: dict[int, Verdict] = field(default_factory=dict)
    protocols: dict[tuple[int, int], Verdict] = field(default_factory=dict)
    ports: dict[tuple[int, int, int], Verdict] = field(default_factory=dict)
    port_ranges: dict[tuple[int, int, int, int], Verdict] = field(default_factory=dict)
    icmp: dict[tuple[int, int, int], Verdict] = field(default_factory=dict)

    def size(self) -> int:
        """Return elements in all maps."""
        return sum(len(elements) for _, elements in self.maps())

    def maps(self) -> Iterator[tuple[str, dict[Any, Any]]]:
        """Name and elements of each map."""
        for each in MAP_NAMES:
            yield each, getattr(self, each)

    def copy(self) -> Tables:
        """Return the same elements in dictionaries of their own."""
        return Tables(**{name: dict(elements) for name, elements in self.maps()})


MAP_NAMES = tuple(each.name for each in fields(Tables))


@dataclass(frozen=True, slots=True)
class MapDelta:
    """Delete the keys of `gone`, then add `put`; a changed element is in both."""

    gone: frozenset[Any]
    put: Mapping[Any, Any]


TablesDelta = Mapping[str, MapDelta]
"""Changed maps only, by name; an empty one changes nothing."""


def diff(old: Tables, new: Tables) -> TablesDelta:
    """Return what turns `old` into `new`."""
    found: dict[str, MapDelta] = {}
    for name, before in old.maps():
        after = getattr(new, name)
        put = {key: value for key, value in after.items() if before.get(key) != value}
        gone = frozenset(k for k in before if k not in after or k in put)
        if put or gone:
            found[name] = MapDelta(gone, put)
    return found


def apply(delta: TablesDelta, tables: object) -> None:
    """Change `tables` (anything with such maps) in place; raises KeyError if they are not what the
    delta was made from."""
    for name, change in delta.items():
        elements = getattr(tables, name)
        for key in change.gone:
            del elements[key]
        for key, value in change.put.items():
            if key in elements:
                raise KeyError(key)
            elements[key] = value


def delta_size(delta: TablesDelta) -> int:
    """Return elements deleted and added."""
    return sum(len(change.gone) + len(change.put) for change in delta.values())
