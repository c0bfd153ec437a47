"""One BGP session as the node sees it: a few facts for the operator, and the session's number."""

from __future__ import annotations

import msgspec

from controlplane.model.effects import Announce, Effect, Withdraw
from controlplane.model.events import SessionDown, SessionUp
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.model.refused_routes import RefusedRoute, RefusedRoutes
from controlplane.speaker.notifications import reason
from controlplane.speaker.wire import Down, Up


class SessionSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A session for ``pe show neighbors``. ``since`` is in seconds of the clock given to the pool.

    ``state`` is ``idle`` (no process), ``connecting`` or ``established``; the counts are of this
    session, from its start.
    """

    peer: PeerId
    state: str
    since: float
    last_error: str
    families: frozenset[Family]
    hold_time: int
    router_id: str
    updates_received: int
    routes_received: int
    routes_sent: int
    established_count: int
    malformed: int
    """UPDATEs that RFC 7606 has dealt with, since the node began."""
    too_large: int
    """Routes whose attributes fit no UPDATE and that were withdrawn, since the node began."""
    unsent: tuple[RefusedRoute, ...]
    """Those of them that are not announced at present, the last one first; bounded."""


class WorkerSession:
    """The state of one session; changed by its process only."""

    def __init__(self, intent: PeerIntent, now: float) -> None:
        self.intent = intent
        self.number = 0
        self.since = now
        self.last_error = ""
        self.established = False
        self.running = False
        self.families: frozenset[Family] = frozenset()
        self.hold_time = intent.hold_time
        self.router_id = ""
        self.established_count = 0
        self.updates_received = self.routes_received = self.routes_sent = 0
        self.malformed = self.too_large = 0
        self.unsent = RefusedRoutes()
        self.listens = False

    @property
    def peer(self) -> PeerId:
        """Return the peer of the session."""
        return self.intent.peer

    def come_up(self, report: Up, now: float) -> SessionUp:
        """Note that the session is established; the event."""
        self.established = self.listens = True
        self.number, self.since = report.session, now
        self.established_count += 1
        self.updates_received = self.routes_received = self.routes_sent = 0
        self.unsent.clear()
        self.families = known_families(report.families)
        self.hold_time, self.router_id = report.hold_time, report.router_id
        return SessionUp(
            peer=self.peer,
            families=self.families,
            router_id=report.router_id,
            hold_time=report.hold_time,
            restart_time=report.restart_time,
            restart_families=known_families(report.restart_families),
            forwarding=known_families(report.forwarding),
            route_refresh=report.route_refresh,
            ipv6_next_hops=known_families(report.ipv6_next_hops),
        )

    def queued(self, action: Effect) -> None:
        """Note what is on its way to the peer."""
        if isinstance(action, Announce | Withdraw):
            self.routes_sent += len(action.nlri)
            for nlri in action.nlri if len(self.unsent) else ():
                self.unsent.forget(action.family, nlri.rd, (nlri.prefix,))

    def go_down(self, down: Down, now: float) -> SessionDown | None:
        """Note that a connection ended; the event if it was an established one.

        Graceful is the loss of the transport alone (RFC 4724 section 4.2).
        """
        self.last_error = reason(down)
        if not self.established:
            return None
        self.established = self.listens = False
        self.since = now
        graceful = down.cause == "lost"
        return SessionDown(peer=self.peer, reason=self.last_error, graceful=graceful)

    def snapshot(self) -> SessionSnapshot:
        """Return the facts for the operator."""
        waiting = "connecting" if self.running else "idle"
        return SessionSnapshot(
            peer=self.peer,
            state="established" if self.established else waiting,
            since=self.since,
            last_error=self.last_error,
            families=self.families,
            hold_time=self.hold_time,
            router_id=self.router_id,
            updates_received=self.updates_received,
            routes_received=self.routes_received,
            routes_sent=self.routes_sent,
            established_count=self.established_count,
            malformed=self.malformed,
            too_large=self.too_large,
            unsent=tuple(self.unsent),
        )


def known_families(names: list[str]) -> frozenset[Family]:
    """Return those of the named families that Bulkhead knows."""
    known = {family.value: family for family in Family}
    return frozenset(known[name] for name in names if name in known)
