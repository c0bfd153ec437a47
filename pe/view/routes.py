"""Render routes as rows: every path of a VRF with its attributes, the best marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Protocol

from controlplane.bgp.decision import ranked, why_not
from controlplane.bgp.path import Path, RouteProtocol
from controlplane.model.prefix import Family, Prefix, parse_prefix
from controlplane.model.route_view import (
    ForeignRouteView,
    RouteFilter,
    RouteTable,
    RouteView,
)
from controlplane.router import Router
from controlplane.vpn.vrf import Vrf
from pe.netlink.ownership import ROUTE_METRIC
from pe.view.foreign_routes import ForeignRows, connected_metric
from pe.view.neighbor_routes import advertised, refused
from pe.view.route_fields import attribute_fields, order, selection, source_of


class KernelRoutes(Protocol):
    """What the kernel has of the VRFs' tables (``pe.dataplane.reconciler``)."""

    def has_route(self, table: int, prefix: Prefix) -> bool:
        """Return True if our route is in the kernel."""

    def route_refusal(self, table: int, prefix: Prefix) -> str:
        """Return why the kernel refuses a route, "" if it does not."""

    def foreign_routes(self, table: int) -> Iterable[ForeignRouteView]:
        """Return the routes of other programs in a table."""


def route_rows(
    router: Router, kernel: KernelRoutes, wanted: RouteFilter, now: float
) -> Iterator[RouteView]:
    """Yield the rows that pass a filter; the tables may change meanwhile."""
    names = [wanted.vrf] if wanted.vrf else sorted(router.vrfs)
    if wanted.table is RouteTable.ADVERTISED:
        yield from advertised(router, names, wanted)
        return
    if wanted.table is RouteTable.RECEIVED:
        yield from refused(router, names, wanted, now)
        wanted = replace(wanted, all_paths=True)
    selected = selection(wanted)
    for vrf in (router.vrfs[name] for name in names if name in router.vrfs):
        found = [r for r in kernel.foreign_routes(vrf.number) if selected(r.prefix)]
        foreign = ForeignRows(vrf.name, found, partial(_own_metric, vrf, kernel))
        rows = _Rows(router, kernel, foreign, wanted, now)
        for prefix in _prefixes(vrf, wanted):
            yield from rows.of(vrf, prefix)
        if not wanted.neighbor:
            yield from foreign


def _own_metric(vrf: Vrf, kernel: KernelRoutes, prefix: Prefix) -> int | None:
    """Return the metric of the VRF's own route in the kernel, None if there is none."""
    best = vrf.table.best.get(prefix)
    if best is not None and best.source.protocol is RouteProtocol.CONNECTED:
        return connected_metric(prefix)
    return ROUTE_METRIC if kernel.has_route(vrf.number, prefix) else None


def _prefixes(vrf: Vrf, wanted: RouteFilter) -> Iterable[Prefix]:
    if "/" in wanted.prefix and not wanted.longer:
        asked = parse_prefix(wanted.prefix, strict=False)
        return [asked] if asked in vrf.table else []
    found = filter(selection(wanted), vrf.table.prefixes())
    if wanted.longer or not wanted.prefix:
        return sorted(found, key=order)
    # An inactive one is shown only where no other has the address: packets do not take it.
    longest = max(found, key=lambda p: (p in vrf.table.best, p.length), default=None)
    return [longest] if longest is not None else []


class _Rows:
    def __init__(
        self,
        router: Router,
        kernel: KernelRoutes,
        foreign: ForeignRows,
        wanted: RouteFilter,
        now: float,
    ) -> None:
        self._router, self._kernel, self._foreign = router, kernel, foreign
        self._wanted, self._now = wanted, now

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
        hop = self._router.hops.resolve(path.hop)
        reason = self._inactive(vrf, prefix, path, best)
        return RouteView(
            vrf=vrf.name,
            prefix=str(prefix),
            source=source_of(path),
            next_hop=_next_hop(path),
            best=path is best,
            active=not reason,
            port=hop.paths[0].device if hop.paths else "",
            labels=hop.paths[0].labels if hop.paths else (),
            age=self._now - path.accepted if path.accepted else None,
            neighbor=str(path.source.peer.address) if path.source.peer else "",
            rd=str(path.rd) if path.rd else "",
            stale=_is_stale(self._router, prefix, path),
            inactive_reason=reason,
            **attribute_fields(path.attributes),
        )

    def _inactive(self, vrf: Vrf, prefix: Prefix, path: Path, best: Path | None) -> str:
        """Return why the kernel forwards by another path or none; "" if it does by this one."""
        metric = self._router.hops.metric
        if unusable := self._router.hops.unusable(path.hop):
            return unusable
        if best is not None and path is not best:
            if vrf.table.is_in_conflict(prefix):
                return "not best: address conflict"
            return f"not best: {why_not(path, best, metric)}"
        if path.source.protocol is RouteProtocol.CONNECTED:
            return self._foreign.before(prefix, connected_metric(prefix))  # the kernel's own
        if self._kernel.has_route(vrf.number, prefix):
            return self._foreign.before(prefix)
        refused = self._kernel.route_refusal(vrf.number, prefix)
        return f"the kernel refuses it: {refused}" if refused else "not in the kernel yet"


def _next_hop(path: Path) -> str:
    if path.hop.address is not None:
        return "" if path.hop.address.is_unspecified else str(path.hop.address)
    return "" if path.hop.device else "blackhole"


def _is_stale(router: Router, prefix: Prefix, path: Path) -> bool:
    peer = router.peers.get(path.source.peer) if path.source.peer else None
    family = Family.of(prefix.afi, vpn=path.rd is not None)
    return peer is not None and peer.adj_in.is_stale(family, path.rd, prefix)
