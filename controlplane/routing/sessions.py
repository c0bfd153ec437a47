"""Sessions that come, go and come back: what is kept meanwhile (RFC 4724) and for how long."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.bgp.peer_state import PeerState
from controlplane.model.effects import ResetSession
from controlplane.model.events import (
    EndOfRib,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
)
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.routing.limits import MAX_PREFIX_REACHED, TOO_MANY, PrefixLimits
from controlplane.routing.state import RouterState

# Cease subcodes, RFC 4486.
ADMINISTRATIVE_RESET, OTHER_CONFIGURATION_CHANGE, OUT_OF_RESOURCES = 4, 6, 8

# Seconds that a peer which is back has for its table, before what it did not repeat is dropped
# (the timer that RFC 4724 section 4.2 recommends).
LONGEST_STALE = 360.0


class Sessions:
    """Every event of a BGP session."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self.limits = PrefixLimits(state, self._end)

    # -- up and down --------------------------------------------------------------------------

    def up(self, event: SessionUp) -> None:
        """Advertise everything on a new session, and decide which of its old routes stay."""
        peer = self._state.peers.get(event.peer)
        if peer is None:
            return
        if peer.disabled:
            self._state.act(ResetSession(event.peer, MAX_PREFIX_REACHED, TOO_MANY))
            return
        if peer.up:  # its end was not reported: then it is unknown which routes are still valid
            self._end(peer, "session came up twice")
        families = event.families & frozenset(peer.intent.families)
        families = frozenset(f for f in families if f.is_vpn is event.peer.is_core)
        peer.came_up(event, families, self._state.now.monotonic)
        self._sort_out(peer)
        self._state.notice("info", "session_up", peer=str(event.peer), families=len(families))
        self._state.new_sessions.add(event.peer)
        self._warn_of_next_hops(peer)
        self._advertise_all(event.peer, families)

    def _warn_of_next_hops(self, peer: PeerState) -> None:
        """Say so where a peer over IPv6 can only have this PE's IPv4 address as next hop."""
        name, intent = peer.intent.peer, self._state.intent
        if not name.is_core or name.address.version == 4 or intent is None or not intent.loopback6:
            return
        for family, next_hop in self._state.next_hops(peer).items():
            if next_hop.version == 4:
                self._state.notice(
                    "warning", "next_hop_is_ipv4", peer=str(name), family=family.value,
                    next_hop=str(next_hop),
                    cure="enable extended next hops (RFC 8950) on the peer",
                )  # fmt: skip

    def _sort_out(self, peer: PeerState) -> None:
        """Drop the old routes of a peer that did not keep forwarding (RFC 4724 section 4.2).

        If our speaker died, the peer kept forwarding: its flags now do not matter.
        """
        for family in peer.adj_in.families:
            kept = peer.own_restart or family in peer.forwarding
            if family not in peer.families or not kept:
                self._purge(peer, family)
        peer.own_restart = False
        self._keep_stale(peer, LONGEST_STALE)
        self._await_silence(peer)

    def down(self, event: SessionDown) -> None:
        """End a session. A connection attempt that failed changes nothing: there was none."""
        peer = self._state.peers.get(event.peer)
        if peer is None or peer.disabled:
            return
        peer.last_error = event.reason
        if not peer.up:
            return
        self._state.notice("warning", "session_down", peer=str(event.peer), reason=event.reason)
        if event.graceful and peer.restart_time:
            self._peer_restarts(peer, event.reason)
        else:
            self._end(peer, event.reason)

    def _peer_restarts(self, peer: PeerState, reason: str) -> None:
        self._close(peer, reason)
        for family in peer.adj_in.families:
            if family not in peer.restart_families:
                self._purge(peer, family)
                continue
            # What it had not repeated since its last restart goes (RFC 4724 section 4.2).
            self._state.route_import.discard(peer.adj_in.take_stale(family))
            peer.adj_in.mark_stale(family)
        peer.stale_since = None
        self._keep_stale(peer, peer.restart_time)

    def speaker_lost(self, event: SpeakerLost) -> None:
        """Keep the routes of a BGP worker that died: the peers have not withdrawn them."""
        self._state.notice("error", "speaker_lost", vrf=event.vrf, reason=event.reason)
        for peer in self._state.peers_of(event.vrf):
            if peer.up:
                self._close(peer, event.reason)
                peer.own_restart = True
                for family in peer.adj_in.families:
                    peer.adj_in.mark_stale(family)
                self._keep_stale(peer, self._restart_time)

    @property
    def _restart_time(self) -> float:
        return self._state.intent.restart_time if self._state.intent else 0.0

    def _keep_stale(self, peer: PeerState, seconds: float) -> None:
        """Limit how long stale routes stay, also if the session keeps flapping."""
        if not peer.adj_in.has_stale:
            peer.stale_since = peer.stale_until = None
            return
        now = self._state.now.monotonic
        peer.stale_since = now if peer.stale_since is None else peer.stale_since
        longest = max(self._restart_time, peer.restart_time) + LONGEST_STALE
        peer.stale_until = min(now + seconds, peer.stale_since + longest)

    def _await_silence(self, peer: PeerState) -> None:
        """Take silence for a peer's End-of-RIB if it sends none."""
        if peer.stale_until is not None and not peer.ends_its_rib:
            peer.stale_until = min(peer.stale_until, peer.quiet_at)

    def _close(self, peer: PeerState, reason: str) -> None:
        peer.went_down(reason, self._state.now.monotonic)
        out = self._state.ce_rib_out(peer.intent.peer)
        if out is not None:
            out.reset()
        self._state.to_replay.pop(peer.intent.peer, None)

    def _end(self, peer: PeerState, reason: str) -> None:
        """Remove a session and all its routes."""
        self._close(peer, reason)
        self.forget(peer)

    def port_down(self, name: str) -> None:
        """End the sessions over a CE port that cannot carry packets any more.

        Without that the routes of a CE were back in use as soon as the link was, before the CE
        had advertised anything (other routers call it fast external failover).
        """
        for peer_id in self._state.peers_at.get(name, ()):
            peer = self._state.peers[peer_id]
            if peer.up:
                peer.last_error = reason = f"port {name} is down"
                self._state.notice("warning", "session_down", peer=str(peer_id), reason=reason)
                self._state.act(ResetSession(peer_id, OTHER_CONFIGURATION_CHANGE, reason))
                self._end(peer, reason)
            elif peer.adj_in.has_stale:
                self.forget(peer)

    def hold(self, peer: PeerState, seconds: float, reason: str) -> None:
        """End a session, drop its routes, and keep it down for a while."""
        name, state = peer.intent.peer, self._state
        self._end(peer, f"held down: its events cannot be processed ({reason})")
        peer.held_since = state.now.monotonic
        peer.held_until = peer.held_since + seconds
        state.notice("error", "session_held_down", peer=str(name), seconds=int(seconds))
        state.act(ResetSession(name, OUT_OF_RESOURCES, "held down"))
        state.configure_speakers((name.vrf,))

    def forget(self, peer: PeerState) -> None:
        """Drop all routes of a peer."""
        for family in peer.adj_in.families:
            self._purge(peer, family)
        peer.stale_since = peer.stale_until = None
        peer.own_restart = False

    def _purge(self, peer: PeerState, family: Family) -> None:
        self._state.route_import.discard(peer.adj_in.take_all(family))

    # -- routes -------------------------------------------------------------------------------

    def routes_received(self, event: RoutesReceived) -> None:
        """Import an UPDATE's announcements; ignore late ones of a session that is not up."""
        peer = self._state.peers.get(event.peer)
        if peer is None or not peer.up:
            return
        peer.received_at = now = self._state.now.monotonic
        self._state.route_import.receive(peer, event, now)
        if peer.stale_until is not None and not peer.ends_its_rib:
            self._keep_stale(peer, peer.quiet_at - now)
        self.limits.check(peer, event.family)

    def routes_withdrawn(self, event: RoutesWithdrawn) -> None:
        """Take in an UPDATE's withdrawals."""
        peer = self._state.peers.get(event.peer)
        if peer is not None and peer.up:
            peer.received_at = self._state.now.monotonic
            self._state.route_import.withdraw(peer, event.family, event.nlri)

    def end_of_rib(self, event: EndOfRib) -> None:
        """Drop the stale routes of a family that the peer has not repeated."""
        peer = self._state.peers.get(event.peer)
        if peer is None or not peer.up:
            return
        peer.eor_received.add(event.family)
        stale = peer.adj_in.take_stale(event.family)
        self._state.route_import.discard(stale)
        if not peer.adj_in.has_stale:
            peer.stale_since = peer.stale_until = None
        if stale:
            name = str(event.peer)
            self._state.notice("info", "stale_routes_removed", peer=name, routes=len(stale))

    # -- requests -----------------------------------------------------------------------------

    def refresh_requested(self, event: RefreshRequested) -> None:
        """Advertise our routes of a family again, as the peer asked (RFC 2918)."""
        peer = self._state.peers.get(event.peer)
        if peer is not None and peer.up:
            self._advertise_all(event.peer, frozenset({event.family}) & peer.families)

    def _advertise_all(self, name: PeerId, families: frozenset[Family]) -> None:
        out, vrf = self._state.ce_rib_out(name), self._state.vrfs.get(name.vrf)
        if name.is_core:
            known = self._state.to_replay.get(name, frozenset())
            self._state.to_replay[name] = known | families
        elif out is not None and vrf is not None:
            if not out.is_open:
                out.open(families, vrf.table.best)
            out.renew(families)

    def cleared(self, name: PeerId) -> None:
        """Reset a session for an operator, or end its pause."""
        peer = self._state.peers.get(name)
        if peer is None:
            return
        if peer.disabled:
            self.limits.release(peer)
        else:
            self._state.act(ResetSession(name, ADMINISTRATIVE_RESET, "cleared"))

    # -- time ---------------------------------------------------------------------------------

    def expire(self) -> None:
        """Do what is due by now."""
        self.limits.release_due()
        for peer in list(self._state.attention.values()):
            if peer.stale_until is not None and self._state.now.monotonic >= peer.stale_until:
                self._stale_expired(peer)

    def _stale_expired(self, peer: PeerState) -> None:
        taken = [t for family in peer.adj_in.families for t in peer.adj_in.take_stale(family)]
        self._state.route_import.discard(taken)
        peer.stale_since = peer.stale_until = None
        name = str(peer.intent.peer)
        self._state.notice("warning", "stale_routes_expired", peer=name, routes=len(taken))

    def deadlines(self) -> Iterator[float]:
        """Yield when something will be due."""
        yield from self.limits.deadlines()
        due = (peer.stale_until for peer in self._state.attention.values())
        yield from (moment for moment in due if moment is not None)
