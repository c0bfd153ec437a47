"""Queries outside the loop: fair, bounded, ended with their caller, and a pool that heals."""

from __future__ import annotations

import asyncio
import os
import pickle
import pwd
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from controlplane.api.access.caller import Caller
from controlplane.api.access.status import StatusError
from controlplane.api.compute import frames
from controlplane.api.compute.channel import MOST_REPLY, ProcessChannel
from controlplane.api.compute.frames import Done, Job
from controlplane.api.compute.pool import ComputePool
from controlplane.api.compute.worker import answer
from controlplane.model.intent import ApiRole
from controlplane.policy.compile.reader import Reader
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.replica_feed import Changes, Needs
from tests.parts import LonePart

ME = pwd.getpwuid(os.geteuid()).pw_name
UNPRIVILEGED = "nobody" if os.geteuid() == 0 else ME
RED = Caller("red", ApiRole.VIEWER)
BLUE = Caller("blue", ApiRole.VIEWER)
CODE = grpc.StatusCode


class StubWorker:
    """A channel whose jobs end when the test says so."""

    def __init__(self, changed: asyncio.Event) -> None:
        self.replies: asyncio.Queue[Any] = asyncio.Queue()
        self.jobs: list[Job] = []
        self.interrupts = self.kills = 0
        self.ended = asyncio.Event()
        self.changed = changed

    async def send(self, frame: object) -> None:
        assert isinstance(frame, Job)
        self.jobs.append(frame)
        self.changed.set()

    async def receive(self) -> Any:
        reply = await self.replies.get()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def interrupt(self) -> None:
        self.interrupts += 1
        self.replies.put_nowait(frames.Interrupted())

    async def kill(self) -> str:
        self.kills += 1
        self.ended.set()
        return "exit code -9"


def no_changes(needs: Needs) -> Any:
    return iter(())


class Stubs:
    """Every worker that the pool opened."""

    def __init__(self) -> None:
        self.workers: list[StubWorker] = []
        self.lines: list[tuple[str, dict[str, str | int]]] = []
        self.changed = asyncio.Event()

    def open(self) -> tuple[StubWorker, Changes]:
        self.workers.append(StubWorker(self.changed))
        return self.workers[-1], no_changes

    def log(self, _level: str, event: str, fields: dict[str, str | int]) -> None:
        self.lines.append((event, fields))

    async def running(self, count: int) -> list[StubWorker]:
        """The workers that have a job, once there are so many jobs in all."""
        async with asyncio.timeout(5):
            while sum(len(worker.jobs) for worker in self.workers) < count:
                self.changed.clear()
                await self.changed.wait()
        return [worker for worker in self.workers if worker.jobs]


@asynccontextmanager
async def pool_of(stubs: Stubs, **more: Any) -> AsyncIterator[ComputePool]:
    pool = ComputePool(stubs.open, stubs.log, LonePart(), **more)
    pool.start()
    try:
        yield pool
    finally:
        await pool.stop()


def query(pool: ComputePool, caller: Caller = RED) -> asyncio.Task[tuple[bytes, ...]]:
    return asyncio.create_task(pool.run("Explain", caller, Needs(), b""))


async def status_of(task: Awaitable[object]) -> StatusError:
    with pytest.raises(StatusError) as error:
        await task
    return error.value


def run(test: Callable[[Stubs], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(Stubs()), 20))


def test_a_caller_has_one_query_running_and_another_caller_does_not_wait_for_it() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs) as pool:
            first, second = query(pool), query(pool)
            await stubs.running(1)
            third = query(pool, BLUE)
            busy = await stubs.running(2)
            assert [worker.jobs[-1].identity for worker in busy] == ["red", "blue"]
            busy[1].replies.put_nowait(Done((b"blue",)))
            assert await third == (b"blue",)
            assert not second.done()
            assert len(busy[1].jobs) == 1, "a free worker, but red has a query running"
            busy[0].replies.put_nowait(Done((b"1",)))
            assert await first == (b"1",)
            await stubs.running(3)
            for worker in stubs.workers:
                worker.replies.put_nowait(Done((b"2",)))
            assert await second == (b"2",)

    run(test)


