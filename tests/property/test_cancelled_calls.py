"""A call that its caller cancels, at any await, ends as the whole change or as none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.model.attachment import Attachment
from controlplane.model.events import PortChanged
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature, State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload, WorkloadAttached, WorkloadDetached
from controlplane.policy import tables
from controlplane.policy.compile.full import compile_policy
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.workload_routes import SentGroups
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

SIGNED = Signature("ada", 1.0, "test")
WEB = Workload("web", "red", "p1", (parse_prefix("10.0.0.1"),), {"tier": "web"})
PAY = Workload("pay", "red", "p2", (parse_prefix("10.0.0.2"),), {"app": "pay"})
FIRST = Revision.of(parse_policy("groups: {web: {id: 1, selector: tier=web}}"))
SECOND = Revision.of(parse_policy(
    "groups: {pay: {id: 2, selector: app=pay}, quarantine: {id: 3, selector: state=bad}}\n"
    "modes: {groups: {quarantine: full}}"
))  # fmt: skip
THIRD = Revision.of(parse_policy("modes: {vrfs: {red: full}}"))

Call = Callable[[PolicyNode], Awaitable[object]]
CALLS: dict[str, Call] = {
    "attach": lambda pe: pe.access.attach(PAY, "ada"),
    "tag": lambda pe: pe.access.tag("web", {"state": "bad"}, (), 0, "ada"),
    "detach": lambda pe: pe.access.detach("web", "ada"),
    "stage": lambda pe: pe.access.stage(THIRD, SIGNED),
    "promote": lambda pe: pe.access.promote("", SIGNED),
    "rollback": lambda pe: pe.access.roll_back("", SIGNED),
}
STEPS = 6
"""Steps of the loop after which the caller goes away; more, and the call has ended."""


async def prepared(folder: Path) -> PolicyNode:
    """A node with a workload, a former, an enforced and a staged revision."""
    intent = segment_intent(folder)
    # No CE: the workloads are on the links of their ports.
    vrfs = tuple(msgspec.structs.replace(vrf, neighbors=()) for vrf in intent.vrfs)
    pe = PolicyNode(msgspec.structs.replace(intent, vrfs=vrfs))
    await pe.begin()
    await pe.do(*(PortChanged(port, present=True, up=True) for port in ("p1", "p2")))
    await pe.access.attach(WEB, "ada")
    for revision in (FIRST, SECOND):
        await pe.access.stage(revision, SIGNED)
        await pe.access.promote("", SIGNED)
    await pe.access.stage(Revision.of(parse_policy("rules: [deny any to any on tcp/1]")), SIGNED)
    await pe.access.tag("web", {"seen": "yes"}, (), 0, "ada")
    return pe


def attachments(pe: PolicyNode) -> dict[str, Attachment]:
    return dict(pe.policy.state.population.attachments)


def states(ledger: Ledger) -> dict[str, State]:
    return {digest: revision.state for digest, revision in ledger.revisions.items()}


def whole(pe: PolicyNode) -> tuple[object, ...]:
    """Everything that a call may change, without times."""
    workloads = {name: (a.workload, a.generation) for name, a in attachments(pe).items()}
    moves = [(e.move, e.before, e.after) for e in pe.policy.state.ledger.trail]
    return workloads, states(pe.policy.state.ledger), moves


def check(pe: PolicyNode) -> None:
    """Store, kernel and routes are of one mind with the decider."""
    kept, state = pe.store.load_policy(), pe.policy.state
    assert kept.attachments == attachments(pe)
    assert {r.digest: r.state for r in kept.revisions} == states(state.ledger)
    assert [line.change for line in kept.history] == [x.change for x in pe.policy.history]
    for slot in Slot:
        compiler, held = state.compiler(slot), pe.kernel.held.get(slot)
        assert held == (compiler.tables if compiler else None)
        if compiler:
            inventory = state.inventory(everywhere=False)
            assert held == compile_policy(compiler.policy, inventory, compiler.books).tables
    laid: dict[str, WorkloadAttached | WorkloadDetached] = {each.name: each for each in pe.emitted}
    routes = {n: r for n, r in laid.items() if isinstance(r, WorkloadAttached)}
    assert routes.keys() == attachments(pe).keys(), "a route is missing, or too many"
    for name, attachment in attachments(pe).items():
        route = routes[name]
        sent = SentGroups(route.groups, route.staged, route.meanings)
        assert sent == state.groups_to_send(attachment.workload)
    prefixes = {p for r in routes.values() for p in r.prefixes}
    table = pe.router.vrfs["red"].table.best
    assert prefixes <= table.keys()


async def settle(pe: PolicyNode) -> None:
    """Have the node do all that it has to do."""
    pe.kernel.slow = False
    pe.kernel.acknowledge()
    await pe.until(
        lambda: (
            not len(pe.queue)
            and not pe.policy.maps.is_waiting
            and not pe.policy.revocation.has_work
            and not pe.policy.state.is_busy
        )
    )
    await pe.do()


@pytest.mark.parametrize("units", [tables.SLICE, 10])
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_a_cancelled_call_is_the_whole_change_or_none(
    tmp_path: Path, call: str, slow: bool, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SLICE", units)

    async def story(steps: int, folder: Path) -> tuple[bool, bool]:
        """Whether the call had ended, and whether anything changed."""
        pe = await prepared(folder)
        try:
            before = whole(pe)
            pe.kernel.slow = slow
            task = asyncio.ensure_future(CALLS[call](pe))
            for _ in range(steps):
                await asyncio.sleep(0)
            ended = not task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await settle(pe)
            check(pe)
            return ended, whole(pe) != before
        finally:
            await pe.stop()
            pe.store.close()

    seen = [asyncio.run(story(n, tmp_path / str(n))) for n in (*range(STEPS), 30, 400)]
    assert seen[0] == (False, False), "cancelled before it began"
    assert all(changed for _, changed in seen[1:]), "once submitted it is carried out"
    assert not seen[1][0], "the caller was gone while the change was under way"
    assert seen[-1][0] is not slow


def test_a_refused_promotion_is_taken_back_without_its_caller(tmp_path: Path) -> None:
    async def story() -> None:
        pe = await prepared(tmp_path)
        try:
            before = states(pe.policy.state.ledger)
            pe.kernel.slow, pe.kernel.refuse = True, OSError(12, "no memory")
            task = asyncio.ensure_future(pe.access.promote("", SIGNED))
            await pe.until(lambda: states(pe.policy.state.ledger) != before)
            task.cancel()
            pe.kernel.acknowledge()  # refuses
            await pe.until(lambda: states(pe.policy.state.ledger) == before)
            pe.kernel.refuse = None
            await settle(pe)
            check(pe)
            assert pe.policy.state.ledger.trail[-1].move == "revert"
            await pe.access.promote("", SIGNED)  # the control: it is possible
            assert states(pe.policy.state.ledger) != before
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(story())
