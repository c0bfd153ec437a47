"""Sessions at a change of intent: new ones, ones that go, and other rules for those that stay."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.bgp.ce_rib_out import CeRibOut
from controlplane.bgp.peer_state import PeerState
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Prefix
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState

Links = Mapping[str, tuple[Prefix, ...]]


class PeerReload:
    """Brings the sessions to a new wish. The VRFs have been brought there before."""

    def __init__(self, state: RouterState, sessions: Sessions) -> None:
        self._state = state
        self._sessions = sessions

    def change(self, intent: NodeIntent, old_links: Links) -> None:
        """``old_links`` are the VRFs' links as they were."""
        state, wanted = self._state, {peer.peer: peer for peer in intent.all_peers}
        for name in [name for name in state.peers if name not in wanted]:
            self._remove(name)
        known = dict(state.peers)
        state.peers.clear()
        for name, wish in wanted.items():
            state.peers[name] = known.get(name) or PeerState(wish)
        for name, wish in wanted.items():
            if not name.is_core:
                self._change_ce_out(wish)
            self._change_peer(state.peers[name], wish, old_links)

    def _remove(self, name: PeerId) -> None:
        peer = self._state.peers.pop(name)
        self._sessions.forget(peer)
        self._state.to_replay.pop(name, None)
        outs = self._state.ce_out.get(name.vrf, {})
        outs.pop(name, None)
        if not outs:
            self._state.ce_out.pop(name.vrf, None)

    def _change_peer(self, peer: PeerState, wish: PeerIntent, old_links: Links) -> None:
        name, vrf = wish.peer, self._state.vrfs.get(wish.peer.vrf)
        links = vrf.links if vrf else ()
        before = _rules(peer.intent, old_links.get(name.vrf, links))
        limits, peer.intent = peer.intent.prefix_limits, wish
        if before != _rules(wish, links):
            # What the old rules refused was not kept: ask for it again.
            self._state.route_import.reconsider(peer)
            self._state.ask_again(peer)
        if limits != wish.prefix_limits:
            self._sessions.limits.changed(peer, limits)

    def _change_ce_out(self, wish: PeerIntent) -> None:
        vrf = self._state.vrfs[wish.peer.vrf]
        outs = self._state.ce_out.setdefault(vrf.name, {})
        port, connected = vrf.port(wish.port), vrf.intent.advertise_connected
        out = outs.get(wish.peer)
        if out is None:
            outs[wish.peer] = CeRibOut(wish, port, connected=connected)
        else:
            out.reconfigure(wish, port, connected=connected, best=vrf.table.best)


def _rules(peer: PeerIntent, links: tuple[Prefix, ...]) -> object:
    """Return what of the intent decides which of a peer's routes are taken, and as what."""
    wish = (peer.import_policy, peer.site_of_origin, peer.allow_as_in, peer.local_as, peer.internet)
    return (wish, links)