def test_waiting_queries_are_bounded_for_each_caller_and_in_all() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs) as pool:
            mine = [query(pool) for _ in range(9)]
            refused = await status_of(mine[-1])
            assert refused.code is CODE.RESOURCE_EXHAUSTED
            assert "8 queries of yours" in refused.text
            callers = [Caller(f"c{n}", ApiRole.VIEWER) for n in range(60)]
            others = [query(pool, caller) for caller in callers]
            refused = await status_of(others[-1])
            assert refused.code is CODE.RESOURCE_EXHAUSTED
            assert "of all callers" in refused.text
            for task in (*mine[:-1], *others[:-1]):
                task.cancel()
            await asyncio.gather(*mine[:-1], *others[:-1], return_exceptions=True)
            await stubs.running(2)
            last = query(pool)
            await asyncio.sleep(0)
            assert not last.done(), "room is there again"
            last.cancel()

    run(test)


def test_a_caller_that_goes_away_ends_its_query_and_the_worker_stays() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs, workers=1) as pool:
            gone = query(pool)
            (worker,) = await stubs.running(1)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            after = query(pool)
            await stubs.running(2)
            assert (worker.interrupts, worker.kills, len(stubs.workers)) == (1, 0, 1)
            worker.replies.put_nowait(Done((b"x",)))
            assert await after == (b"x",)

    run(test)


def test_a_worker_is_started_for_the_first_query_and_ended_without_any() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs, workers=1, idle=0.01) as pool:
            await asyncio.sleep(0)
            assert not stubs.workers
            for number in (1, 2):
                asked = query(pool)
                await stubs.running(number)
                worker = stubs.workers[-1]
                worker.replies.put_nowait(Done((b"x",)))
                assert await asked == (b"x",)
                async with asyncio.timeout(5):
                    await worker.ended.wait()
            assert [worker.kills for worker in stubs.workers] == [1, 1]

    run(test)


def test_a_deadline_ends_a_query_with_what_to_do() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs, workers=1, seconds=0.01) as pool:
            late = await status_of(query(pool))
            assert late.code is CODE.DEADLINE_EXCEEDED
            assert "ask for less" in late.text
            assert stubs.workers[0].interrupts == 1

    run(test)


def test_a_worker_that_ends_gives_one_clear_error_is_logged_and_replaced() -> None:
    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs, workers=1) as pool:
            lost = query(pool)
            (worker,) = await stubs.running(1)
            worker.replies.put_nowait(EOFError())
            assert (await status_of(lost)).code is CODE.UNAVAILABLE
            assert stubs.lines == [
                ("compute_worker_lost", {"query": "Explain", "reason": "exit code -9"})
            ]
            again = query(pool)
            await stubs.running(2)
            assert len(stubs.workers) == 2
            stubs.workers[1].replies.put_nowait(Done((b"x",)))
            assert await again == (b"x",)

    run(test)


def test_an_exception_in_a_query_is_internal_and_its_trace_is_in_the_journal() -> None:
    reply = answer(Replica(), Job("Explain", "red", frozenset(), ("no bytes",)))
    assert isinstance(reply, frames.Failed)

    async def test(stubs: Stubs) -> None:
        async with pool_of(stubs, workers=1) as pool:
            failed = query(pool)
            (worker,) = await stubs.running(1)
            worker.replies.put_nowait(reply)
            assert (await status_of(failed)).code is CODE.INTERNAL
            ((event, fields),) = stubs.lines
            assert event == "compute_query_failed"
            assert "TypeError" in str(fields["reason"])
            assert worker.kills == 0

    run(test)


# -- with a process -------------------------------------------------------------------------------


