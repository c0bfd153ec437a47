"""Carries decisions out: store first, then the kernel, then the router; one change at a time.

The store is the truth: what is in it after a crash is what the kernel is brought to. A change is
answered for only once both hold it, and a promotion that the kernel refuses is taken back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from controlplane.model.attachment import (
    Attachment,
    EndpointKey,
    MembershipChange,
    summary,
    tags_text,
)
from controlplane.model.effects import RemoteEndpointsChanged
from controlplane.model.events import Event
from controlplane.model.flow import FlowRecord
from controlplane.model.history import History
from controlplane.model.instant import BootTime
from controlplane.model.intent import NodeIntent
from controlplane.model.observed import Baseline
from controlplane.model.prefix import Prefix
from controlplane.model.revision import Entry, Signature, State
from controlplane.model.supervision import Part, Task, Work
from controlplane.model.verdict import DEFAULT_IDS
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload
from controlplane.policy.carrier import Carrier, Log
from controlplane.policy.endpoints.placement import Fault, RefusedError, Why, refuse_misplaced
from controlplane.policy.endpoints.registry import EndpointRegistry, latest_move
from controlplane.policy.enforcer import Enforcer
from controlplane.policy.flow_revocation import FlowRevoker
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.language.revision import Ledger
from controlplane.policy.orders import Order
from controlplane.policy.state import REST_SECONDS, PolicyState
from controlplane.store.protocol import Store

CONFIGURATION = "pe.yaml"
"""Who attaches what stands there."""

EXPIRE_SECONDS = 5.0
"""How often places that rest are looked at."""


class StartingError(Exception):
    """The node does not know its peers' routes yet: the kernel still holds what it held."""


class KernelRefusedError(Exception):
    """The kernel did not take a promotion; what was enforced is enforced still."""


