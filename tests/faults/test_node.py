"""Every call that the executor makes raises what it cannot raise: the node says so and ends.

What a call can raise (a full store, flows that cannot be read) the node survives: see
``tests/unit/policy/test_full_store.py``, and below.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane.model.observed import Baseline
from controlplane.model.prefix import parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.revision import Signature
from controlplane.model.workload import RemoteEndpoint, RemoteEndpointsChanged, Workload
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision
from controlplane.store import Store
from pe.executor import DataPlane, Gate, MapManager, Speakers
from pe.process import clock
from tests.faults.adapters import Fault
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode, run_story

PROTOCOLS: dict[str, type] = {
    "store": Store, "dataplane": DataPlane, "kernel": MapManager, "gate": Gate,
    "speakers": Speakers,
}  # fmt: skip
NOT_IN_A_TURN = {
    "close", "stop",  # at the end
    "load_labels", "load_policy",  # before the node: it does not start
    "on_acknowledged",  # when the executor is made
}  # fmt: skip
REPORTED = {"live", "end"}
"""Their errors come back to the router as events, and are retried."""

SIGNED = Signature("ada", 1.0, "")
WEB, DB = parse_prefix("10.0.0.1"), parse_prefix("10.0.0.2")
OPEN = Revision.of(parse_policy("groups: {web: {id: 1, selector: tier=web}}"))
SHUT = Revision.of(parse_policy("rules: [deny any to any on tcp/1]"))


def calls() -> list[tuple[str, str]]:
    return [
        (part, name)
        for part, protocol in PROTOCOLS.items()
        for name, value in vars(protocol).items()
        if inspect.isfunction(value) and not name.startswith("_") and name not in NOT_IN_A_TURN
    ]


async def everything(pe: PolicyNode) -> None:
    """Have the node do everything that it can do."""
    await pe.begin()
    await pe.access.attach(Workload("web", "red", "p1", (WEB,), {"tier": "web"}), "ada")
    await pe.access.attach(Workload("db", "red", "p1", (DB,)), "ada")
    await pe.access.tag("db", {"tier": "db"}, (), 0, "ada")
    await pe.access.stage(OPEN, SIGNED)
    await pe.access.promote("", SIGNED)
    await pe.access.stage(SHUT, SIGNED)
    await pe.access.promote("", SIGNED)
    await pe.access.record_baseline(Baseline("may", 0.0, 1.0, "ada", 0))
    await pe.access.detach("db", "ada")
    green = msgspec.structs.replace(
        pe.intent.vrfs[1], name="green", rd=parse_rd("65000:3"), ports=(), workloads=()
    )
    await pe.reload(msgspec.structs.replace(pe.intent, vrfs=(*pe.intent.vrfs, green)))
    moved = RemoteEndpointsChanged("red", {WEB: RemoteEndpoint(frozenset(), "10.255.0.2", 1)})
    pe.router.state.begin(clock.now())
    pe.policy.remote_endpoints_changed(moved)
    pe.executor.perform(pe.router.state.effects)
    await pe.do()


def run(folder: Path, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    run_story(segment_intent(folder), story)


def owner(pe: PolicyNode, part: str) -> Any:
    return pe.kernel if part == "gate" else getattr(pe, part)


def test_the_story_makes_every_call(tmp_path: Path) -> None:
    made: set[tuple[str, str]] = set()

    async def story(pe: PolicyNode) -> None:
        for part, name in calls():
            note(owner(pe, part), name, (part, name))
        await everything(pe)

    def note(found: Any, name: str, call: tuple[str, str]) -> None:
        real = getattr(found, name)

        def noted(*arguments: Any, **options: Any) -> Any:
            made.add(call)
            return real(*arguments, **options)

        setattr(found, name, noted)

    run(tmp_path, story)
    assert set(calls()) - made == UNREACHED


UNREACHED = {("kernel", "end")}
"""Only with established flows that a revision forbids: ``tests/unit/policy``."""


@pytest.mark.parametrize(("part", "name"), [c for c in calls() if c not in UNREACHED])
def test_an_impossible_error_ends_the_node_and_is_said(
    tmp_path: Path, part: str, name: str
) -> None:
    async def story(pe: PolicyNode) -> None:
        fault = Fault(owner(pe, part), name, KeyError("injected"))
        fault.arm()
        doing = asyncio.get_running_loop().create_task(everything(pe))
        try:
            async with asyncio.timeout(20):
                while not doing.done() and not has_ended(pe):  # noqa: ASYNC110 - either may end
                    await asyncio.sleep(0.01)
        finally:
            doing.cancel()
            (outcome,) = await asyncio.gather(doing, return_exceptions=True)
        assert fault.fired
        if name in REPORTED:
            assert outcome is None, outcome
            return
        errors = [outcome, pe._task.exception() if has_ended(pe) and pe._task else None]
        assert any(isinstance(error, KeyError) for error in errors), errors

    run(tmp_path, story)


def has_ended(pe: PolicyNode) -> bool:
    return pe._task is not None and pe._task.done()
