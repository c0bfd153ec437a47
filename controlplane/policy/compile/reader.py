"""Look packets up in verdict tables, as the kernel does."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import ICMP, ICMP6, PORT_PROTOCOLS
from controlplane.model.verdict import BY_MALFORMED, BY_ZONE, Verdict
from controlplane.model.verdict_tables import RangeKey, Tables
from controlplane.model.workload import Packet


class Reader:
    """Looks packets up in tables as the kernel does. Valid while the tables do not change."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._ranges = _index(tables.ranges4) | _index(tables.ranges6)
        self._port_ranges = _port_index(tables.port_ranges)

    def verdict(
        self, zone: str, source: IPAddress, destination: IPAddress, packet: Packet
    ) -> Verdict:
        """Return the verdict on the packet that opens a flow in VRF `zone`."""
        src, dst = self.identity(zone, source), self.identity(zone, destination)
        if src is None or dst is None:
            return BY_ZONE
        if (packet.family, packet.protocol) in ((4, ICMP6), (6, ICMP)):
            return BY_MALFORMED
        return self.in_contract(self.contract(src, dst), packet)

    def older_verdict(
        self, zone: str, source: IPAddress, destination: IPAddress, packet: Packet
    ) -> Verdict:
        """Return the verdict on a TCP flow that was not seen from its beginning, so that either
        end may have opened it: it is allowed if a rule allows one of the two flows that it may be,
        or if both are allowed."""
        turned = Packet(packet.family, packet.protocol, dport=packet.sport, sport=packet.dport)
        ahead = self.verdict(zone, source, destination, packet)
        back = self.verdict(zone, destination, source, turned)
        if ahead.is_allowed_by_rule:
            return ahead
        if back.is_allowed_by_rule:
            return back
        return back if ahead.allowed else ahead

    def identity(self, zone: str, address: IPAddress) -> int | None:
        """Return the identity number of an address; None when the VRF is not here."""
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
        """Return the contract number between two identities."""
        tables = self._tables
        number = tables.pairs.get((source, destination)) or tables.sources.get(source)
        return number or tables.destinations[destination]

    def in_contract(self, contract: int, packet: Packet) -> Verdict:
        """Return the verdict of a contract on a packet."""
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
