"""How many routes a peer may send and a VRF may hold (RFC 4381 section 3.3, RFC 7454 section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controlplane.bgp.peer_state import PeerState
from controlplane.model.effects import ResetSession
from controlplane.model.intent import PrefixLimit
from controlplane.model.prefix import Family
from controlplane.routing.state import RouterState
from controlplane.vpn.inter_vrf_import import InterVrfImport
from controlplane.vpn.vrf import Vrf

MAX_PREFIX_REACHED = 1  # Cease subcode, RFC 4486
TOO_MANY = "maximum number of prefixes reached"

# Seconds between two times that a VRF asks for what it had no room for: one customer's table at
# its limit must not have every peer repeat itself all the time.
ASK_EVERY = 60.0

Lose = Callable[[PeerState, str], None]
Limits = tuple[tuple[Family, PrefixLimit], ...]


class PrefixLimits:
    """Max-prefix: a warning, then Cease and a pause. ``lose`` ends a session and its routes."""

    def __init__(self, state: RouterState, lose: Lose) -> None:
        self._state = state
        self._lose = lose

    def check(self, peer: PeerState, family: Family) -> None:
        """Check a peer after it sent more routes, or after its limit changed."""
        limit = peer.intent.limit(family) if peer.intent.prefix_limits else None
        if limit is None:
            return
        count = peer.adj_in.count(family)
        if count > limit.maximum:
            self._shut(peer, limit, count)
        elif count * 100 >= limit.maximum * limit.warn_percent and family not in peer.warned:
            peer.warned.add(family)
            self._state.notice(
                "warning", "prefix_limit_near",
                peer=str(peer.intent.peer), count=count, limit=limit.maximum,
            )  # fmt: skip

    def _shut(self, peer: PeerState, limit: PrefixLimit, count: int) -> None:
        state, name = self._state, peer.intent.peer
        self._lose(peer, f"{TOO_MANY} ({count})")
        hold = limit.idle_hold
        peer.held_since = state.now.monotonic
        peer.held_until = end_of_hold(peer, limit)
        state.notice("error", "prefix_limit_exceeded", peer=str(name), count=count, idle_hold=hold)
        state.act(ResetSession(name, MAX_PREFIX_REACHED, TOO_MANY))
        state.configure_speakers((name.vrf,))

    def changed(self, peer: PeerState, before: Limits) -> None:
        """Apply limits that a reload has changed, to a peer in its pause too; the reload
        configures the speakers afterwards.

        Another maximum lets it try again: whether it exceeds that one is seen then.
        """
        peer.warned.clear()
        after = peer.intent.prefix_limits
        if peer.held_until is None:
            for family in peer.adj_in.families:
                self.check(peer, family)
        elif maxima(before) != maxima(after):
            self._let_go(peer)
        else:
            peer.held_until = max(end_of_hold(peer, limit) for _, limit in after)
            if peer.held_until <= self._state.now.monotonic:
                self._let_go(peer)

    def release_due(self) -> None:
        """Let peers try again whose pause is over."""
        for peer in list(self._state.attention.values()):
            if peer.held_until is not None and self._state.now.monotonic >= peer.held_until:
                self.release(peer)

    def release(self, peer: PeerState) -> None:
        """Let a peer try again."""
        self._let_go(peer)
        self._state.configure_speakers((peer.intent.peer.vrf,))

    def _let_go(self, peer: PeerState) -> None:
        peer.held_until = None
        self._state.notice("info", "idle_hold_expired", peer=str(peer.intent.peer))

    def deadlines(self) -> Iterator[float]:
        """Return when something will be due."""
        return (p.held_until for p in self._state.attention.values() if p.held_until is not None)


def maxima(limits: Limits) -> dict[Family, int]:
    """Return how many prefixes a peer may announce of each family."""
    return {family: limit.maximum for family, limit in limits}


def end_of_hold(peer: PeerState, limit: PrefixLimit) -> float:
    """Return when a peer that exceeded this limit may try again."""
    return peer.held_since + limit.idle_hold if limit.idle_hold else float("inf")


class RouteLimits:
    """Log a full VRF once; fill it up again when it has room."""

    def __init__(self, state: RouterState, leaks: InterVrfImport) -> None:
        self._state = state
        self._leaks = leaks
        self._full: set[str] = set()

    def look(self) -> None:
        """Say which VRFs are full; ask again for the routes of those that no longer are."""
        for vrf in [self._state.vrfs[name] for name in self._state.index.overflowed]:
            if vrf.name not in self._full:
                self._full.add(vrf.name)
                limit = vrf.intent.route_limit
                self._state.notice("error", "vrf_limit_reached", vrf=vrf.name, limit=limit)
            if vrf.has_room and self._state.now.monotonic >= vrf.asked_at + ASK_EVERY:
                self._fill_up(vrf)

    def _fill_up(self, vrf: Vrf) -> None:
        state = self._state
        del state.index.overflowed[vrf.name]
        vrf.asked_at = state.now.monotonic
        self._full.discard(vrf.name)
        state.notice("info", "vrf_limit_cleared", vrf=vrf.name, routes=len(vrf.table))
        peers = [*state.core, *state.peers_of(vrf.name)]
        state.route_import.restore((vrf,), peers)
        self._leaks.fill(vrf)
        for peer in peers:
            state.ask_again(peer)

    def deadlines(self) -> Iterator[float]:
        """Return when something will be due."""
        vrfs = (self._state.vrfs[name] for name in self._state.index.overflowed)
        return (vrf.asked_at + ASK_EVERY for vrf in vrfs if vrf.has_room)
