"""Render sessions as rows: the router's state beside the speaker's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controlplane.bgp.peer_state import PeerState
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family
from controlplane.model.refused_routes import RefusedRoute
from controlplane.model.view import NeighborFamilyView, NeighborView, RefusedRouteView, SessionState
from controlplane.router import Router
from controlplane.speaker.session import SessionSnapshot


def neighbor_rows(
    router: Router, speakers: Iterable[SessionSnapshot], now: float, drops: int = 0
) -> Iterator[NeighborView]:
    """Yield every session, the core's first. ``drops``: TCP segments that the kernel dropped for
    their MD5 signature since the node started."""
    seen = {snapshot.peer: snapshot for snapshot in speakers}
    for peer in list(router.peers.values()):
        yield _row(router, peer, seen, now, drops)


def _row(
    router: Router, peer: PeerState, seen: Mapping[PeerId, SessionSnapshot], now: float, drops: int
) -> NeighborView:
    intent, snapshot = peer.intent, seen.get(peer.intent.peer)
    held = peer.held_until - now if peer.held_until not in (None, float("inf")) else 0.0
    return NeighborView(
        vrf=intent.peer.vrf,
        address=str(intent.peer.address),
        asn=intent.asn,
        local_asn=intent.local_as,
        local_address=str(intent.local_address),
        state=_state(peer, snapshot),
        state_age=now - peer.since if peer.since else None,
        families=tuple(_family(router, peer, family) for family in intent.families),
        hold_time=snapshot.hold_time if snapshot else intent.hold_time,
        port=intent.port,
        description=intent.description,
        router_id=snapshot.router_id if snapshot else "",
        flaps=peer.flaps,
        last_error=_last_error(peer, snapshot, drops),
        held_for=max(held, 0.0),
        md5=intent.md5 is not None,
        ttl_security=intent.ttl_security or 0,
        refused=dict(peer.refused),
        refused_routes=tuple(_refused(peer.refused_routes, now)),
        unsent_routes=tuple(_refused(snapshot.unsent if snapshot else (), now)),
    )


def _refused(routes: Iterable[RefusedRoute], now: float) -> Iterator[RefusedRouteView]:
    for each in routes:
        yield RefusedRouteView(
            family=family_name(each.family),
            prefix=str(each.nlri.prefix),
            rd=str(each.nlri.rd or ""),
            reason=each.reason,
            age=now - each.since,
        )


def _last_error(peer: PeerState, snapshot: SessionSnapshot | None, drops: int) -> str:
    """Return why the session is down, with a hint where its keys may be the cause: to a router
    whose peer has another key the peer is silent, and says nothing."""
    error = peer.last_error or (snapshot.last_error if snapshot else "")
    if peer.up or peer.disabled or not drops:
        return error
    hint = f"{drops} TCP segments with a wrong or missing MD5 signature: compare the keys"
    return f"{error}; {hint}" if error else hint


def _state(peer: PeerState, snapshot: SessionSnapshot | None) -> SessionState:
    if peer.disabled:
        return SessionState.HELD_DOWN
    if peer.up:
        return SessionState.ESTABLISHED
    if snapshot is None or snapshot.state == "idle":
        return SessionState.IDLE
    return SessionState.ACTIVE


def _family(router: Router, peer: PeerState, family: Family) -> NeighborFamilyView:
    limit = peer.intent.limit(family)
    return NeighborFamilyView(
        family=family_name(family),
        negotiated=peer.up and family in peer.families,
        received=peer.adj_in.count(family),
        sent=router.advertised(peer.intent.peer, family) if peer.up else 0,
        stale=peer.adj_in.stale_count(family),
        limit=limit.maximum if limit else 0,
        end_of_rib=family in peer.eor_received,
    )


def family_name(family: Family) -> str:
    """Return the family as routers print it, ``vpnv4`` for example."""
    version = 4 if family.afi is Afi.IPV4 else 6
    return f"vpnv{version}" if family.is_vpn else f"ipv{version}"
