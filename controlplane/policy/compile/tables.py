"""Verdict tables: the elements of the kernel's maps, as plain dictionaries.

The path of a packet that opens a flow, each step one lookup whatever the number of workloads
and rules:

1. source and destination address -> identity: `addresses4/6` (hash), else `ranges4/6`
   (intervals that cover all addresses of a VRF). No identity: the VRF is not here, deny.
2. `pairs[source, destination]`, else `sources[source]`, else `destinations[destination]`
   -> contract. Every identity has an element in `destinations`.
3. `ports` or `icmp` (hash), else `port_ranges` (intervals), else `protocols`, else
   `contracts` -> verdict. Every contract has an element in `contracts`.

Contract numbers have bit 31 set, identities are below 2^15: a packet mark can hold
`source << 16 | destination` and then the contract, and tell which of the two it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from controlplane.model.prefix import IPAddress
from controlplane.model.verdict import BY_MALFORMED, BY_ZONE, Verdict
from controlplane.model.workload import Packet
from controlplane.policy.compile.contract import Contract
from controlplane.policy.language.service import ICMP, ICMP6, PORT_PROTOCOLS

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
        """Elements in all maps."""
        return sum(len(elements) for _, elements in self.maps())

    def maps(self) -> Iterator[tuple[str, dict[Any, Any]]]:
        """Name and elements of each map."""
        for each in MAP_NAMES:
            yield each, getattr(self, each)

    def copy(self) -> Tables:
        """The same elements in dictionaries of their own."""
        return Tables(**{name: dict(elements) for name, elements in self.maps()})


MAP_NAMES = tuple(each.name for each in fields(Tables))


@dataclass(frozen=True, slots=True)
class MapDelta:
    """Delete the keys of `gone`, then add `put`; a changed element is in both."""

    gone: frozenset[Any]
    put: Mapping[Any, Any]


Delta = Mapping[str, MapDelta]
"""Changed maps only, by name; an empty one changes nothing."""


def diff(old: Tables, new: Tables) -> Delta:
    """What turns `old` into `new`."""
    found: dict[str, MapDelta] = {}
    for name, before in old.maps():
        after = getattr(new, name)
        put = {key: value for key, value in after.items() if before.get(key) != value}
        gone = frozenset(k for k in before if k not in after or k in put)
        if put or gone:
            found[name] = MapDelta(gone, put)
    return found


def apply(delta: Delta, tables: object) -> None:
    """Change `tables` (whatever has such maps) in place; raises KeyError if they are not what the
    delta was made from."""
    for name, change in delta.items():
        elements = getattr(tables, name)
        for key in change.gone:
            del elements[key]
        for key, value in change.put.items():
            if key in elements:
                raise KeyError(key)
            elements[key] = value


def delta_size(delta: Delta) -> int:
    """Elements deleted and added."""
    return sum(len(change.gone) + len(change.put) for change in delta.values())


def contract_elements(number: int, contract: Contract) -> Iterator[tuple[str, Any, Verdict]]:
    """Map name, key and value of each element that a contract is made of."""
    yield "contracts", number, contract.verdict
    for protocol, verdict in contract.protocols:
        yield "protocols", (number, protocol), verdict
    for protocol, low, high, verdict in contract.spans:
        if protocol in (ICMP, ICMP6):
            for kind in range(low, high + 1):
                yield "icmp", (number, protocol, kind), verdict
        elif low == high:
            yield "ports", (number, protocol, low), verdict
        else:
            yield "port_ranges", (number, protocol, low, high), verdict


class Reader:
    """Looks packets up in tables as the kernel does. Valid while the tables do not change."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._ranges = _index(tables.ranges4) | _index(tables.ranges6)
        self._port_ranges = _port_index(tables.port_ranges)

    def verdict(
        self, zone: str, source: IPAddress, destination: IPAddress, packet: Packet
    ) -> Verdict:
        """The verdict on the packet that opens a flow in VRF `zone`."""
        src, dst = self.identity(zone, source), self.identity(zone, destination)
        if src is None or dst is None:
            return BY_ZONE
        if (packet.family, packet.protocol) in ((4, ICMP6), (6, ICMP)):
            return BY_MALFORMED
        return self.in_contract(self.contract(src, dst), packet)

    def identity(self, zone: str, address: IPAddress) -> int | None:
        """The identity number of an address; None when the VRF is not here."""
        packed = address.packed
        exact = self._tables.addresses4 if len(packed) == 4 else self._tables.addresses6
        number = exact.get((zone, packed))
        return self._in_ranges(zone, packed) if number is None else number

    def _in_ranges(self, zone: str, packed: bytes) -> int | None:
        starts, found = self._ranges.get((zone, len(packed)), ([], []))
        place = bisect_right(starts, packed) - 1
        if place < 0 or packed > found[place][0]:
            return None
        return found[place][1]

    def contract(self, source: int, destination: int) -> int:
        """The contract number between two identities."""
        tables = self._tables
        number = tables.pairs.get((source, destination)) or tables.sources.get(source)
        return number or tables.destinations[destination]

    def in_contract(self, contract: int, packet: Packet) -> Verdict:
        """The verdict of a contract on a packet."""
        tables, protocol = self._tables, packet.protocol
        found: Verdict | None = None
        if protocol in PORT_PROTOCOLS:
            found = tables.ports.get((contract, protocol, packet.dport))
            found = found or self._in_port_ranges(contract, protocol, packet.dport)
        elif protocol in (ICMP, ICMP6):
            found = tables.icmp.get((contract, protocol, packet.icmp_type))
        return found or tables.protocols.get((contract, protocol)) or tables.contracts[contract]

    def _in_port_ranges(self, contract: int, protocol: int, port: int) -> Verdict | None:
        for low, high, verdict in self._port_ranges.get((contract, protocol), ()):
            if low <= port <= high:
                return verdict
        return None


_Ranges = dict[tuple[str, int], tuple[list[bytes], list[tuple[bytes, int]]]]


def _index(ranges: Mapping[RangeKey, int]) -> _Ranges:
    found: _Ranges = {}
    for zone, first, last in sorted(ranges):
        starts, ends = found.setdefault((zone, len(first)), ([], []))
        starts.append(first)
        ends.append((last, ranges[zone, first, last]))
    return found


def _port_index(
    ranges: Mapping[tuple[int, int, int, int], Verdict],
) -> dict[tuple[int, int], list[tuple[int, int, Verdict]]]:
    found: dict[tuple[int, int], list[tuple[int, int, Verdict]]] = {}
    for (contract, protocol, low, high), verdict in ranges.items():
        found.setdefault((contract, protocol), []).append((low, high, verdict))
    return found
