"""The conductor: what stands in the configuration, and what is done in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.model.events import Event, WorkloadAttached, WorkloadDetached
from controlplane.model.intent import NodeIntent, WorkloadIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature, State
from controlplane.model.supervision import Part
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Workload
from controlplane.policy import controller
from controlplane.policy.controller import PolicyController, StartingError
from controlplane.policy.endpoints.placement import RefusedError
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger
from controlplane.policy.orders import Order
from controlplane.store import open_store
from pe import supervisor
from pe.process.clock import boot_now
from tests.parts import LonePart
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.kernel import FakeKernel

WEB = parse_prefix("10.0.0.1")


class Desk:
    def __init__(self, folder: Path, part: Part | None = None) -> None:
        self.intent = segment_intent(folder)
        self.store = open_store(folder)
        self.kernel, self.told, self.seen = FakeKernel(), list[Event](), list[bool]()
        self.conductor = PolicyController(
            self.store,
            self.kernel,
            self.intent,
            emit=self.hear,
            log=lambda *_: None,
            part=part or LonePart(),
            boot=boot_now,
        )

    def hear(self, events: list[Event]) -> None:
        """Note whether the kernel knew the address when the router heard of it."""
        self.told += events
        held = self.kernel.held.get(Slot.ENFORCED)
        self.seen.append(held is not None and ("red", WEB.packed) in held.addresses4)

    def with_workloads(self, *workloads: WorkloadIntent) -> NodeIntent:
        red = msgspec.structs.replace(self.intent.vrfs[0], workloads=workloads)
        return msgspec.structs.replace(self.intent, vrfs=(red, *self.intent.vrfs[1:]))

    def begin(self) -> None:
        self.conductor.open()
        self.conductor.layout({"red": 1, "blue": 2})
        self.conductor.configure(self.intent)
        self.conductor.begin()


def run(folder: Path, story: Callable[[Desk], Awaitable[None]]) -> None:
    async def whole() -> None:
        desk = Desk(folder)
        try:
            await story(desk)
        finally:
            await desk.conductor.stop()
            desk.store.close()

    asyncio.run(whole())


def web(**tags: str) -> WorkloadIntent:
    return WorkloadIntent(name="web", port="p1", addresses=(WEB,), tags=tuple(sorted(tags.items())))


def test_the_configuration_attaches_changes_and_detaches(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.begin()
        desk.conductor.configure(desk.with_workloads(web(tier="web")))
        desk.conductor.configure(desk.with_workloads(web(tier="web")))
        assert [type(e) for e in desk.told] == [WorkloadAttached]
        assert desk.seen == [True]
        with pytest.raises(RefusedError, match=r"pe\.yaml"):
            await desk.conductor.tag("web", {"a": "b"}, (), 0, "ada")
        with pytest.raises(RefusedError, match=r"pe\.yaml"):
            await desk.conductor.detach("web", "ada")
        desk.conductor.configure(desk.with_workloads(web(tier="app")))
        held = desk.conductor.director.population.attachments["web"]
        assert (held.generation, held.configured, held.workload.tags["tier"]) == (2, True, "app")
        desk.conductor.configure(desk.intent)
        assert desk.told[-1] == WorkloadDetached("web")
        assert [line.who for line in desk.conductor.history] == ["pe.yaml"] * 3

    run(tmp_path, story)


def test_the_router_hears_once_the_kernel_knows(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.begin()
        workload = Workload("web", "red", "p1", (WEB,), {"tier": "web"})
        assert (await desk.conductor.attach(workload, "ada"))[1]
        assert desk.seen == [True]

    run(tmp_path, story)


def test_what_left_rests_after_a_restart_too(tmp_path: Path) -> None:
    async def attach_and_detach(desk: Desk) -> None:
        desk.begin()
        workload = Workload("web", "red", "p1", (WEB,), {"tier": "web"})
        await desk.conductor.attach(workload, "ada")
        await desk.conductor.detach("web", "ada")

    async def look(desk: Desk) -> None:
        desk.begin()
        assert not desk.kernel.verdict("10.0.0.1", "10.0.0.9", 80).allowed

    run(tmp_path, attach_and_detach)
    run(tmp_path, look)


def test_nothing_is_promoted_before_the_kernel_follows(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        signed = Signature("ada", 1.0, "")
        drafted, revision = Ledger().draft(parse_policy("rules: [allow any to any]"))
        await desk.conductor.move(lambda _: drafted.stage(revision.digest, signed))
        with pytest.raises(StartingError):
            await desk.conductor.move(lambda ledger: ledger.promote(signed))
        assert desk.conductor.director.ledger.in_state(State.ENFORCED) is None
        desk.begin()
        await desk.conductor.move(lambda ledger: ledger.promote(signed))
        assert desk.conductor.director.ledger.in_state(State.ENFORCED)

    run(tmp_path, story)


def test_expiry_goes_on_after_an_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One exception once ended it for good: addresses of workloads that left stayed denied."""
    monkeypatch.setattr(controller, "EXPIRE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "FIRST_DELAY", 0.0)

    async def whole() -> None:
        async with asyncio.timeout(10), supervisor.Supervisor(lambda *_: None) as owner:
            part = owner.part("policy")
            desk = Desk(tmp_path, part)
            stock, calls, again = desk.conductor.director.expire, [0], asyncio.Event()

            def expire(now: float) -> list[Order]:
                calls[0] += 1
                if calls[0] == 1:
                    raise KeyError("a place that nobody holds")
                again.set()
                return [*stock(now)]

            monkeypatch.setattr(desk.conductor.director, "expire", expire)
            desk.begin()
            await again.wait()
            assert part.failures == 1
            await desk.conductor.stop()
            desk.store.close()

    asyncio.run(whole())
