"""By which way a VRF reaches its workloads: each by the route through its port that covers it.

A workload is attached to a port. Of the routes through that port (the port's own subnets, static
routes, those of its CEs) the longest that covers an address says whether it is on the link or
behind a CE, and then which one. An address that none covers is on the link, unless a BGP session
over the port may still bring the route to it: then it is behind a CE that has not said so, or says
so no more, and has no way until one comes. No host on the link would answer for it, and the other
PEs would prefer that route to any that still leads to the site.

Workloads are found by the routes that change around them; those that no change covers cost nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import filterfalse

import msgspec

from controlplane.bgp.decision import best_path
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import Attributes
from controlplane.model.desired import NextHopKey
from controlplane.model.intent import DENY_ALL, PeerIntent
from controlplane.model.prefix import Afi, Prefix, mask
from controlplane.vpn.vrf_table import VrfTable

NO_WAY = {
    Afi.IPV4: NextHopKey(Afi.IPV4, IPv4Address(0)),
    Afi.IPV6: NextHopKey(Afi.IPV6, IPv6Address(0)),
}
"""The next hop of a workload that no route leads to: it is on no link, so never reachable."""


class Way(msgspec.Struct, frozen=True):
    """The best of the routes through a port to one prefix."""

    hop: NextHopKey
    protocol: RouteProtocol


Ways = dict[str, Way]
"""By port."""


@dataclass(slots=True)
class Placement:
    """One prefix of a workload; ``path`` is its candidate in the table, None before the first."""

    prefix: Prefix
    port: str
    source: Source
    attributes: Attributes
    path: Path | None = None


class WorkloadWays:
    """The workloads of one VRF, and their candidates in its table."""

    def __init__(self, table: VrfTable) -> None:
        self._table = table
        self._placed: dict[str, dict[Prefix, Placement]] = {}
        self._at: dict[Prefix, dict[str, Placement]] = {}
        # In order, by family: those inside a prefix lie side by side.
        self._ordered: dict[Afi, list[Prefix]] = {afi: [] for afi in Afi}
        self._lengths: dict[Afi, set[int]] = {}
        self._ways: dict[Prefix, Ways] = {}  # of prefixes that cover a workload
        self._to_find: dict[tuple[str, Prefix], Placement] = {}
        self._spoken: frozenset[tuple[str, Afi]] = frozenset()

    def speak_at(self, neighbors: Iterable[PeerIntent]) -> None:
        """Take in over which ports CEs may bring routes; all ways are found anew if that is
        news."""
        spoken = frozenset(
            (peer.port, family.afi)
            for peer in neighbors
            if peer.import_policy != DENY_ALL
            for family in peer.families
        )
        if spoken == self._spoken:
            return
        self._spoken = spoken
        for name, placed in self._placed.items():
            self._find_later(name, placed.values())

    def lay(self, name: str, placements: Iterable[Placement]) -> None:
        """Offer the routes of a workload in place of those it had; none at all: it is gone."""
        former = self._placed.pop(name, {})
        placed = {each.prefix: each for each in placements}
        for prefix in filterfalse(placed.__contains__, former):
            self._forget(name, former[prefix])
        for prefix, each in placed.items():
            before = former.get(prefix)
            self._enter(name, each, is_new=before is None)
            former_path = before.path if before and before.port == each.port else None
            if former_path is None or (name, prefix) in self._to_find:
                each.path = before.path if before else None
                self._find_later(name, [each])
            else:
                source = _source(each, former_path.source.protocol)
                self._put(each, Path(source, each.attributes, former_path.hop), former_path)
        if placed:
            self._placed[name] = placed

    def follow(self) -> None:
        """Have the workloads follow the routes of the table that are to be decided.

        Call before each decision: it puts the workloads' candidates into the table.
        """
        if not self._at:
            return
        # What is put below adds to what is dirty, and covers nothing.
        for cover in list(self._table.dirty):
            self._lengths[cover.afi].add(cover.length)
            inside = self._inside(cover)
            if inside:
                self._turn(cover, inside)
        to_find, self._to_find = self._to_find, {}
        for each in to_find.values():
            way = self._find(each)
            source = _source(each, way.protocol)
            self._put(each, Path(source, each.attributes, way.hop), each.path)

    # -- who is where -------------------------------------------------------------------------

    def _enter(self, name: str, each: Placement, *, is_new: bool) -> None:
        if not self._at:
            self._lengths = {afi: set() for afi in Afi}
            for prefix in self._table.prefixes():
                self._lengths[prefix.afi].add(prefix.length)
        here = self._at.setdefault(each.prefix, {})
        if is_new and not here:
            insort(self._ordered[each.prefix.afi], each.prefix)
        here[name] = each

    def _forget(self, name: str, each: Placement) -> None:
        self._to_find.pop((name, each.prefix), None)
        if each.path is not None:
            self._table.drop(each.prefix, each.path.slot)
        here = self._at[each.prefix]
        del here[name]
        if here:
            return
        del self._at[each.prefix]
        ordered = self._ordered[each.prefix.afi]
        del ordered[bisect_left(ordered, each.prefix)]
        for cover in self._covers(each.prefix):
            if cover in self._ways and not self._inside(cover):
                del self._ways[cover]

    def _find_later(self, name: str, placements: Iterable[Placement]) -> None:
        for each in placements:
            self._to_find[name, each.prefix] = each
            self._table.mark(each.prefix)

    def _put(self, each: Placement, path: Path, former: Path | None) -> None:
        each.path = path
        if former is not None and former.slot != path.slot:
            self._table.drop(each.prefix, former.slot)
        self._table.put((each.prefix,), path)

    # -- the routes around them ---------------------------------------------------------------

    def _inside(self, cover: Prefix) -> list[Prefix]:
        ordered = self._ordered[cover.afi]
        bits = cover.afi.bits
        last = int.from_bytes(cover.packed) | (1 << bits - cover.length) - 1
        first = bisect_left(ordered, cover)
        return ordered[first : bisect_right(ordered, Prefix(last.to_bytes(bits // 8), bits))]

    def _covers(self, prefix: Prefix) -> Iterator[Prefix]:
        """Yield the prefixes around this one, itself too, that may be in the table: longest
        first."""
        for length in sorted(self._lengths[prefix.afi], reverse=True):
            if length <= prefix.length:
                yield Prefix(mask(prefix.packed, length), length)

    def _turn(self, cover: Prefix, inside: list[Prefix]) -> None:
        """Find the ways anew of those for whom the routes to ``cover`` are others than before."""
        now, before = self._learned(cover), self._ways.pop(cover, {})
        if now:
            self._ways[cover] = now
        if now == before:
            return
        turned = {port for port in {*now, *before} if now.get(port) != before.get(port)}
        for prefix in inside:
            for name, each in self._at[prefix].items():
                if each.port in turned:
                    self._to_find[name, prefix] = each

    def _find(self, each: Placement) -> Way:
        afi = each.prefix.afi
        on_link = NextHopKey(afi, None, device=each.port)
        for cover in self._covers(each.prefix):
            if cover not in self._ways:
                if cover not in self._table or not (learned := self._learned(cover)):
                    continue
                self._ways[cover] = learned
            way = self._ways[cover].get(each.port)
            if way is not None:
                protocol = way.protocol if cover == each.prefix else RouteProtocol.BGP
                return Way(on_link if _is_itself(each.prefix, way.hop) else way.hop, protocol)
        if (each.port, afi) in self._spoken:
            return Way(NO_WAY[afi], RouteProtocol.BGP)
        return Way(on_link, RouteProtocol.BGP)

    def _learned(self, cover: Prefix) -> Ways:
        """Return the best routes to a prefix by port; those of workloads, of other PEs and of other
        VRFs do not count."""
        by_port: dict[str, list[Path]] = {}
        for path in self._table.candidates(cover):
            if path.source.is_local and path.hop.device and not path.source.is_workload:
                by_port.setdefault(path.hop.device, []).append(path)
        found: Ways = {}
        for port, paths in by_port.items():
            try:
                best = best_path(paths, _reachable)
            except Exception:  # noqa: S112 - such a route is left out of the table as well
                continue
            if best is not None:
                found[port] = Way(best.hop, best.source.protocol)
        return found


def _reachable(_: NextHopKey) -> int:
    """Return a metric: while the port is down, the workload is as unreachable as the CE."""
    return 0


def _is_itself(prefix: Prefix, hop: NextHopKey) -> bool:
    """Return whether the next hop of the route to a host is that host."""
    return hop.address is not None and prefix.packed == hop.address.packed


def _source(each: Placement, protocol: RouteProtocol) -> Source:
    # Like a route learned in the VRF, so that LOCAL_PREF decides between two PEs that have the
    # workload: a static route of ours would hide the one of the PE that it moved to. Where the
    # operator has a static route to just that prefix, the workload's must not be hidden by it.
    is_static = protocol in (RouteProtocol.STATIC, RouteProtocol.PLACED)
    protocol = RouteProtocol.PLACED if is_static else RouteProtocol.BGP
    if each.source.protocol is protocol:
        return each.source
    return msgspec.structs.replace(each.source, protocol=protocol)
