"""The policy controller in a node: what the configuration attaches, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.model.events import TimePassed
from controlplane.model.intent import NodeIntent, WorkloadIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature, State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload, WorkloadAttached, WorkloadDetached
from controlplane.policy.endpoints.placement import RefusedError
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.requests import StartingError, TooManyMovesError
from controlplane.policy.revision_moves import MOST_WAITING
from controlplane.policy.tables import PolicyTables
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

WEB = parse_prefix("10.0.0.1")


class Desk(PolicyNode):
    """Notes whether the kernel knew the address whenever a route was laid."""

    def __init__(self, folder: Path) -> None:
        super().__init__(segment_intent(folder))
        self.seen: list[bool] = []
        self.workloads.on_lay = self._note

    def _note(self) -> None:
        held = self.kernel.held.get(Slot.ENFORCED)
        self.seen.append(held is not None and ("red", WEB.packed) in held.addresses4)

    def with_workloads(self, *workloads: WorkloadIntent) -> NodeIntent:
        red = msgspec.structs.replace(self.intent.vrfs[0], workloads=workloads)
        return msgspec.structs.replace(self.intent, vrfs=(red, *self.intent.vrfs[1:]))


def run(folder: Path, story: Callable[[Desk], Awaitable[None]]) -> None:
    async def whole() -> None:
        desk = Desk(folder)
        try:
            await story(desk)
        finally:
            await desk.stop()
            desk.store.close()

    asyncio.run(whole())


def web(**tags: str) -> WorkloadIntent:
    return WorkloadIntent(name="web", port="p1", addresses=(WEB,), tags=tuple(sorted(tags.items())))


def test_the_configuration_attaches_changes_and_detaches(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.begin()
        bare = desk.intent
        await desk.reload(desk.with_workloads(web(tier="web")))
        await desk.reload(desk.with_workloads(web(tier="web")))
        assert [type(e) for e in desk.emitted] == [WorkloadAttached]
        assert desk.seen == [True]
        with pytest.raises(RefusedError, match=r"pe\.yaml"):
            await desk.access.tag("web", {"a": "b"}, (), 0, "ada")
        with pytest.raises(RefusedError, match=r"pe\.yaml"):
            await desk.access.detach("web", "ada")
        await desk.reload(desk.with_workloads(web(tier="app")))
        held = desk.policy.state.population.attachments["web"]
        assert (held.generation, held.configured, held.workload.tags["tier"]) == (2, True, "app")
        await desk.reload(bare)
        assert desk.emitted[-1] == WorkloadDetached("web")
        assert [line.who for line in desk.policy.history] == ["pe.yaml"] * 3

    run(tmp_path, story)


def test_a_route_is_laid_once_the_kernel_knows_the_address(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.begin()
        workload = Workload("web", "red", "p1", (WEB,), {"tier": "web"})
        assert (await desk.access.attach(workload, "ada"))[1]
        assert desk.seen == [True]

    run(tmp_path, story)


def test_a_hold_down_outlives_a_restart(tmp_path: Path) -> None:
    async def attach_and_detach(desk: Desk) -> None:
        await desk.begin()
        workload = Workload("web", "red", "p1", (WEB,), {"tier": "web"})
        await desk.access.attach(workload, "ada")
        await desk.access.detach("web", "ada")

    async def look(desk: Desk) -> None:
        await desk.begin()
        assert not desk.kernel.verdict("10.0.0.1", "10.0.0.9", 80).allowed

    run(tmp_path, attach_and_detach)
    run(tmp_path, look)


def test_nothing_is_promoted_before_the_kernel_follows(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        signed = Signature("ada", 1.0, "")
        await desk.begin(in_sync=False)
        await desk.access.stage(Revision.of(parse_policy("rules: [allow any to any]")), signed)
        with pytest.raises(StartingError):
            await desk.access.promote("", signed)
        assert desk.policy.state.ledger.in_state(State.ENFORCED) is None
        await desk.sync()
        await desk.access.promote("", signed)
        assert desk.policy.state.ledger.in_state(State.ENFORCED)

    run(tmp_path, story)


@pytest.mark.parametrize("call", ["prepare", "is_prepared"])
def test_a_move_that_raises_is_refused_and_not_made_after_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Its caller had the error, and the move stayed under way: it was made a moment later."""
    revision = Revision.of(parse_policy("groups: {web: {id: 1, selector: tier=web}}"))
    signed = Signature("ada", 1.0, "test")

    async def story(desk: Desk) -> None:
        await desk.begin()
        ledger = desk.policy.state.ledger
        with monkeypatch.context() as patched:
            patched.setattr(PolicyTables, call, broken)
            with pytest.raises(ZeroDivisionError):
                await desk.access.stage(revision, signed)
        for _ in range(3):
            await desk.do(TimePassed())
        assert desk.policy.state.ledger is ledger
        moved = await desk.access.stage(revision, signed)  # the control
        assert moved.ledger.in_state(State.STAGED) == desk.policy.state.ledger.find(revision.digest)

    def broken(tables: PolicyTables, ledger: Ledger) -> bool:
        raise ZeroDivisionError(f"injected into {tables} {ledger}")

    run(tmp_path, story)


def test_moves_whose_callers_went_away_do_not_pile_up(tmp_path: Path) -> None:
    signed = Signature("ada", 1.0, "test")
    revisions = [
        Revision.of(parse_policy(f"rules: [allow any to any on tcp/{port}]"))
        for port in range(1, MOST_WAITING + 3)
    ]

    async def story(desk: Desk) -> None:
        await desk.begin()
        desk.kernel.slow = True
        for revision in revisions[:-1]:
            call = asyncio.ensure_future(desk.access.stage(revision, signed))
            await asyncio.sleep(0)
            call.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(TooManyMovesError):
                await desk.access.stage(revisions[-1], signed)
        desk.kernel.slow = False
        desk.kernel.acknowledge()
        await desk.until(lambda: len(desk.policy.state.ledger.revisions) == len(revisions) - 1)
        assert (await desk.access.stage(revisions[-1], signed)).ledger  # the control

    run(tmp_path, story)
