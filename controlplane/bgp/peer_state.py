"""One BGP session as the control plane sees it: what is negotiated, held, stale and due."""

from __future__ import annotations

from collections import Counter
from ipaddress import AddressValueError, IPv4Address
from typing import TypeAlias

from controlplane.bgp.adj_rib_in import AdjRibIn
from controlplane.bgp.path import RouteProtocol, Source
from controlplane.model.events import SessionUp
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.model.refused_routes import RefusedRoutes

# A peer that does not offer graceful restart sends no End-of-RIB; it is taken to have sent all
# that it has once it has been silent for so many seconds.
QUIET = 10.0


Attention: TypeAlias = "dict[PeerId, PeerState]"
"""The peers that something is due for: End-of-RIB, stale routes, the end of a pause."""


class PeerState:
    """Runtime of a session. Times are seconds on the monotonic clock."""

    def __init__(self, intent: PeerIntent, attention: Attention | None = None) -> None:
        self.intent = intent
        self._attention: Attention = {} if attention is None else attention
        self._eor_owed: set[Family] = set()
        self._stale_until: float | None = None
        self._held_until: float | None = None
        self.adj_in = AdjRibIn()
        self.up = False
        self.since = 0.0
        self.received_at = 0.0
        self.families: frozenset[Family] = frozenset()
        self.last_error = ""
        self.restart_time = 0
        self.restart_families: frozenset[Family] = frozenset()
        self.forwarding: frozenset[Family] = frozenset()
        self.route_refresh = True
        self.ipv6_next_hops: frozenset[Family] = frozenset()
        self.source = self._source("")
        self.eor_received: set[Family] = set()
        self.own_restart = False  # it was our speaker that died, not the peer
        self.stale_since: float | None = None
        self.held_since = 0.0
        self.refused: Counter[str] = Counter()
        self.refused_routes = RefusedRoutes()
        self.warned: set[Family] = set()
        self.flaps = 0

    def _source(self, router_id: str) -> Source:
        peer = self.intent.peer
        return Source(RouteProtocol.BGP, peer.vrf, peer, self.intent.is_ebgp, _number(router_id))

    def came_up(self, event: SessionUp, families: frozenset[Family], now: float) -> None:
        """Take over what was negotiated."""
        self.up, self.since, self.received_at, self.families = True, now, now, families
        self.restart_time, self.forwarding = event.restart_time, event.forwarding
        self.restart_families = event.restart_families
        self.route_refresh = event.route_refresh
        self.ipv6_next_hops = event.ipv6_next_hops
        self.source = self._source(event.router_id)
        self.eor_received, self.eor_owed = set(), set(families)
        self.last_error = ""
        self.warned.clear()

    def went_down(self, reason: str, now: float) -> None:
        """Note the end of a session."""
        self.flaps += self.up
        self.up, self.since, self.last_error = False, now, reason
        self.eor_owed = set()
        self.refused_routes.clear()

    @property
    def eor_owed(self) -> set[Family]:
        """The families whose End-of-RIB the peer has not been sent."""
        return self._eor_owed

    @eor_owed.setter
    def eor_owed(self, families: set[Family]) -> None:
        self._eor_owed = families
        self._attend()

    @property
    def stale_until(self) -> float | None:
        """When its stale routes are dropped, None where it has none."""
        return self._stale_until

    @stale_until.setter
    def stale_until(self, moment: float | None) -> None:
        self._stale_until = moment
        self._attend()

    @property
    def held_until(self) -> float | None:
        """When its pause is over, None while it has none."""
        return self._held_until

    @held_until.setter
    def held_until(self, moment: float | None) -> None:
        self._held_until = moment
        self._attend()

    def _attend(self) -> None:
        moments = (self._stale_until, self._held_until)
        if self._eor_owed or moments != (None, None):
            self._attention[self.intent.peer] = self
        else:
            self._attention.pop(self.intent.peer, None)

    @property
    def disabled(self) -> bool:
        """True while the session is kept down on purpose (max-prefix idle hold)."""
        return self.held_until is not None

    @property
    def ends_its_rib(self) -> bool:
        """True where End-of-RIB is to be expected of the peer (RFC 4724 section 2)."""
        return bool(self.restart_time or self.eor_received)

    @property
    def quiet_at(self) -> float:
        """When the peer will have been silent for long enough."""
        return self.received_at + QUIET

    def has_sent_all(self, now: float) -> bool:
        """Return True once the peer has sent its whole table, as far as that can be known."""
        if not self.up:
            return False
        return self.eor_received >= self.families if self.ends_its_rib else now >= self.quiet_at


def _number(router_id: str) -> int:
    try:
        return int(IPv4Address(router_id))
    except AddressValueError:
        return 0  # not known, or not one: it only breaks ties
