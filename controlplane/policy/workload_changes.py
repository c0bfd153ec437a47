"""Attaches, tags and detaches workloads: what a caller or the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from controlplane.model.attachment import Attachment, MembershipChange, summary, tags_text
from controlplane.model.effects import (
    Answer,
    ForgetAttachment,
    PublishWorkload,
    Save,
    SaveAttachment,
)
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.prefix import Prefix
from controlplane.model.workload import Workload
from controlplane.policy.acknowledgements import MapAcknowledgements
from controlplane.policy.endpoints.placement import (
    Fault,
    RefusedError,
    Why,
    refuse_claimed,
    refuse_misplaced,
)
from controlplane.policy.endpoints.registry import latest_move
from controlplane.policy.flow_revocation import FlowRevocation
from controlplane.policy.requests import (
    DetachRequested,
    StoreRefusedError,
    TagRequested,
    WorkloadAttachRequested,
    WorkloadRequest,
)
from controlplane.policy.state import HOLD_DOWN_SECONDS, PolicyState
from controlplane.policy.turn import Turn

CONFIGURATION = "pe.yaml"
"""Who attaches the workloads of the configuration."""


@dataclass(frozen=True, slots=True)
class WorkloadChange:
    """A change that is decided and not durable yet: ``commit`` carries it out."""

    save: Save
    commit: Callable[[], None]


class WorkloadChanges:
    """Of one node. ``intent`` says which VRFs and ports there are."""

    def __init__(
        self, turn: Turn, state: PolicyState, maps: MapAcknowledgements,
        revocation: FlowRevocation, history: History,
    ) -> None:  # fmt: skip
        self._turn, self._state, self._maps = turn, state, maps
        self._revocation, self._history = revocation, history

    # -- requests -----------------------------------------------------------------------------

    def take(self, event: WorkloadRequest, intent: NodeIntent | None) -> None:
        """Decide on a request; answer at once where nothing changes or it is refused."""
        try:
            decided = self._decide(event, intent)
        except RefusedError as error:
            self._turn.act(Answer(event.ticket, error=error))
            return
        if not isinstance(decided, WorkloadChange):
            self._turn.act(Answer(event.ticket, decided))
            return
        self._turn.propose([decided.save], decided.commit, partial(self._refuse, event.ticket))

    def _decide(self, event: WorkloadRequest, intent: NodeIntent | None) -> WorkloadChange | object:
        match event:
            case WorkloadAttachRequested():
                return self._attach(event, intent)
            case TagRequested():
                return self._tag(event)
            case DetachRequested():
                return self._detach(event)

    def _refuse(self, ticket: int, reason: str) -> None:
        self._turn.act(Answer(ticket, error=StoreRefusedError(reason)))

    def _attach(
        self, event: WorkloadAttachRequested, intent: NodeIntent | None
    ) -> WorkloadChange | tuple[Attachment, bool]:
        """Attach a workload. The same one again changes nothing, even if another PE has it by now:
        to take it back, detach it first."""
        workload, registry = event.workload, self._state.population
        if intent is None:
            raise RefusedError(Why.UNKNOWN, Fault("workload.vrf", "the node has just started"))
        refuse_misplaced(workload, intent, registry)
        known = registry.attachments.get(workload.name)
        if known is not None and known.configured:
            raise _configured(workload.name)
        if known is not None and known.workload == workload:
            return known, self._is_enforced and not self._maps.is_waiting
        refuse_claimed(workload, known, registry)
        self._refuse_tags(workload)
        attachment = self._attachment(workload, known)

        def answer(why: str) -> None:
            self._turn.act(Answer(event.ticket, (attachment, self._is_enforced and not why)))

        return self._put(attachment, known, "changed" if known else "attached", event.who, answer)

    @property
    def _is_enforced(self) -> bool:
        """True if orders go to the kernel: not before the initial sync, nor while the enforced
        revision is unreadable."""
        return self._state.begun and not self._state.is_frozen

    def _tag(self, event: TagRequested) -> WorkloadChange | Attachment:
        known = self._known(event.name)
        if event.generation and event.generation != known.generation:
            text = f"{event.name} has generation {known.generation} by now"
            raise RefusedError(Why.OVERTAKEN, Fault("expected_generation", text))
        kept = {k: v for k, v in known.workload.tags.items() if k not in event.unset}
        tags = kept | event.put
        if tags == dict(known.workload.tags):
            return known
        workload = replace(known.workload, tags=tags)
        self._refuse_tags(workload)
        after = replace(known, workload=workload, generation=known.generation + 1)

        def answer(_why: str) -> None:
            self._turn.act(Answer(event.ticket, after))

        return self._put(after, known, "tagged", event.who, answer)

    def _refuse_tags(self, workload: Workload) -> None:
        """Refuse a set of tags beyond the VRF's quota of identities."""
        if why := self._state.tables.refusal(workload):
            raise RefusedError(Why.TOO_MANY, Fault("workload.tags", why))

    def _detach(self, event: DetachRequested) -> WorkloadChange | bool:
        if event.name not in self._state.population.attachments:
            return False
        self._known(event.name)

        def answer(_why: str) -> None:
            self._turn.act(Answer(event.ticket, True))

        return self._forget(event.name, event.who, answer)

    def _known(self, name: str) -> Attachment:
        known = self._state.population.attachments.get(name)
        if known is None:
            raise RefusedError(Why.UNKNOWN, Fault("name", f"there is no workload {name!r}"))
        if known.configured:
            raise _configured(name)
        return known

    # -- the configuration --------------------------------------------------------------------

    def configure(self, intent: NodeIntent) -> list[WorkloadChange]:
        """Attach the workloads of a configuration, and detach those that left it."""
        wanted = {w.name: w for w in configured_workloads(intent)}
        held = self._state.population.attachments
        gone = [n for n, a in held.items() if a.configured and n not in wanted]
        changes = [self._forget(name, CONFIGURATION) for name in gone]
        for name, workload in wanted.items():
            known = held.get(name)
            if known is None or not known.configured or known.workload != workload:
                attachment = replace(self._attachment(workload, known), configured=True)
                change = "changed" if known else "attached"
                changes.append(self._put(attachment, known, change, CONFIGURATION))
        return changes

    # -- changes ------------------------------------------------------------------------------

    def _attachment(self, workload: Workload, known: Attachment | None) -> Attachment:
        moved = latest_move(self._state.population.remote, workload)
        same_place = known is not None and known.workload.addresses == workload.addresses
        moves = known.moves if known is not None and same_place else 0
        if moved is not None and not same_place:
            moves = moved + 1
        if known is None:
            return Attachment(workload, 1, self._turn.now.wall, moves)
        return replace(known, workload=workload, generation=known.generation + 1, moves=moves)

    def _put(
        self, attachment: Attachment, known: Attachment | None, change: str, who: str,
        then: Callable[[str], None] | None = None,
    ) -> WorkloadChange:  # fmt: skip
        words = tags_text if change == "tagged" else summary
        before = words(known.workload) if known else ""
        workload = attachment.workload
        line = MembershipChange(
            workload.name, change, before, words(workload), who, self._turn.now.wall
        )

        def commit() -> None:
            self._history.append(line)
            self._maps.carry(self._state.attach(attachment, self._turn.now.boot.seconds))
            for vrf, places in _touched(known, workload).items():
                self._revocation.soon(vrf, places)
            published = "changed" if known else "attached"
            self._turn.act(PublishWorkload(published, attachment))
            if then:
                self._maps.then(then)

        return WorkloadChange(SaveAttachment(attachment, line), commit)

    def _forget(
        self, name: str, who: str, then: Callable[[str], None] | None = None
    ) -> WorkloadChange:
        known, now = self._state.population.attachments[name], self._turn.now
        line = MembershipChange(name, "detached", summary(known.workload), "", who, now.wall)
        lost = tuple(self._state.lost_with(name))

        def commit() -> None:
            self._history.append(line)
            self._maps.carry(self._state.detach(name, self._turn.now.boot.seconds))
            workload = known.workload
            self._revocation.soon(workload.vrf, workload.addresses)
            self._turn.act(PublishWorkload("detached", known))
            if then:
                self._maps.then(then)

        forget = ForgetAttachment(name, line, lost, now.boot, HOLD_DOWN_SECONDS)
        return WorkloadChange(forget, commit)


def _touched(known: Attachment | None, workload: Workload) -> dict[str, set[Prefix]]:
    """Return the addresses of a workload by VRF: those that it has and those that it gave up."""
    touched = {workload.vrf: set(workload.addresses)}
    if known is not None:
        former = known.workload
        touched.setdefault(former.vrf, set()).update(former.addresses)
    return touched


def _configured(name: str) -> RefusedError:
    return RefusedError(Why.NOT_SO, Fault("name", f"{name} stands in pe.yaml: change it there"))


def configured_workloads(intent: NodeIntent) -> Iterator[Workload]:
    """Yield the workloads of the configuration."""
    for vrf in intent.vrfs:
        for each in vrf.workloads:
            yield Workload(each.name, vrf.name, each.port, each.addresses, dict(each.tags))