class PolicyController:
    """Microsegmentation of one node, on the node's loop."""

    def __init__(
        self, store: Store, enforcer: Enforcer, intent: NodeIntent, *,
        emit: Callable[[list[Event]], None], log: Log, part: Part, boot: Callable[[], BootTime],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._boot = boot
        kept = store.load_policy()
        self.director = PolicyState(
            EndpointRegistry(kept.attachments, {}, self._ends(kept.held_down)),
            Ledger.kept(kept.revisions, kept.trail),
        )
        self.history, self.baselines = History(kept.history), kept.baselines
        self.intent = intent
        self.book = FlowBook()
        self.started = clock()
        self.on_change: list[Callable[[str, Attachment], None]] = []
        self._store, self._enforcer, self._log = store, enforcer, log
        self._carrier = Carrier(enforcer, emit, log)
        self.sweeper = FlowRevoker(
            enforcer, self.director, settle=self._carrier.settle, spawn=self._sweep, log=log
        )
        self._clock = clock
        self._changing = asyncio.Lock()
        self._rule_names: dict[Slot, dict[int, str]] = {}
        self._named_at = -1
        self._part, self._tasks = part, set[Task]()

    def _ends(self, held_down: Mapping[EndpointKey, BootTime]) -> dict[EndpointKey, float]:
        """Return the end of each hold-down in seconds of the boot clock."""
        now = self._boot()
        begin = {place: now.seconds - lost.elapsed(now) for place, lost in held_down.items()}
        return {place: seconds + REST_SECONDS for place, seconds in begin.items()}

    # -- the node -----------------------------------------------------------------------------

    def open(self) -> None:
        """Tell the router of the workloads that the store knows, and listen to flows."""
        self._enforcer.watch(self._on_flows)
        for revision in self.director.unreadable():
            self._log("error", "policy_unreadable", {
                "revision": revision.digest[:12], "name": revision.name,
                "state": revision.state.value, "problem": revision.problem,
                "cure": "stage and promote a revision that this program accepts",
            })  # fmt: skip
        self._carrier.carry(self.director.routes())
        self._keep(self._part.start(self._expire))

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_SECONDS)
            self._carrier.carry(self.director.expire(self._boot().seconds))

    def layout(self, zones: dict[str, int]) -> None:
        """The node's VRFs and their conntrack zones."""
        self._carrier.carry(self.director.set_vrfs(zones))

    def configure(self, intent: NodeIntent) -> None:
        """Go by another configuration; its workloads are attached, and those that left it go."""
        self.intent = intent
        wanted = {w.name: w for w in configured_workloads(intent)}
        held = self.director.population.attachments
        for name in [n for n, a in held.items() if a.configured and n not in wanted]:
            self._carrier.carry(self._forget(name, CONFIGURATION))
        for name, workload in wanted.items():
            known = held.get(name)
            if known is None or not known.configured or known.workload != workload:
                attachment = replace(self._attachment(workload, known), configured=True)
                change = "changed" if known else "attached"
                self._carrier.carry(self._put(attachment, known, CONFIGURATION, change))

    def begin(self) -> None:
        """Enough is known: from now on the kernel follows."""
        if not self.director.begun:
            self._carrier.carry(self.director.begin())

    async def claims_changed(self, changes: Iterable[RemoteEndpointsChanged]) -> None:
        """Routes of other PEs came or went; returns once the kernel knows whose they are."""
        for change in changes:
            orders = self.director.take_claims(change.vrf, change.claims, self._boot().seconds)
            self._note_moves(change)
            self._carrier.carry(orders)
            self.sweeper.soon(change.vrf, change.claims)
        if self.director.begun:
            await self._carrier.settle()

    def now(self) -> float:
        """Unix time, as everything here is signed with it."""
        return self._clock()

    async def stop(self) -> None:
        """End; the kernel goes on enforcing."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- workloads ----------------------------------------------------------------------------

    async def attach(self, workload: Workload, who: str) -> tuple[Attachment, bool]:
        """Make a workload known; how it is now, and whether the kernel knows it already.

        Raises RefusedError. The same workload again changes nothing, even if another PE has it
        by now: to take it back, detach it first.
        """
        async with self._changing:
            refuse_misplaced(workload, self.intent, self.director.population)
            known = self.director.population.attachments.get(workload.name)
            if known is not None and known.configured:
                raise _configured(workload.name)
            if known is not None and known.workload == workload:
                return known, True
            change = "changed" if known else "attached"
            attachment = self._attachment(workload, known)
            orders = self._put(attachment, known, who, change)
            return attachment, await self._carrier.carry_slowly(orders)

    def _attachment(self, workload: Workload, known: Attachment | None) -> Attachment:
        moved = latest_move(self.director.population.claims, workload)
        same_place = known is not None and known.workload.addresses == workload.addresses
        moves = known.moves if known is not None and same_place else 0
        if moved is not None and not same_place:
            moves = moved + 1
        now = self._clock()
        if known is None:
            return Attachment(workload, 1, now, moves)
        return replace(known, workload=workload, generation=known.generation + 1, moves=moves)

    def _put(
        self, attachment: Attachment, known: Attachment | None, who: str, change: str
    ) -> list[Order]:
        workload = attachment.workload
        before = summary(known.workload) if known else ""
        line = MembershipChange(
            workload.name, change, before, summary(workload), who, self._clock()
        )
        self._store.save_attachment(attachment, line)
        self.history.append(line)
        orders = self.director.attach(attachment, self._boot().seconds)
        self.sweeper.soon(workload.vrf, (*workload.addresses, *_given_up(known, workload)))
        self._tell("attached" if known is None else "changed", attachment)
        return orders

    async def tag(
        self, name: str, set_: dict[str, str], unset: Sequence[str], generation: int, who: str
    ) -> Attachment:
        """Change tags; raises RefusedError."""
        async with self._changing:
            known = self._known(name)
            if generation and generation != known.generation:
                text = f"{name} has generation {known.generation} by now"
                raise RefusedError(Why.OVERTAKEN, Fault("expected_generation", text))
            tags = {k: v for k, v in known.workload.tags.items() if k not in unset} | set_
            if tags == dict(known.workload.tags):
                return known
            workload = replace(known.workload, tags=tags)
            after = replace(known, workload=workload, generation=known.generation + 1)
            change = MembershipChange(
                name, "tagged", tags_text(known.workload), tags_text(workload), who, self._clock()
            )
            self._store.save_attachment(after, change)
            self.history.append(change)
            self.sweeper.soon(workload.vrf, workload.addresses)
            await self._carrier.carry_slowly(self.director.attach(after, self._boot().seconds))
            self._tell("changed", after)
            return after

    async def detach(self, name: str, who: str) -> bool:
        """Forget a workload; False if it was not there. Raises RefusedError."""
        async with self._changing:
            if name not in self.director.population.attachments:
                return False
            self._known(name)
            await self._carrier.carry_slowly(self._forget(name, who))
            return True

    def _forget(self, name: str, who: str) -> list[Order]:
        known, now = self.director.population.attachments[name], self._boot()
        lost = self.director.lost_with(name)
        change = MembershipChange(name, "detached", summary(known.workload), "", who, self._clock())
        self._store.forget_attachment(name, change, lost, now, REST_SECONDS)
        self.history.append(change)
        orders = self.director.detach(name, now.seconds)
        self.sweeper.soon(known.workload.vrf, known.workload.addresses)
        self._tell("detached", known)
        return orders

    def _known(self, name: str) -> Attachment:
        known = self.director.population.attachments.get(name)
        if known is None:
            raise RefusedError(Why.UNKNOWN, Fault("name", f"there is no workload {name!r}"))
        if known.configured:
            raise _configured(name)
        return known

    def _note_moves(self, change: RemoteEndpointsChanged) -> None:
        population = self.director.population
        for prefix, claim in change.claims.items():
            for name in sorted(population.owners((change.vrf, prefix))):
                where = claim.node or "another VRF" if claim else "here"
                line = MembershipChange(
                    name, "moved", "", f"{prefix} {where}", "bgp", self._clock()
                )
                self._store.save_changes([line])
                self.history.append(line)
                fields: dict[str, str | int] = {"workload": name, "to": where}
                self._log("info", "workload_moved", {**fields, "address": str(prefix)})

    def _tell(self, change: str, attachment: Attachment) -> None:
        for listener in tuple(self.on_change):
            listener(change, attachment)

    # -- revisions ----------------------------------------------------------------------------

    async def move(self, change: Callable[[Ledger], Ledger]) -> tuple[Ledger, int, float]:
        """Move revisions: the new ledger, flows that were ended for it, seconds that it took.

        `change` may raise MoveError. Raises KernelRefusedError when nothing has changed, and
        StartingError while nothing could be enforced.
        """
        async with self._changing:
            started = time.perf_counter()
            before = self.director.ledger
            after = change(before)
            if after == before:
                return after, 0, 0.0
            if not self.director.begun and _enforced(after) != _enforced(before):
                raise StartingError
            self._store.save_ledger(before, after)
            try:
                self._carrier.carry(self.director.take_ledger(after))
                await self._enforcer.settled()
            except Exception as error:
                await self._take_back(before, after, error)
                raise KernelRefusedError(str(error)) from error
            took = time.perf_counter() - started
            enforced_anew = before.trail != after.trail and after.trail[-1].move != "stage"
            ended = await self.sweeper.end_forbidden(self.director.zones) if enforced_anew else 0
            return after, ended, took

    async def draft(self, change: Callable[[Ledger], Ledger]) -> None:
        """Keep a document that is in force nowhere yet."""
        async with self._changing:
            before = self.director.ledger
            after = change(before)
            self._store.save_ledger(before, after)
            self.director.ledger = after

    async def _take_back(self, before: Ledger, after: Ledger, error: Exception) -> None:
        now, last = self._clock(), after.trail[-1]
        why = f"the kernel refused it: {error}"
        entry = Entry("revert", last.after, last.before, Signature("bulkhead", now, why))
        restored = Ledger({**after.revisions, **before.revisions}, (*after.trail, entry))
        self._store.save_ledger(after, restored)
        self._log("error", "policy_refused_by_kernel", {"revision": last.after, "why": str(error)})
        self._carrier.carry(self.director.take_ledger(restored))
        await self._carrier.settle()

    # -- flows --------------------------------------------------------------------------------

    def record_baseline(self, baseline: Baseline) -> None:
        """Keep a baseline under a new name."""
        self._store.save_baseline(baseline)
        self.baselines[baseline.name] = baseline

    def rule_name(self, slot: Slot, number: int) -> str:
        """The id of the rule behind a number in a verdict."""
        if self._named_at != self.director.version:
            self._named_at = self.director.version
            for each in Slot:
                compiler = self.director.compiler(each)
                names = self._rule_names.setdefault(each, dict(DEFAULT_IDS))
                if compiler is not None:
                    names.update(compiler.compiled().rule_ids)
        return self._rule_names.get(slot, DEFAULT_IDS).get(number) or f"number {number}"

    def _on_flows(self, records: Sequence[FlowRecord], lost: int) -> None:
        enforced = lambda number: self.rule_name(Slot.ENFORCED, number)  # noqa: E731
        staged = lambda number: self.rule_name(Slot.STAGED, number)  # noqa: E731
        self.book.take(records, lost, self._clock(), enforced, staged)

    def _sweep(self, work: Callable[[], Work]) -> None:
        self._keep(self._part.spawn(work()))

    def _keep(self, task: Task) -> None:
        self._tasks = {each for each in self._tasks if not each.done()} | {task}


def _enforced(ledger: Ledger) -> str:
    revision = ledger.in_state(State.ENFORCED)
    return revision.digest if revision else ""


def _given_up(known: Attachment | None, workload: Workload) -> Iterable[Prefix]:
    """The addresses that a workload had before, in the same VRF."""
    former = known.workload if known else workload
    return former.addresses if former.vrf == workload.vrf else ()


def _configured(name: str) -> RefusedError:
    return RefusedError(Why.NOT_SO, Fault("name", f"{name} stands in pe.yaml: change it there"))


def configured_workloads(intent: NodeIntent) -> Iterator[Workload]:
    """The workloads that stand in the configuration."""
    for vrf in intent.vrfs:
        for each in vrf.workloads:
            yield Workload(each.name, vrf.name, each.port, each.addresses, dict(each.tags))
