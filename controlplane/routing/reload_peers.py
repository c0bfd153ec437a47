"""Sessions at a change of intent: new ones, ones that go, and other rules for those that stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from controlplane.bgp.ce_rib_out import CeRibOut
from controlplane.bgp.peer_state import PeerState
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Prefix
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState

Links = Mapping[str, tuple[Prefix, ...]]


class PeerReload:
    """Bring the sessions to a new intent, after the VRFs."""

    def __init__(self, state: RouterState, sessions: Sessions) -> None:
        self._state = state
        self._sessions = sessions

    def change(self, intent: NodeIntent, old_links: Links, changed: Collection[str]) -> None:
        """``old_links`` are the VRFs' links as they were, ``changed`` the VRFs with another intent;
        in another VRF no session has another one."""
        state, wanted = self._state, {peer.peer: peer for peer in intent.all_peers}
        for name in [name for name in state.peers if name not in wanted]:
            self._remove(name)
        known = dict(state.peers)
        state.peers.clear()
        for name, wanted_peer in wanted.items():
            state.peers[name] = known.get(name) or PeerState(wanted_peer, state.attention)
        state.core = tuple(p for name, p in state.peers.items() if name.is_core)
        state.peers_at.clear()
        for name, wanted_peer in wanted.items():
            if wanted_peer.port:
                state.peers_at.setdefault(wanted_peer.port, []).append(name)
        for name, wanted_peer in wanted.items():
            if not name.is_core:
                if name.vrf not in changed:
                    continue
                self._change_ce_out(wanted_peer)
            self._change_peer(state.peers[name], wanted_peer, old_links)

    def _remove(self, name: PeerId) -> None:
        peer = self._state.peers.pop(name)
        self._sessions.forget(peer)
        self._state.to_replay.pop(name, None)
        self._state.attention.pop(name, None)
        self._state.ce_pending.pop(name, None)
        outs = self._state.ce_out.get(name.vrf, {})
        outs.pop(name, None)
        if not outs:
            self._state.ce_out.pop(name.vrf, None)

    def _change_peer(self, peer: PeerState, intent: PeerIntent, old_links: Links) -> None:
        name, vrf = intent.peer, self._state.vrfs.get(intent.peer.vrf)
        links = vrf.links if vrf else ()
        before = _rules(peer.intent, old_links.get(name.vrf, links))
        limits, peer.intent = peer.intent.prefix_limits, intent
        if before != _rules(intent, links):
            # What the old rules refused was not kept: ask for it again.
            self._state.route_import.reconsider(peer)
            self._state.ask_again(peer)
        if limits != intent.prefix_limits:
            self._sessions.limits.changed(peer, limits)

    def _change_ce_out(self, intent: PeerIntent) -> None:
        vrf = self._state.vrfs[intent.peer.vrf]
        outs = self._state.ce_out.setdefault(vrf.name, {})
        port, connected = vrf.port(intent.port), vrf.intent.advertise_connected
        out = outs.get(intent.peer)
        if out is None:
            outs[intent.peer] = CeRibOut(
                intent, port, connected=connected, pending=self._state.ce_pending
            )
        else:
            out.reconfigure(intent, port, connected=connected, best=vrf.table.best)


def _rules(peer: PeerIntent, links: tuple[Prefix, ...]) -> object:
    """Return what of the intent decides which of a peer's routes are taken, and as what."""
    intent = (
        peer.import_policy,
        peer.site_of_origin,
        peer.allow_as_in,
        peer.local_as,
        peer.internet,
    )
    return (intent, links)
