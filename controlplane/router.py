"""The state machine that ties the rooms together: ``handle(events, now) -> effects``.

No socket, no clock, no thread. Events are taken in one by one, decisions are made once for all of
them, so that a flood of changes to one prefix costs one change in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from controlplane.bgp.peer_state import PeerState
from controlplane.model.effects import Effects
from controlplane.model.events import (
    EndOfRib,
    Event,
    IntentChanged,
    PeerCleared,
    PortChanged,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SelftestBegan,
    SelftestEnded,
    SessionDown,
    SessionUp,
    SpeakerLost,
    TimePassed,
    UnderlayRouteChanged,
    UnderlaySynced,
    WorkloadAttached,
    WorkloadDetached,
)
from controlplane.model.instant import Instant
from controlplane.model.intent import NodeIntent
from controlplane.model.label import LabelLedger
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.routing.containment import Containment, EventFailure
from controlplane.routing.decision_process import DecisionProcess
from controlplane.routing.initial_sync import NEVER, InitialSync
from controlplane.routing.limits import RouteLimits
from controlplane.routing.reload import Reload
from controlplane.routing.selftest_vrfs import SelftestVrfs
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState
from controlplane.vpn.next_hop_resolver import NextHopResolver
from controlplane.vpn.next_hop_tracker import NextHopTracker
from controlplane.vpn.plan import IntentRefusedError, plan_vrfs
from controlplane.vpn.vrf import Vrf


class Router:
    """One node's control plane. ``ledger`` is what the store kept of the labels."""

    def __init__(self, ledger: LabelLedger | None = None) -> None:
        self.state = RouterState(ledger or LabelLedger())
        self._start = InitialSync(self.state)
        self._decisions = DecisionProcess(self.state)
        self._sessions = Sessions(self.state)
        self._limits = RouteLimits(self.state, self._decisions.leaks)
        self._reload = Reload(self.state, self._decisions, self._sessions)
        self._containment = Containment(self.state, self._sessions)
        self.scratch = SelftestVrfs(self.state)

    # -- the turn -----------------------------------------------------------------------------

    def handle(self, events: Iterable[Event], now: Instant) -> Effects:
        """Take in events and say what follows. An event of a peer that raises is contained, and
        told by ``take_failures``; any other exception leaves decisions half made."""
        state = self.state
        state.begin(now)
        for event in events:
            try:
                self._take(event)
            except Exception as error:  # one peer's event must not end the sessions of all
                self._containment.contain(event, error)
        self._sessions.expire()
        self._decisions.settle()
        self._limits.look()
        self._decisions.settle()  # what a VRF that has room again took from the others here
        self._tell()
        self._start.look()
        return state.effects

    def _take(self, event: Event) -> None:
        match event:
            case RoutesReceived():
                if event.attributes.large_communities and event.family.is_vpn:
                    self.state.workloads.hear(event.attributes)
                self._sessions.routes_received(event)
            case RoutesWithdrawn():
                self._sessions.routes_withdrawn(event)
            case SessionUp():
                self._sessions.up(event)
            case SessionDown():
                self._sessions.down(event)
            case SpeakerLost():
                self._sessions.speaker_lost(event)
            case EndOfRib():
                self._sessions.end_of_rib(event)
            case RefreshRequested():
                self._sessions.refresh_requested(event)
            case PeerCleared():
                self._sessions.cleared(event.peer)
            case UnderlayRouteChanged():
                turns = self.state.underlay.change(event.prefix, event.paths, event.metric)
                self._decisions.ways_turned(turns)
            case UnderlaySynced():
                self._start.underlay_synced = True
            case PortChanged():
                self._decisions.port_turned(event.name, up=event.present and event.up)
            case IntentChanged():
                self._intent_changed(event.intent)
            case WorkloadAttached():
                self.state.workloads.attach(event, self.state.vrfs)
            case WorkloadDetached():
                self.state.workloads.detach(event.name, self.state.vrfs)
            case SelftestBegan():
                self.scratch.open(event.scratch)
            case SelftestEnded():
                self.scratch.close()
            case TimePassed():
                pass
            case _:
                assert_never(event)

    def _intent_changed(self, intent: NodeIntent) -> None:
        first = self.state.intent is None
        self.scratch.close()  # its labels and tables may be somebody's now
        if self._reload.take_over(intent) and first:
            self._start.begin(intent.sync_timeout)

    def _tell(self) -> None:
        """Words for the peers, once everything is decided."""
        state = self.state
        if state.intent is None:
            return
        state.effects.actions += state.core_out.flush(state.listeners(), state.intent.loopback)
        for outs in state.ce_out.values():
            for out in outs.values():
                state.effects.actions += out.flush()

    # -- what others look at ------------------------------------------------------------------

    @property
    def next_deadline(self) -> float | None:
        """When ``TimePassed`` should come next, on the monotonic clock; None: nothing is due."""
        rooms = (self._sessions, self._limits, self._start, self._decisions)
        now = self.state.now.monotonic
        due = (t for room in rooms for t in room.deadlines() if now < t < NEVER)
        return min(due, default=None)

    def why_not(self, intent: NodeIntent, now: Instant) -> str | None:
        """Why ``IntentChanged`` with this intent would be refused; None if it would not be."""
        try:
            plan_vrfs(intent, self.state.ledger, now.boot)
        except IntentRefusedError as refusal:
            return str(refusal)
        return None

    def take_failures(self) -> list[EventFailure]:
        """Return the events that raised since the last call."""
        failures, self._containment.failures = self._containment.failures, []
        return failures

    @property
    def intent(self) -> NodeIntent | None:
        """What the operator wants."""
        return self.state.intent

    @property
    def ledger(self) -> LabelLedger:
        """Return which labels are assigned, and which are in hold-down."""
        return self.state.ledger

    def told(self, peer: PeerId, family: Family) -> int:
        """How many routes of a family a peer has been told."""
        if peer.is_core:
            return self.state.core_out.count(family)
        out = self.state.ce_rib_out(peer)
        return out.count(family) if out else 0

    @property
    def in_sync(self) -> bool:
        """True once the start of day is over: leftovers in the kernel may be swept."""
        return self.state.in_sync

    @property
    def vrfs(self) -> dict[str, Vrf]:
        """The VRFs by name."""
        return self.state.vrfs

    @property
    def peers(self) -> dict[PeerId, PeerState]:
        """The sessions."""
        return self.state.peers

    @property
    def hops(self) -> NextHopTracker:
        """The next hops in use."""
        return self.state.hops

    @property
    def underlay(self) -> NextHopResolver:
        """The way to the other PEs."""
        return self.state.underlay
