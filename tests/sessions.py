"""The sessions of a whole node, as a pool of BGP processes takes them."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.intent import PeerIntent
from controlplane.speaker import SpeakerPool


def by_vrf(peers: Iterable[PeerIntent], pool: SpeakerPool) -> dict[str, tuple[PeerIntent, ...]]:
    """These sessions by VRF; none where the pool has some and none is among these."""
    found: dict[str, tuple[PeerIntent, ...]] = dict.fromkeys(pool.restarts(), ())
    for peer in peers:
        found[peer.peer.vrf] = (*found.get(peer.peer.vrf, ()), peer)
    return found
