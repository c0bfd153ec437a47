"""What a neighbour announced and was refused, and what is announced to it, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.bgp.outbound import to_core
from controlplane.bgp.path import Path
from controlplane.bgp.peer_state import PeerState
from controlplane.model.prefix import Family, Prefix
from controlplane.model.route_view import RouteFilter, RouteSource, RouteView
from controlplane.router import Router
from pe.view.route_fields import Selection, attribute_fields, order, selection, source_of


def refused(
    router: Router, names: Iterable[str], wanted: RouteFilter, now: float
) -> Iterator[RouteView]:
    """Yield what the neighbour announced last and was not taken, with the reason.

    What a PE announced is of any VPN, and of a VRF only once it is imported.
    """
    selected = selection(wanted)
    for peer in _asked(router, names, wanted):
        core = peer.intent.peer.is_core
        if core and (wanted.vrf or not wanted.core):
            continue
        for each in list(peer.refused_routes):
            if selected(each.nlri.prefix):
                yield RouteView(
                    vrf=peer.intent.peer.vrf, prefix=str(each.nlri.prefix),
                    source=RouteSource.VPN if core else RouteSource.EBGP,
                    next_hop="", best=False, active=False, age=now - each.since,
                    neighbor=str(peer.intent.peer.address),
                    rd=str(each.nlri.rd) if each.nlri.rd else "", refused=each.reason,
                )  # fmt: skip


def advertised(router: Router, names: Iterable[str], wanted: RouteFilter) -> Iterator[RouteView]:
    """Yield what the neighbour has of this PE's routes, as they were announced to it."""
    names, selected = list(names), selection(wanted)
    for peer in _asked(router, names, wanted):
        if not peer.up:
            continue
        if peer.intent.peer.is_core:
            yield from _to_core(router, names, peer, selected)
        else:
            yield from _to_ce(router, peer, selected)


def _asked(router: Router, names: Iterable[str], wanted: RouteFilter) -> list[PeerState]:
    """Return the sessions with the neighbour: CEs of several VRFs may have one address."""
    places = {"", *names}
    return [
        peer
        for peer in router.peers.values()
        if peer.intent.peer.vrf in places and str(peer.intent.peer.address) == wanted.neighbor
    ]


def _to_ce(router: Router, peer: PeerState, selected: Selection) -> Iterator[RouteView]:
    name = peer.intent.peer
    out = router.state.ce_rib_out(name)
    if out is None:
        return
    for prefix, path in _listed(out.announced(), selected):
        hop, attributes = out.as_sent(prefix, path)
        yield RouteView(
            vrf=name.vrf, prefix=str(prefix), source=source_of(path), next_hop=str(hop),
            best=True, active=False, port=peer.intent.port, advertised_to=str(name.address),
            **attribute_fields(attributes),
        )  # fmt: skip


def _to_core(
    router: Router, names: Iterable[str], peer: PeerState, selected: Selection
) -> Iterator[RouteView]:
    state, name = router.state, peer.intent.peer
    if peer.intent.is_ebgp:  # RFC 8212: no policy, nothing is announced
        return
    hops = state.next_hops(peer)
    for vrf in names:
        if vrf not in router.vrfs:  # it went while rows were sent
            continue
        mark, routes = state.core_out.announced(vrf, name)
        for prefix, path in _listed(routes, selected):
            if hop := hops.get(Family.of(prefix.afi, vpn=True)):
                yield RouteView(
                    vrf=vrf, prefix=str(prefix), source=source_of(path), next_hop=str(hop),
                    best=True, active=False, labels=(int(mark.label),), rd=str(mark.rd),
                    advertised_to=str(name.address),
                    **attribute_fields(to_core(path, mark.targets)),
                )  # fmt: skip


def _listed(
    routes: Iterable[tuple[Prefix, Path]], selected: Selection
) -> list[tuple[Prefix, Path]]:
    wanted = (route for route in routes if selected(route[0]))
    return sorted(wanted, key=lambda route: order(route[0]))
