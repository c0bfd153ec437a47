"""A data plane, a policy map manager and a router that raise: each does what the table says.

The parts' own code without a kernel: what they do in a turn is given.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from controlplane.model.effects import Effects
from controlplane.model.events import Event
from controlplane.router import Router
from pe import supervisor as supervision
from pe.dataplane.reconciler import DataplaneReconciler
from pe.event_queue import EventQueue
from pe.executor import Executor
from pe.node import Node
from pe.policy.manager import PolicyMapManager
from pe.supervisor import PartFailedError, Supervisor
from tests.unit.api.serving import node_intent

Line = tuple[str, str, dict[str, str | int]]
ERRORS = [KeyError("key"), ValueError("value"), struct.error("short"), OSError(105, "no buffers")]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY", 0.0)


class Lines(list[Line]):
    def log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self]


class Turns:
    """Turns that raise at first, and then do not."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.over = asyncio.Event()

    def __call__(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
        self.over.set()


def ignored(_: list[Event]) -> None:
    pass


class Plane(DataplaneReconciler):
    """Without sockets; notes whether a turn began with everything read anew."""

    turns: Turns
    resynced: list[bool]

    async def _iterate(self) -> None:
        self.resynced.append(self._resync)
        self._resync = False
        self.turns()

    def _timeout(self) -> float:
        return 0.01


def told(story: Callable[[Supervisor, Lines], Awaitable[None]]) -> Lines:
    lines = Lines()

    async def whole() -> None:
        async with asyncio.timeout(10), Supervisor(lines.log) as supervisor:
            await story(supervisor, lines)

    asyncio.run(whole())
    return lines


def plane(supervisor: Supervisor, lines: Lines, turns: Turns) -> Plane:
    made = Plane(emit=ignored, log=lines.log, part=supervisor.part("dataplane"))
    made._structure = type("Structure", (), {"dirty": False})()
    made.turns, made.resynced = turns, []
    return made


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_data_plane_reads_everything_anew_and_goes_on(error: Exception) -> None:
    async def story(supervisor: Supervisor, lines: Lines) -> None:
        actor = plane(supervisor, lines, Turns(error))
        task = supervisor.part("dataplane").start(actor._run)
        assert not actor.is_settled
        await actor.turns.over.wait()
        await actor.settled()
        assert actor.resynced[:2] == [False, True]
        assert not task.done()
        assert supervisor.part("dataplane").failures == 1
        assert not supervisor.part("dataplane").failing
        turns = supervisor.part("dataplane").turns
        assert turns == len(actor.resynced) - 1, "the failed one feeds no watchdog"

    ((level, event, fields),) = told(story)
    assert (level, event, fields["part"]) == ("error", "part_failed", "dataplane")


def test_a_data_plane_that_goes_on_failing_ends_the_process() -> None:
    async def story(supervisor: Supervisor, lines: Lines) -> None:
        actor = plane(supervisor, lines, Turns(*(KeyError(n) for n in range(20))))
        supervisor.part("dataplane").start(actor._run)
        await actor.turns.over.wait()

    with pytest.raises(PartFailedError, match="dataplane failed for good"):
        told(story)


def test_an_event_that_raises_leads_to_a_resync() -> None:
    async def story(supervisor: Supervisor, lines: Lines) -> None:
        actor = plane(supervisor, lines, Turns())

        def broken() -> None:
            raise struct.error("a message that is too short")

        supervisor.part("dataplane").start(actor._run)
        await actor.settled()
        supervisor.part("dataplane").guard(broken, actor._request_resync)()
        assert not actor.is_settled
        await actor.settled()
        assert True in actor.resynced

    assert told(story).events() == ["part_failed"]


class Maps(PolicyMapManager):
    turns: Turns

    async def _turn(self, *, checking: bool) -> None:
        del checking
        self.turns()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_verdict_tables_are_built_anew(error: Exception) -> None:
    async def story(supervisor: Supervisor, lines: Lines) -> None:
        part = supervisor.part("policy")
        maps = Maps(log=lines.log, part=part, flows=part, check_seconds=0.01)
        maps.turns = Turns(error)
        task = part.start(maps._run)
        await maps.turns.over.wait()
        await asyncio.sleep(0)
        assert maps.refusal == ""
        assert not task.done()
        assert part.failures == (not isinstance(error, OSError)), "a refusal is no failure"

    assert "kernel_refused" in told(story).events()


class Nothing:
    """An actor and speakers that do as they are bid."""

    def __getattr__(self, name: str) -> Any:
        async def later(*_: object) -> None:
            pass

        return later if name in ("start", "stop", "settled") else lambda *_: None


class Deciding(Router):
    error: Exception | None = None

    def handle(self, events: Any, now: Any) -> Effects:
        if self.error:
            raise self.error
        return super().handle(events, now)


def test_the_router_s_turn_that_raises_ends_the_process_and_says_over_what(tmp_path: Any) -> None:
    lines, router = Lines(), Deciding()

    async def story() -> None:
        turned = asyncio.Event()
        supervisor = Supervisor(lines.log, on_turn=lambda _: turned.set())
        async with asyncio.timeout(10), supervisor:
            part, queue = supervisor.part("router"), EventQueue()
            nothing: Any = Nothing()
            executor = Executor(
                nothing, nothing, nothing, nothing, nothing, emit=queue.put, log=lines.log,
                part=part, answer=lambda _: None, publish=lambda *_: None,
            )  # fmt: skip
            node = Node(router, nothing, nothing, executor, queue, part)
            part.start(lambda: node.run(node_intent(tmp_path)))
            await turned.wait()  # the control: an ordinary turn completes
            assert not supervisor.ended
            router.error = KeyError("half way")
            await asyncio.Event().wait()

    with pytest.raises(PartFailedError, match="router failed for good: KeyError: 'half way'"):
        asyncio.run(story())
    (failed, ended) = [(e, f) for _, e, f in lines if e in ("part_failed", "node_failed")]
    assert (failed[0], ended[0]) == ("part_failed", "node_failed")
    assert "1 events: TimePassed x1" in str(failed[1]["at"])
