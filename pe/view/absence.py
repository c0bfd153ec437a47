"""Why a VRF has no route to a prefix, as far as the node knows: what it does not import it does not
keep, and of what it refused it keeps the last routes of each neighbour."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.bgp.peer_state import PeerState
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.router import Router
from controlplane.vpn.vrf import Vrf


def absence(router: Router, vrf: Vrf, asked: str, now: float, *, core: bool) -> Iterator[str]:
    """Yield the reasons; without ``core`` what PEs announced for other VPNs is left out."""
    prefix = parse_prefix(asked, strict=False)
    peers = [p for p in router.peers.values() if p.intent.peer.vrf == vrf.name]
    of_core = [p for p in router.peers.values() if p.intent.peer.is_core]
    for peer in (*peers, *(of_core if core else ())):
        yield from _refused(peer, prefix, now)
    if vrf.overflowed:
        yield f"the VRF is at its limit of {vrf.intent.route_limit} routes and has refused some"
    if down := [str(peer.intent.peer) for peer in (*peers, *of_core) if not peer.up]:
        yield f"no session with {', '.join(down)}"
    if any(peer.up for peer in of_core):
        targets = ", ".join(sorted(map(str, vrf.intent.import_targets))) or "none"
        yield f"no PE has announced it with a route target that the VRF imports ({targets})"
    if any(peer.up for peer in peers):
        yield "no neighbour in the VRF has announced it"


def _refused(peer: PeerState, prefix: Prefix, now: float) -> Iterator[str]:
    for each in peer.refused_routes:
        if each.nlri.prefix == prefix or each.nlri.prefix.contains(prefix):
            rd = f" under RD {each.nlri.rd}" if each.nlri.rd else ""
            ago = f"{now - each.since:.0f} s ago"
            what = f"{peer.intent.peer} announced {each.nlri.prefix}{rd}"
            yield f"{what}: refused, {each.reason}, {ago}"
