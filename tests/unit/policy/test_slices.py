"""A move or another set of VRFs takes many turns: what comes meanwhile, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.model.events import PortChanged
from controlplane.model.intent import NodeIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature, State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload
from controlplane.policy import tables
from controlplane.policy.building import Building
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision
from controlplane.policy.requests import KernelRefusedError
from tests.unit.api.segment_serving import segment_intent
from tests.unit.controlplane.rig import targets
from tests.unit.policy.node import PolicyNode

SIGNED = Signature("ada", 1.0, "test")
WEB, PAY = "10.0.0.1", "10.0.0.2"
RULES = "".join(f"  - allow app=a{n} to app=a{n + 1} on tcp/{n + 1}\n" for n in range(60))
LONG = Revision.of(parse_policy(f"modes: {{vrfs: {{red: full}}}}\nrules:\n{RULES}"))


def workload(name: str, address: str, vrf: str = "red", port: str = "p1") -> Workload:
    return Workload(name, vrf, port, (parse_prefix(address),), {"tier": "web"})


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SLICE", 4)


def two_vpns(folder: Path) -> NodeIntent:
    """VRF blue imports no route of red, so it has no endpoint at first."""
    intent = segment_intent(folder)
    red, blue = intent.vrfs
    apart = targets("65000:9")
    blue = msgspec.structs.replace(blue, import_targets=apart, export_targets=apart)
    return msgspec.structs.replace(intent, vrfs=(red, blue))


def run(folder: Path, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    async def whole() -> None:
        pe = PolicyNode(two_vpns(folder))
        try:
            await pe.begin()
            await pe.do(*(PortChanged(p, present=True, up=True) for p in ("p1", "p2", "q1")))
            await pe.access.attach(workload("web", WEB), "ada")
            await story(pe)
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(whole())


def states(pe: PolicyNode) -> dict[str, State]:
    return {kept.digest: kept.state for kept in pe.store.load_policy().revisions}


def test_an_attach_does_not_wait_for_the_revision_that_is_being_staged(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        staging = asyncio.ensure_future(pe.access.stage(LONG, SIGNED))
        await pe.until(lambda: pe.policy.state.tables.is_building)
        await pe.access.attach(workload("pay", PAY, port="p2"), "ada")
        assert not staging.done()
        assert pe.kernel.verdict(WEB, PAY, 1).allowed
        await staging
        assert not pe.kernel.verdict(WEB, PAY, 9, slot=Slot.STAGED).allowed
        held = pe.kernel.held[Slot.STAGED]
        assert ("red", parse_prefix(PAY).packed) in held.addresses4

    run(tmp_path, story)


def test_nothing_is_durable_before_the_tables_are_there(tmp_path: Path) -> None:
    """kill -9 while a revision is compiled leaves the store as it was."""

    async def story(pe: PolicyNode) -> None:
        staging = asyncio.ensure_future(pe.access.stage(LONG, SIGNED))
        await pe.until(lambda: pe.policy.state.tables.is_building)
        for _ in range(20):
            assert states(pe) == {}
            assert Slot.STAGED not in pe.kernel.held
            await asyncio.sleep(0)
        await staging
        assert states(pe) == {LONG.digest: State.STAGED}

    run(tmp_path, story)


def test_moves_queue_behind_a_move_and_behind_other_vrfs(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.stage(LONG, SIGNED)
        await pe.access.promote("", SIGNED)
        attach = asyncio.ensure_future(pe.access.attach(workload("db", WEB, "blue", "q1"), "ada"))
        await pe.until(lambda: pe.policy.state.tables.is_building)
        assert "blue" not in pe.kernel.under_policy
        other = Revision.of(parse_policy("rules: [deny any to any on tcp/7]"))
        stage = asyncio.ensure_future(pe.access.stage(other, SIGNED))
        promote = asyncio.ensure_future(pe.access.promote(other.digest, SIGNED))
        await attach
        assert "blue" in pe.kernel.under_policy
        assert not stage.done()
        await stage
        await promote
        assert states(pe) == {LONG.digest: State.SUPERSEDED, other.digest: State.ENFORCED}

    run(tmp_path, story)


def test_a_workload_in_a_new_vrf_has_no_route_before_its_tables(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.stage(LONG, SIGNED)
        await pe.access.promote("", SIGNED)
        laid: list[bool] = []
        pe.workloads.on_lay = lambda: laid.append("blue" in pe.kernel.under_policy)
        await pe.access.attach(workload("db", WEB, "blue", "q1"), "ada")
        assert laid == [True]

    run(tmp_path, story)


def test_a_reload_that_takes_a_vrf_away_while_a_revision_is_staged(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.attach(workload("db", WEB, "blue", "q1"), "ada")
        staging = asyncio.ensure_future(pe.access.stage(LONG, SIGNED))
        await pe.until(lambda: pe.policy.state.tables.is_building)
        pe.policy.maps.carry(pe.policy.state.set_vrfs({"red": pe.policy.state.vrfs["red"]}))
        await staging
        await pe.until(lambda: not pe.policy.state.is_busy)
        await pe.do()
        assert set(pe.kernel.under_policy) == {"red"}
        assert {zone for zone, _ in pe.kernel.held[Slot.STAGED].addresses4} == {"red"}

    run(tmp_path, story)


def test_a_revision_that_cannot_be_compiled_is_answered_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pe: PolicyNode) -> None:
        before, advance = states(pe), Building.advance

        def fail(building: Building, most: int) -> int:
            if building.ledger.trail:
                raise RuntimeError("a defect")
            return advance(building, most)

        monkeypatch.setattr(Building, "advance", fail)
        with pytest.raises(KernelRefusedError, match="a defect"):
            await pe.access.stage(LONG, SIGNED)
        assert states(pe) == before
        monkeypatch.setattr(Building, "advance", advance)
        await pe.access.stage(LONG, SIGNED)
        assert states(pe)[LONG.digest] is State.STAGED

    run(tmp_path, story)
