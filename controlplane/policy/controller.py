"""Decides what changes microsegmentation: requests, remote endpoints, acknowledgements and time.

A part of the router's turn. A change is durable before it counts: it is decided, proposed to the
store, and committed by the event that the store has written it. Then the kernel's policy maps
change, and routes and answers follow once the kernel holds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import assert_never

from controlplane.model.attachment import EndpointKey, MembershipChange
from controlplane.model.effects import (
    Answer,
    ExpectVerdicts,
    LogEvent,
    Save,
    SaveBaseline,
    SaveHistory,
)
from controlplane.model.events import (
    FlowsEnded,
    FlowsRead,
    PolicyMapsHeld,
    PolicyMapsRefused,
    Requested,
)
from controlplane.model.flow import FlowRecord
from controlplane.model.history import History
from controlplane.model.instant import BootTime
from controlplane.model.intent import NodeIntent
from controlplane.model.observed import MOST_BASELINES, Baseline, Recorded, prune
from controlplane.model.records import PolicyRecords
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import HERE, OTHER_VRF, RemoteEndpointsChanged
from controlplane.policy.acknowledgements import SOON, MapAcknowledgements
from controlplane.policy.compile.identity_quota import MOST_OF_VRF
from controlplane.policy.conflicts import Conflicts
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.flow_revocation import FlowRevocation
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.insight.logged_flows import LoggedFlows
from controlplane.policy.insight.rule_names import RuleNames, Term
from controlplane.policy.language.revision import Ledger
from controlplane.policy.requests import (
    BaselineRequested,
    DetachRequested,
    PromoteRequested,
    RollBackRequested,
    StageRequested,
    StoreRefusedError,
    TagRequested,
    UnstageRequested,
    WorkloadAttachRequested,
)
from controlplane.policy.revision_moves import RevisionMoves
from controlplane.policy.state import HOLD_DOWN_SECONDS, PolicyState
from controlplane.policy.tables import NotCompiledError
from controlplane.policy.turn import Turn
from controlplane.policy.workload_changes import WorkloadChange, WorkloadChanges

SAVE_RETRY_SECONDS = 5.0
"""How long what the store did not take, and what has happened already, waits for the next try."""

Acknowledgement = PolicyMapsHeld | PolicyMapsRefused | FlowsRead | FlowsEnded


class PolicyController:
    """Microsegmentation of one node. ``boot`` is the time at which ``records`` were read."""

    def __init__(
        self, turn: Turn, records: PolicyRecords | None = None,
        boot: BootTime | None = None, wall: float = 0.0,
    ) -> None:  # fmt: skip
        records, boot = records or PolicyRecords(), boot or BootTime("", 0.0)
        held_down = _ends(records.held_down, boot)
        self.state = PolicyState(
            EndpointRegistry(records.attachments, {}, held_down),
            Ledger.kept(records.revisions, records.trail),
        )
        self.history, self.baselines = History(records.history), records.baselines
        self.intent: NodeIntent | None = None
        self.book, self.logged_flows = FlowBook(), LoggedFlows()
        self.book.watch_logged(self.logged_flows.note)
        self.started = wall
        self._turn = turn
        self.maps = MapAcknowledgements(turn)
        self.conflicts = Conflicts(turn, self.state)
        self.revocation = FlowRevocation(turn, self.state, self.maps)
        self._workloads = WorkloadChanges(
            turn, self.state, self.maps, self.revocation, self.history
        )
        self._moves = RevisionMoves(
            turn, self.state, self.maps, self.revocation, self._unsaved_append
        )
        self._unsaved: list[Save] = []
        self._in_store = 0  # how many of them the store has been given
        self._save_at = float("-inf")
        self._over_quota: set[str] = set()
        self.quota_reached = 0
        """How often a VRF reached its quota of identities."""
        self._rule_names = {slot: RuleNames() for slot in Slot}

    # -- requests -----------------------------------------------------------------------------

    def take(self, event: Requested) -> None:
        """Decide on a request."""
        match event:
            case WorkloadAttachRequested() | TagRequested() | DetachRequested():
                self._workloads.take(event, self.intent)
            case StageRequested() | UnstageRequested() | PromoteRequested() | RollBackRequested():
                self._moves.take(event)
            case BaselineRequested():
                self._record(event.ticket, event.baseline)
            case _:
                raise TypeError(f"no request of the policy: {event!r}")

    def _record(self, ticket: int, baseline: Baseline) -> None:
        known = self.baselines.get(baseline.name)
        if known is not None:
            self._turn.act(Answer(ticket, Recorded(known)))
            return

        def commit() -> None:
            self.baselines[baseline.name] = baseline
            pruned = prune(self.baselines)
            for name in pruned:
                self._turn.notice(
                    "warning", "baseline_pruned", name=name, by=baseline.name, kept=MOST_BASELINES
                )
            self._turn.act(Answer(ticket, Recorded(baseline, pruned)))

        def refuse(reason: str) -> None:
            self._turn.act(Answer(ticket, error=StoreRefusedError(reason)))

        self._turn.propose([SaveBaseline(baseline)], commit, refuse)

    # -- the configuration --------------------------------------------------------------------

    def plan(self, intent: NodeIntent) -> list[WorkloadChange]:
        """Decide which workloads of the configuration come, change and go."""
        return self._workloads.configure(intent)

    def configure(
        self, intent: NodeIntent, zones: Mapping[str, int], changes: Iterable[WorkloadChange]
    ) -> None:
        """Take over a configuration whose workload changes are durable."""
        if self.intent is None:
            self._report_unreadable()
            self.maps.carry(self.state.routes())
        self.intent = intent
        known = {name for name, zone in self.state.vrfs.items() if zones.get(name) == zone}
        self.maps.carry(self.state.set_vrfs(zones))
        for change in changes:
            change.commit()
        closed = frozenset(self.state.tables.under_policy()).difference(known)
        if closed:  # such a VRF opens with its verdicts in place, or stays closed
            self._turn.act(ExpectVerdicts(closed))

    def _report_unreadable(self) -> None:
        for revision in self.state.unreadable():
            self._turn.notice(
                "error", "policy_unreadable",
                revision=revision.digest[:12], name=revision.name, state=revision.state.value,
                problem=revision.problem,
                cure="stage and promote a revision that this program accepts",
            )  # fmt: skip

    def begin(self) -> None:
        """Let the kernel follow: the peers have sent their routes, or their time is over."""
        if not self.state.begun:
            self.maps.carry(self.state.begin())

    # -- what happened ------------------------------------------------------------------------

    def acknowledge(self, event: Acknowledgement) -> None:
        """Take in what the kernel holds, refuses, or has."""
        match event:
            case PolicyMapsHeld():
                self.maps.held(event.number)
                self._confirm()
            case PolicyMapsRefused():
                self.maps.refused(event.number, event.reason)
            case FlowsRead():
                self.revocation.read(event)
            case FlowsEnded():
                self.revocation.ended(event)
            case _:
                assert_never(event)

    def remote_endpoints_changed(self, change: RemoteEndpointsChanged) -> list[EndpointKey]:
        """Take in what routes of other PEs carry now.

        Returns the endpoints whose routes must wait until the kernel knows their identity.
        """
        boot = self._turn.now.boot.seconds
        self._note_moves(change)
        self.conflicts.take(change)
        self.maps.carry(self.state.take_remote_endpoints(change.vrf, change.remote, boot))
        self._report_quota()
        self.revocation.soon(change.vrf, change.remote)
        if not self.maps.is_waiting:
            return []
        return [(change.vrf, prefix) for prefix, claim in change.remote.items() if claim]

    def _confirm(self) -> None:
        """Free numbers once the kernel holds no table with them: what was refused may have one."""
        if not self.maps.is_waiting:
            self.state.tables.confirm()
            self.maps.carry(self.state.tables.retry_refused())
            self._report_quota()

    def _report_quota(self) -> None:
        """Log each VRF that has reached its quota of identities, once until it is below again."""
        refused = self.state.tables.refused_identities
        for vrf in sorted(refused.keys() - self._over_quota):
            self.quota_reached += 1
            self._turn.notice(
                "warning", "identity_quota_reached", vrf=vrf, addresses=refused[vrf],
                limit=MOST_OF_VRF,
                cure="use fewer combinations of tags that rules name; the addresses are pending",
            )  # fmt: skip
        for vrf in sorted(self._over_quota - refused.keys()):
            self._turn.notice("info", "identity_quota_cleared", vrf=vrf)
        self._over_quota = set(refused)

    def _note_moves(self, change: RemoteEndpointsChanged) -> None:
        lines: list[MembershipChange] = []
        for prefix, claim in change.remote.items():
            key = (change.vrf, prefix)
            if (claim and claim.conflict) or (not claim and key in self.conflicts.addresses):
                continue  # it has been here all the time
            for name in sorted(self.state.population.owners(key)):
                where = claim.node or OTHER_VRF if claim else HERE
                text, wall = f"{prefix} {where}", self._turn.now.wall
                lines.append(MembershipChange(name, "moved", "", text, "bgp", wall))
                self._turn.notice(
                    "info", "workload_moved", workload=name, to=where, address=str(prefix)
                )
        for line in lines:
            self.history.append(line)
        if lines:
            self._unsaved_append(SaveHistory(tuple(lines)))

    # -- time ---------------------------------------------------------------------------------

    def look(self) -> None:
        """Do what is due, and a slice of what takes several turns."""
        self.maps.look()
        self._work()
        self.conflicts.look()
        self.maps.carry(self.state.expire(self._turn.now.boot.seconds))
        self._follow_rule_names()
        self.revocation.look()

    def _work(self) -> None:
        was_closing = self.state.tables.is_closing
        try:
            self.maps.carry(self.state.work())
        except NotCompiledError as error:
            self._moves.fail(error)
        if was_closing and not self.state.tables.is_closing:
            self._confirm()
        self._moves.look()

    def deadlines(self) -> Iterator[float]:
        """Yield when something is due, on the monotonic clock."""
        now = self._turn.now
        expiry = self.state.next_deadline
        if expiry is not None:
            yield now.monotonic + expiry - now.boot.seconds
        if self.state.is_busy or self.conflicts.is_behind:
            yield now.monotonic + SOON
        if self._unsaved:
            yield self._save_at
        yield from self.maps.deadlines()
        yield from self.revocation.deadlines()

    # -- what has happened and is to be saved, however often it takes ----------------------------

    def _unsaved_append(self, save: Save) -> None:
        self._unsaved.append(save)

    def to_save(self, *, now: bool = False) -> Sequence[Save]:
        """Return what to save in this iteration; ``now``: also before the next save is due."""
        if not now and self._turn.now.monotonic < self._save_at:
            return ()
        self._in_store = len(self._unsaved)
        return tuple(self._unsaved)

    def saved(self, count: int | None, reason: str) -> None:
        """Forget the first ``count`` (None: all) of what the store was given and has taken."""
        count = self._in_store if count is None else min(count, self._in_store)
        del self._unsaved[:count]
        if count < self._in_store:
            if self._save_at == float("-inf"):
                self._turn.notice("error", "history_not_saved", reason=reason)
            self._save_at = self._turn.now.monotonic + SAVE_RETRY_SECONDS
        else:
            self._save_at = float("-inf")
        self._in_store = 0

    def failing(self) -> list[str]:
        """Return what fails at present, a sentence each."""
        found = self.revocation.failing()
        if self._save_at != float("-inf"):
            found.append("The store takes no history: see history_not_saved in the journal")
        return found

    # -- flows --------------------------------------------------------------------------------

    def flows_seen(self, records: Sequence[FlowRecord], lost: int, wall: float) -> list[LogEvent]:
        """Gather new flows under the names of the rules that judged them.

        Returns the journal lines of those that a log rule matched.
        """
        enforced, staged = (self._rule_names[slot] for slot in (Slot.ENFORCED, Slot.STAGED))
        for names in (enforced, staged):
            names.set_back(wall)
        holders = self.state.population.holders
        self.book.take(records, lost, wall, enforced.at, staged.at, holders)
        return self.logged_flows.lines()

    def _follow_rule_names(self) -> None:
        for slot, names in self._rule_names.items():
            term = names.follow(self.state.compiler(slot))
            if term is not None:
                self.maps.then_settled(partial(self._begin_term, term))

    def _begin_term(self, term: Term, refusal: str) -> None:
        if not refusal:
            term.begin(self._turn.now.wall)


def _ends(held_down: Mapping[EndpointKey, BootTime], now: BootTime) -> dict[EndpointKey, float]:
    """Return the end of each hold-down in seconds of the boot clock."""
    return {
        key: now.seconds - lost.elapsed(now) + HOLD_DOWN_SECONDS for key, lost in held_down.items()
    }
