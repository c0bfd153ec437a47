"""Every task has an owner, and every exception an outcome that stands in the table."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pe.supervisor import PARTS, PERIOD, PartFailedError, Response, Supervisor

Line = tuple[str, str, dict[str, str | int]]


class Desk:
    """A supervisor with a clock of its own, and what it logged."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.now = 0.0
        self.turned: list[str] = []
        self.supervisor = Supervisor(self._log, clock=lambda: self.now, on_turn=self.turned.append)

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.lines.append((level, event, fields))

    def events(self) -> list[str]:
        return [event for _, event, _ in self.lines]


def watched(story: Callable[[Desk], Awaitable[None]]) -> Desk:
    desk = Desk()

    async def whole() -> None:
        async with asyncio.timeout(10), desk.supervisor:
            await story(desk)

    asyncio.run(whole())
    return desk


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "error", [KeyError("x"), ValueError("bad"), struct.error("short"), OSError(105, "no room")]
)
def test_any_exception_is_one_complete_line(error: Exception) -> None:
    async def story(desk: Desk) -> None:
        async def work() -> None:
            raise error

        await desk.supervisor.part("api").spawn(work())

    ((level, event, fields),) = watched(story).lines
    assert (level, event, fields["part"]) == ("error", "part_failed", "api")
    assert type(error).__name__ in str(fields["error"])
    assert str(fields["where"]).startswith("pe/test_supervisor.py:")
    assert str(fields["where"]).endswith(":work")
    assert "\n" not in str(fields)


def test_notes_say_what_was_being_done() -> None:
    async def story(desk: Desk) -> None:
        error = KeyError("x")
        error.add_note("12 events")
        desk.supervisor.part("dataplane").failed(error, "route 7 10.0.0.0/8")

    ((_, _, fields),) = watched(story).lines
    assert (fields["at"], fields["subject"]) == ("12 events", "route 7 10.0.0.0/8")


def test_a_task_that_raises_is_started_anew() -> None:
    runs = 0

    async def story(desk: Desk) -> None:
        again = asyncio.Event()

        async def work() -> None:
            nonlocal runs
            runs += 1
            if runs == 1:
                raise KeyError("first")
            again.set()
            await forever()

        part = desk.supervisor.part("policy")
        part.start(work)
        await again.wait()
        assert part.failing
        part.completed()
        assert not part.failing
        assert desk.turned == ["policy"]

    assert watched(story).events() == ["part_failed"]
    assert runs == 2


@pytest.mark.parametrize("part", [p for p in PARTS if p.limit], ids=lambda p: p.name)
def test_too_many_failures_within_a_minute_end_the_process(part: Any) -> None:
    async def story(desk: Desk) -> None:
        for _ in range(part.limit):
            desk.now += 0.1
            desk.supervisor.part(part.name).failed(KeyError("again"))
        await forever()

    desk = Desk()

    async def whole() -> None:
        async with asyncio.timeout(10), desk.supervisor:
            await story(desk)

    with pytest.raises(PartFailedError, match=f"{part.name} failed for good: KeyError"):
        asyncio.run(whole())
    assert desk.supervisor.ended
    assert desk.events() == ["part_failed"] * part.limit + ["node_failed"]


SURVIVING = [part for part in PARTS if part.response is not Response.END]


@pytest.mark.parametrize("part", SURVIVING, ids=lambda part: part.name)
def test_failures_far_between_end_nothing(part: Any) -> None:
    async def story(desk: Desk) -> None:
        for _ in range(3 * max(part.limit, 10)):
            desk.now += 1.01 * PERIOD / (part.limit - 1) if part.limit else 0.0
            desk.supervisor.part(part.name).failed(KeyError("again"))
        await asyncio.sleep(0)

    assert "node_failed" not in watched(story).events()


def test_one_exception_of_the_routers_turn_ends_the_process() -> None:
    async def turn() -> None:
        raise KeyError("decided half")

    async def story(desk: Desk) -> None:
        desk.supervisor.part("router").start(turn)
        await forever()

    with pytest.raises(PartFailedError, match="router"):
        watched(story)


def test_the_wait_grows_up_to_a_limit() -> None:
    async def story(desk: Desk) -> None:
        part = desk.supervisor.part("speaker")
        waits = [part.failed(OSError(1, "no")) for _ in range(12)]
        assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
        assert waits[-1] == 10.0

    watched(story)


def test_a_callback_that_raises_leads_to_its_recovery() -> None:
    async def story(desk: Desk) -> None:
        taken: list[int] = []
        recovered: list[bool] = []

        def take(number: int) -> None:
            if number == 2:
                raise struct.error("short")
            taken.append(number)

        part = desk.supervisor.part("dataplane")
        reader = part.guard(take, lambda: recovered.append(True), "kernel events")
        for number in (1, 2, 3):
            reader(number)
        assert (taken, recovered) == ([1, 3], [True])

    ((_, _, fields),) = watched(story).lines
    assert fields["subject"] == "kernel events"


def test_a_recovery_that_raises_ends_the_process() -> None:
    async def story(desk: Desk) -> None:
        def broken(*_: object) -> None:
            raise KeyError("twice")

        desk.supervisor.part("flows").guard(broken, broken)()
        await forever()

    with pytest.raises(PartFailedError, match="flows"):
        watched(story)


def test_the_block_ends_with_every_task() -> None:
    ended: list[str] = []

    async def story(desk: Desk) -> None:
        async def work() -> None:
            try:
                await forever()
            finally:
                ended.append("work")

        desk.supervisor.part("process").start(work)
        desk.supervisor.part("api").spawn(work())
        await asyncio.sleep(0.01)
        desk.supervisor.part("api").spawn(work())  # cancelled before its first step

    assert watched(story).lines == []
    assert ended == ["work", "work"]


def test_what_ends_the_block_is_what_is_raised() -> None:
    async def story(desk: Desk) -> None:
        desk.supervisor.part("process").start(forever)
        raise OSError(98, "in use")

    with pytest.raises(OSError, match="in use"):
        watched(story)


def test_no_task_begins_while_the_process_ends() -> None:
    async def late() -> None:
        pass

    async def story(desk: Desk) -> None:
        try:
            desk.supervisor.end("router", KeyError("x"))
            await forever()
        finally:
            with pytest.raises(RuntimeError):
                desk.supervisor.part("api").spawn(late())

    with pytest.raises(PartFailedError):
        watched(story)
