"""The state machine that ties the rooms together: ``handle(events, now) -> effects``.

No socket, no clock, no thread. Events are taken in one by one, decisions are made once for all of
them, so that a flood of changes to one prefix costs one change in the kernel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import assert_never

from controlplane.bgp.peer_state import PeerState
from controlplane.bgp.sent_routes import Unsaid
from controlplane.model.effects import Answer, Effects
from controlplane.model.events import (
    AdjacencyChanged,
    EndOfRib,
    Event,
    FlowsEnded,
    FlowsRead,
    IntentChanged,
    LabelsTaken,
    PeerCleared,
    PolicyMapsHeld,
    PolicyMapsRefused,
    PortChanged,
    RefreshRequested,
    Requested,
    RoutesReceived,
    RoutesWithdrawn,
    SelftestBegan,
    SelftestEnded,
    SessionDown,
    SessionUp,
    SpeakerLost,
    StoreFailed,
    StoreWritten,
    TimePassed,
    UnderlayRouteChanged,
    UnderlaySynced,
    VrfsHeld,
)
from controlplane.model.instant import Instant
from controlplane.model.intent import NodeIntent
from controlplane.model.label import LabelLedger
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.model.records import PolicyRecords
from controlplane.policy.controller import PolicyController
from controlplane.policy.workload_changes import WorkloadChange
from controlplane.routing.containment import Containment, EventFailure
from controlplane.routing.decision_process import DecisionProcess
from controlplane.routing.held_routes import HeldRoutes
from controlplane.routing.initial_sync import NEVER, InitialSync
from controlplane.routing.left_out import Failures, LeftOutRoutes
from controlplane.routing.limits import RouteLimits
from controlplane.routing.pending_vrfs import SETTLE_SECONDS
from controlplane.routing.reload import Reload
from controlplane.routing.selftest_vrfs import SelftestVrfs
from controlplane.routing.sessions import Sessions
from controlplane.routing.state import RouterState
from controlplane.vpn.labels import zone_of
from controlplane.vpn.next_hop_resolver import NextHopResolver
from controlplane.vpn.next_hop_tracker import NextHopTracker
from controlplane.vpn.plan import IntentRefusedError, VrfPlan
from controlplane.vpn.vrf import Vrf

OUTCOMES = (StoreWritten, StoreFailed)
SHOWN = 5
"""VRFs that a line in the log names."""


class Router:
    """Decide for one node; ``ledger`` and ``records`` are what the store returned at ``now``."""

    def __init__(
        self, ledger: LabelLedger | None = None, records: PolicyRecords | None = None,
        now: Instant | None = None,
    ) -> None:  # fmt: skip
        self.state = RouterState(ledger or LabelLedger())
        boot, wall = (now.boot, now.wall) if now else (None, 0.0)
        self.policy = PolicyController(self.state, records, boot, wall)
        self._waiting: deque[Event] = deque()
        self._held = HeldRoutes()
        self._start = InitialSync(self.state)
        self._decisions = DecisionProcess(self.state)
        self._sessions = Sessions(self.state)
        self._limits = RouteLimits(self.state, self._decisions.leaks)
        self._reload = Reload(self.state, self._decisions, self._sessions)
        self._containment = Containment(self.state, self._sessions)
        self.scratch = SelftestVrfs(self.state)

    # -- the turn -----------------------------------------------------------------------------

    def handle(self, events: Iterable[Event], now: Instant) -> Effects:
        """Take in events and return what follows.

        An event of a peer that raises is contained, and returned by ``take_failures``; any other
        exception leaves decisions half made.

        Where the effects have anything to save, the next call brings ``StoreWritten`` or
        ``StoreFailed``: a change counts only then, and the events behind it wait that long.
        """
        state = self.state
        state.begin(now)
        if self._reload.is_under_way:
            self._reload.go_on()
        waiting, resumed, reload = self._waiting, state.resumed, self._reload
        for event in events:
            if isinstance(event, OUTCOMES):
                self._conclude(event)
            else:
                waiting.append(event)
        self.policy.look()
        # None between a change and its commit.
        while (resumed or waiting) and state.proposal is None and not reload.is_under_way:
            event = (resumed or waiting).popleft()
            try:
                self._take(event)
            except Exception as error:  # one peer's event must not end the sessions of all
                self._containment.contain(event, error)
        self._sessions.expire()
        self._expire()
        self._decisions.settle()
        self._limits.look()
        self._decisions.settle()  # what a VRF that has room again took from the others here
        state.effects.delta.adjacencies.update(state.underlay.probe_changes())
        self._identify()
        self._advertise()
        if not self._reload.is_under_way:  # else VRFs of a former run would count as leftovers
            self._start.look()
        if state.in_sync:
            self.policy.begin()
        self._save()
        return state.effects

    def _expire(self) -> None:
        """Go on without what the data plane is late with: it tries on, and says which object it is;
        to hold every session of the VRF back for it would make things worse."""
        state = self.state
        if late := state.pending.expire(state.now):
            names = ", ".join(name or "core" for name in late[:SHOWN])
            seconds = int(SETTLE_SECONDS)
            state.notice(
                "error", "kernel_not_settled", seconds=seconds, vrfs=len(late), first=names
            )
            state.configure_speakers(late)

    def _conclude(self, event: StoreWritten | StoreFailed) -> None:
        """Commit the change that was proposed, or refuse it."""
        proposal, self.state.proposal = self.state.proposal, None
        if isinstance(event, StoreFailed):
            self.policy.saved(event.saved, event.reason)
            if proposal:
                proposal.refuse(event.reason)
        else:
            self.policy.saved(None, "")
            if proposal:
                proposal.commit()

    def _save(self) -> None:
        proposal = self.state.proposal
        # What has happened already goes first: a ledger is saved as a difference from the last.
        for save in self.policy.to_save(now=proposal is not None):
            self.state.act(save)
        for save in proposal.saves if proposal else ():
            self.state.act(save)

    def _identify(self) -> None:
        """Order the identities of remote endpoints before their routes are in the kernel."""
        state, policy = self.state, self.policy
        waiting = [
            key
            for change in state.remote_endpoints
            for key in policy.remote_endpoints_changed(change)
        ]
        if waiting or len(self._held):
            delta, maps = state.effects.delta, policy.maps
            self._held.settle(delta, waiting, state.table_of, maps.number, maps.released)

    def _take(self, event: Event) -> None:
        match event:
            case RoutesReceived():
                if event.attributes.large_communities and event.family.is_vpn:
                    self.state.workloads.note_groups(event.attributes)
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
            case AdjacencyChanged(adjacency, adjacent):
                turns = self.state.underlay.adjacency_changed(adjacency, adjacent=adjacent)
                self._decisions.ways_turned(turns)
            case LabelsTaken():
                self._labels_taken(event)
            case UnderlaySynced():
                self._start.underlay_synced = True
            case PortChanged():
                is_up = event.present and event.up
                self._decisions.port_turned(event.name, up=is_up)
                if not is_up:
                    self._sessions.port_down(event.name)
            case IntentChanged():
                self._intent_changed(event)
            case Requested():
                self.policy.take(event)
            case PolicyMapsHeld() | PolicyMapsRefused() | FlowsRead() | FlowsEnded():
                self.policy.acknowledge(event)
            case VrfsHeld():
                self.state.configure_speakers(self.state.pending.held(event.numbers))
            case SelftestBegan():
                self.scratch.open(event.scratch)
            case SelftestEnded():
                self.scratch.close()
            case TimePassed() | StoreWritten() | StoreFailed():
                pass
            case _:
                assert_never(event)

    def _labels_taken(self, event: LabelsTaken) -> None:
        """Give a VRF another label where another program has its: packets under it are not ours."""
        state = self.state
        state.foreign_labels -= event.freed
        state.foreign_labels |= event.taken
        lost = [(vrf, n) for n in sorted(event.taken) if (vrf := self._reload.vrf_of(n))]
        for vrf, label in lost:
            state.notice("warning", "label_taken", vrf=vrf, label=label)
        if lost and state.intent is not None:
            self._intent_changed(IntentChanged(state.intent))

    def _intent_changed(self, event: IntentChanged) -> None:
        try:
            plan, saves = self._reload.plan(event.intent)
        except IntentRefusedError as refusal:
            self._refuse_intent(event, str(refusal))
            return
        changes = self.policy.plan(event.intent)
        saves += [change.save for change in changes]
        commit = partial(self._take_over, event, plan, changes)
        if saves:
            self.state.propose(saves, commit, partial(self._refuse_intent, event))
        else:
            commit()

    def _take_over(
        self, event: IntentChanged, plan: VrfPlan, changes: Sequence[WorkloadChange]
    ) -> None:
        first = self.state.intent is None
        self.scratch.close()  # a VRF may have its labels and tables now
        # Of all VRFs, before the devices of later portions: one under policy opens closed.
        zones = {name: zone_of(label) for name, label in plan.labels.items()}
        configure = partial(self.policy.configure, event.intent, zones, changes)
        self._reload.take_over(event.intent, plan, configure, partial(self._answer, event))
        if first:
            self._start.begin(event.intent.sync_timeout)

    def _refuse_intent(self, event: IntentChanged, reason: str) -> None:
        self.state.notice("error", "intent_refused", reason=reason)
        self._answer(event, IntentRefusedError(reason))

    def _answer(self, event: IntentChanged, error: IntentRefusedError | None = None) -> None:
        if event.ticket:
            self.state.act(Answer(event.ticket, error=error))

    def _advertise(self) -> None:
        """Emit the updates for all peers, once everything is decided."""
        state = self.state
        if state.intent is None:
            return
        pending = state.pending
        while state.ce_pending or state.to_replay or state.core_out.has_news:
            state.effects.actions += state.core_out.flush(state.listeners(), pending)
            unsaid = state.core_out.take_unsaid()
            outs = list(state.ce_pending.values())
            state.ce_pending.clear()
            for out in outs:
                vrf = out.peer.peer.vrf
                state.effects.actions += out.flush(hold=vrf in pending)
                unsaid.append((vrf, out.take_unsaid()))
            if not self._leave_out(unsaid):
                return

    def _leave_out(self, unsaid: list[tuple[str, Unsaid]]) -> bool:
        """Leave out what could not be announced; return whether there was anything."""
        state, failures = self.state, dict[str, Failures]()
        for vrf, pieces in unsaid:
            for prefixes, error in pieces:
                failures.setdefault(vrf, {}).update(dict.fromkeys(prefixes, error))
        for vrf, found in failures.items():
            self._decisions.leave_out(state.vrfs[vrf], found)
        if failures:
            self._decisions.settle()
        return bool(failures)

    # -- reading ------------------------------------------------------------------------------

    @property
    def is_taking_over(self) -> bool:
        """True while portions of a configuration are left for the turns that follow."""
        return self._reload.is_under_way

    @property
    def next_deadline(self) -> float | None:
        """When ``TimePassed`` should come next, on the monotonic clock; None: nothing is due."""
        rooms = (
            self._sessions, self._limits, self._start, self._decisions, self.policy,
            self.state.pending, self._reload,
        )  # fmt: skip
        now = self.state.now.monotonic
        due = (t for room in rooms for t in room.deadlines() if now < t < NEVER)
        return min(due, default=None)

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

    def advertised(self, peer: PeerId, family: Family) -> int:
        """Return how many routes of a family are advertised to a peer."""
        if peer.is_core:
            return self.state.core_out.count(family)
        out = self.state.ce_rib_out(peer)
        return out.count(family) if out else 0

    @property
    def left_out(self) -> LeftOutRoutes:
        """The routes that a defect keeps out."""
        return self._decisions.left_out

    @property
    def in_sync(self) -> bool:
        """True once initial sync is over: leftovers in the kernel may be deleted."""
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
