"""One BGP session as the control plane sees it: what is negotiated, held, stale and due."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

from controlplane.bgp.adj_rib_in import AdjRibIn
from controlplane.bgp.path import Protocol, Source
from controlplane.model.events import SessionUp
from controlplane.model.intent import PeerIntent
from controlplane.model.prefix import Family

# A peer that does not offer graceful restart sends no End-of-RIB; it is taken to have told all
# that it has this many seconds after the session came up.
QUIET_AFTER_UP = 10.0


class PeerState:
    """Runtime of a session. Times are seconds on the monotonic clock."""

    def __init__(self, intent: PeerIntent) -> None:
        self.intent = intent
        self.adj_in = AdjRibIn()
        self.up = False
        self.since = 0.0
        self.families: frozenset[Family] = frozenset()
        self.last_error = ""
        self.restart_time = 0
        self.forwarding: frozenset[Family] = frozenset()
        self.source = self._source("0.0.0.0")  # noqa: S104 - a router id not yet known, no listener
        self.eor_received: set[Family] = set()
        self.eor_owed: set[Family] = set()
        self.stale_until: float | None = None
        self.held_until: float | None = None
        self.refused: Counter[str] = Counter()
        self.warned: set[Family] = set()
        self.flaps = 0

    def _source(self, router_id: str) -> Source:
        vrf, peer = self.intent.peer.vrf, self.intent.peer
        return Source(
            Protocol.BGP,
            vrf,
            peer,
            self.intent.is_ebgp,
            int(IPv4Address(router_id or "0.0.0.0")),  # noqa: S104
        )

    def came_up(self, event: SessionUp, now: float) -> None:
        """Take over what was negotiated."""
        self.up, self.since, self.families = True, now, event.families
        self.restart_time, self.forwarding = event.restart_time, event.forwarding
        self.source = self._source(event.router_id)
        self.eor_received, self.eor_owed = set(), set(event.families)
        self.last_error = ""

    def went_down(self, reason: str, now: float) -> None:
        """Note the end of a session."""
        self.flaps += self.up
        self.up, self.since, self.last_error = False, now, reason
        self.eor_owed = set()

    @property
    def disabled(self) -> bool:
        """True while the session is kept down on purpose (max-prefix idle hold)."""
        return self.held_until is not None

    def told_all(self, now: float) -> bool:
        """True once the peer has sent its whole table, as far as that can be known."""
        if not self.up:
            return False
        if self.restart_time or self.eor_received:
            return self.eor_received >= self.families
        return now >= self.since + QUIET_AFTER_UP