def test_a_killed_process_is_replaced_and_an_interrupted_one_goes_on() -> None:
    channels: list[ProcessChannel] = []

    def opened() -> tuple[ProcessChannel, Changes]:
        channels.append(ProcessChannel(UNPRIVILEGED))
        return channels[-1], no_changes

    async def test(stubs: Stubs) -> None:
        pool = ComputePool(opened, stubs.log, LonePart(), workers=1)
        pool.start()
        try:
            (answered,) = await pool.run("ListGroups", RED, Needs(), b"", "")
            assert answered == b""
            os.kill(channels[0].pid, signal.SIGUSR1)  # while nothing runs: no harm
            (answered,) = await pool.run("ListGroups", RED, Needs(), b"", "")
            os.kill(channels[0].pid, signal.SIGKILL)
            assert (await status_of(query(pool))).code is CODE.UNAVAILABLE
            assert await pool.run("ListGroups", RED, Needs(), b"", "") == (b"",)
            assert len(channels) == 2
            assert [event for event, _ in stubs.lines] == ["compute_worker_lost"]
        finally:
            await pool.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(channels[1].pid, 0)

    run(test)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_the_process_is_unprivileged() -> None:
    channel = ProcessChannel(UNPRIVILEGED)

    async def test(stubs: Stubs) -> None:
        try:
            await channel.send(Job("ListGroups", "red", frozenset(), (b"", "")))
            await channel.receive()
            lines = Path(f"/proc/{channel.pid}/status").read_text().splitlines()  # noqa: ASYNC240
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            assert set(status["Uid"].split()) == {str(pwd.getpwnam(UNPRIVILEGED).pw_uid)}
            assert {
                int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")
            } == {0}
            assert status["NoNewPrivs"] == "1"
        finally:
            await channel.kill()

    run(test)


def test_a_query_whose_caller_goes_away_is_interrupted_and_the_process_answers_the_next() -> None:
    from bulkhead.v1 import policy_pb2

    document = "rules:\n" + "- allow any to any on tcp/1\n" * 9_999
    request = policy_pb2.CheckPolicyRequest(document=document).SerializeToString()
    channel = ProcessChannel(UNPRIVILEGED)

    async def test(stubs: Stubs) -> None:
        pool = ComputePool(lambda: (channel, no_changes), stubs.log, LonePart(), workers=1)
        pool.start()
        try:
            assert await pool.run("ListGroups", RED, Needs(), b"", "") == (b"",)
            long = asyncio.create_task(pool.run("CheckPolicy", RED, Needs(), request))
            await asyncio.sleep(0.1)
            assert not long.done(), "control: it takes long"
            long.cancel()
            assert await pool.run("ListGroups", RED, Needs(), b"", "") == (b"",)
            assert channel.running
            assert stubs.lines == []
        finally:
            await pool.stop()

    run(test)


# -- frames ---------------------------------------------------------------------------------------


REPLIES = (
    frames.Done((b"", b"\xff")), frames.Refused("NOT_FOUND", "no", (("bin", b"\0"),)),
    frames.Failed("trace"), frames.Interrupted(),
)  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_comes_as_it_went(reply: frames.Reply) -> None:
    assert frames.reply(frames.encode_reply(reply)[frames.LENGTH.size :]) == reply


def test_a_job_comes_as_it_went() -> None:
    job = Job("x", "red", frozenset({"red"}), (b"", 1))
    assert frames.job_or_change(frames.encode(job)[frames.LENGTH.size :]) == job


def test_a_worker_s_reply_changes_and_calls_nothing_in_the_node() -> None:
    """Replies were pickles of the rooms' values, which could set attributes of their classes."""
    rigging = b"ccontrolplane.policy.compile.reader\nReader\n(N}Vrigged\nI01\nstb."
    for evil in (rigging, pickle.dumps(os.system), pickle.dumps(Job("x", "", frozenset(), ()))):
        with pytest.raises(msgspec.MsgspecError):
            frames.reply(evil)
    assert not hasattr(Reader, "rigged")
    pickle.loads(rigging)  # noqa: S301 - the control
    assert Reader.rigged  # type: ignore[attr-defined]
    del Reader.rigged  # type: ignore[attr-defined]


def test_a_reply_without_end_is_an_error_of_the_worker() -> None:
    async def story() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        channel = ProcessChannel.__new__(ProcessChannel)
        channel._socket = near
        far.sendall(frames.LENGTH.pack(MOST_REPLY + 1))
        with pytest.raises(OSError, match="a reply of"):
            await channel.receive()
        near.close()
        far.close()

    asyncio.run(story())
