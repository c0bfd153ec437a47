"""Render routes as rows: every path of a VRF with its attributes, the best marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from controlplane.bgp.decision import ranked, why_not
from controlplane.bgp.path import Path, RouteProtocol
from controlplane.model.attributes import AsSegment
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.model.view import RouteFilter, RouteSource, RouteView
from controlplane.router import Router
from controlplane.vpn.vrf import Vrf


class KernelRoutes(Protocol):
    """What the kernel has of the VRFs' tables (``pe.dataplane.reconciler``)."""

    def has_route(self, table: int, prefix: Prefix) -> bool:
        """Return True if our route is in the kernel."""

    def route_refusal(self, table: int, prefix: Prefix) -> str:
        """Return why the kernel refuses a route, "" if it does not."""


def route_rows(
    router: Router, kernel: KernelRoutes, wanted: RouteFilter, now: float
) -> Iterator[RouteView]:
    """Yield the rows that pass a filter; the tables may change meanwhile."""
    rows = _Rows(router, kernel, wanted, now)
    names = [wanted.vrf] if wanted.vrf else sorted(router.vrfs)
    for vrf in (router.vrfs[name] for name in names if name in router.vrfs):
        for prefix in _prefixes(vrf, wanted):
            yield from rows.of(vrf, prefix)


def _prefixes(vrf: Vrf, wanted: RouteFilter) -> Iterable[Prefix]:
    if not wanted.prefix:
        return sorted(vrf.table.prefixes(), key=_order)
    asked = parse_prefix(wanted.prefix, strict=False)
    if wanted.longer:
        return sorted((p for p in vrf.table.prefixes() if asked.contains(p)), key=_order)
    if "/" in wanted.prefix:
        return [asked] if asked in vrf.table else []
    covering = [p for p in vrf.table.prefixes() if p.contains(asked)]
    return [max(covering, key=lambda p: p.length)] if covering else []


def _order(prefix: Prefix) -> tuple[int, bytes, int]:
    return (len(prefix.packed), prefix.packed, prefix.length)


class _Rows:
    def __init__(
        self, router: Router, kernel: KernelRoutes, wanted: RouteFilter, now: float
    ) -> None:
        self._router, self._kernel, self._wanted, self._now = router, kernel, wanted, now

    def of(self, vrf: Vrf, prefix: Prefix) -> Iterator[RouteView]:
        """Yield the paths of a prefix, the best first."""
        wanted, best = self._wanted, vrf.table.best.get(prefix)
        for path in ranked(vrf.table.candidates(prefix), self._router.hops.metric):
            peer = path.source.peer
            other = wanted.neighbor and (peer is None or str(peer.address) != wanted.neighbor)
            if other or not (wanted.all_paths or path is best or best is None):
                continue
            yield self._row(vrf, prefix, path, best)

    def _row(self, vrf: Vrf, prefix: Prefix, path: Path, best: Path | None) -> RouteView:
        a, hop = path.attributes, self._router.hops.resolve(path.hop)
        reason = self._inactive(vrf, prefix, path, best)
        return RouteView(
            vrf=vrf.name,
            prefix=str(prefix),
            source=_source(path),
            next_hop=_next_hop(path),
            best=path is best,
            active=not reason,
            port=hop.paths[0].device if hop.paths else "",
            labels=hop.paths[0].labels if hop.paths else (),
            age=self._now - path.accepted if path.accepted else 0.0,
            neighbor=str(path.source.peer.address) if path.source.peer else "",
            rd=str(path.rd) if path.rd else "",
            local_pref=a.local_pref,
            med=a.med,
            origin=a.origin.name,
            as_path=" ".join(map(_segment, a.as_path)),
            communities=tuple(f"{x}:{y}" for x, y in a.communities),
            large_communities=tuple(":".join(map(str, c)) for c in a.large_communities),
            route_targets=tuple(sorted(map(str, a.route_targets))),
            sites_of_origin=tuple(sorted(map(str, a.sites_of_origin))),
            stale=_is_stale(self._router, prefix, path),
            inactive_reason=reason,
        )

    def _inactive(self, vrf: Vrf, prefix: Prefix, path: Path, best: Path | None) -> str:
        """Return why the kernel forwards by another path or none; "" if it does by this one."""
        metric = self._router.hops.metric
        if unusable := self._router.hops.unusable(path.hop):
            return unusable
        if best is not None and path is not best:
            return f"not best: {why_not(path, best, metric)}"
        if path.source.protocol is RouteProtocol.CONNECTED:
            return ""  # the kernel's own
        if self._kernel.has_route(vrf.number, prefix):
            return ""
        refused = self._kernel.route_refusal(vrf.number, prefix)
        return f"the kernel refuses it: {refused}" if refused else "not in the kernel yet"


def _source(path: Path) -> RouteSource:
    if path.source.protocol is RouteProtocol.CONNECTED:
        return RouteSource.CONNECTED
    if path.source.protocol is RouteProtocol.STATIC:
        return RouteSource.STATIC
    if path.source.is_local:
        return RouteSource.EBGP if path.source.peer else RouteSource.WORKLOAD
    return RouteSource.VPN if path.source.peer else RouteSource.LEAKED


def _next_hop(path: Path) -> str:
    if path.hop.address is not None:
        return str(path.hop.address)
    return "" if path.hop.device else "blackhole"


def _segment(segment: AsSegment) -> str:
    text = " ".join(map(str, segment.asns))
    if segment.kind == "confed-sequence":
        return f"({text})"
    return text if segment.kind == "sequence" else f"{{{text.replace(' ', ',')}}}"


def _is_stale(router: Router, prefix: Prefix, path: Path) -> bool:
    peer = router.peers.get(path.source.peer) if path.source.peer else None
    return peer is not None and not peer.up and peer.stale_until is not None and bool(prefix)
