"""Every call to a BGP worker fails once, in a pool with two VRFs.

The worker of that VRF works again, the log says so, and the other VRF's worker goes on."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from controlplane.model.events import SpeakerLost
from controlplane.speaker import command_pipe, launch, liveness, process
from controlplane.speaker.launch import Launched
from tests.faults.adapters import case_id
from tests.unit.speaker.worker_bench import Bench, bench, peer

RED, BLUE = peer("127.0.3.1", "red"), peer("127.0.3.2", "blue")
ERRORS: dict[str, tuple[int, ...]] = {
    "launch": (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENOENT),
    "read": (errno.EAGAIN, errno.EINTR, errno.EIO),
    "write": (errno.EAGAIN, errno.EPIPE, errno.EIO),
}
CASES = [
    (call, error)
    for call, codes in ERRORS.items()
    for error in (*(OSError(code, f"injected {errno.errorcode[code]}") for code in codes),
                  KeyError("injected"))
]  # fmt: skip


class Calls:
    """Replaces ``os`` and ``launch`` where the node calls the workers: one call of VRF red raises,
    once."""

    def __init__(self) -> None:
        self.armed: tuple[str, Exception] | None = None
        self.fired = False
        self.red: process.SpeakerProcess | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, descriptor: int, size: int) -> bytes:
        if self._worker and descriptor == self._worker.reports:
            self._raise("read")
        return os.read(descriptor, size)

    def write(self, descriptor: int, data: bytes) -> int:
        if self._worker and descriptor == self._worker.commands:
            self._raise("write")
        return os.write(descriptor, data)

    def launch(self, *, user: str, uid: int, device: str, run_dir: Any) -> Launched:
        if device == "red":
            self._raise("launch")
        return launch.launch(user=user, uid=uid, device="", run_dir=run_dir)

    @property
    def _worker(self) -> Launched | None:
        return self.red._worker if self.red else None

    def _raise(self, call: str) -> None:
        if self.armed and self.armed[0] == call:
            error, self.armed, self.fired = self.armed[1], None, True
            raise error


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()
    monkeypatch.setattr(launch, "_unprivileged", lambda *_: iter(()))
    monkeypatch.setattr(process, "os", made)
    monkeypatch.setattr(command_pipe, "os", made)
    monkeypatch.setattr(process, "launch", made.launch)
    return made


def in_pool(story: Callable[[Bench], Any]) -> None:
    async def whole() -> None:
        async with bench(device_of=lambda vrf: vrf) as node:
            await story(node)

    asyncio.run(whole())


async def works(node: Bench, calls: Calls) -> None:
    """Have red's worker take a new session over, and say how it went."""
    again = peer("127.0.3.9", "red")
    node.configure(RED, again, BLUE)
    calls.red = node.process("red")
    await node.until(lambda: node.tried("127.0.3.9", "red"))
    await node.until(lambda: node.tried("127.0.3.1", "red"))


async def both(node: Bench, calls: Calls) -> None:
    node.configure(RED, BLUE)
    calls.red = node.process("red")
    await node.until(lambda: node.tried("127.0.3.2", "blue"))


def is_logged(node: Bench) -> bool:
    """A pipe that only has to be tried again needs no line: nothing is lost."""
    events = {event for _, event, _ in node.log}
    return bool(node.part.failures or events & {"speaker_start_failed", "speaker_exited"})


@pytest.mark.parametrize(("call", "error"), CASES, ids=case_id)
def test_a_call_that_fails_once(calls: Calls, call: str, error: Exception) -> None:
    async def story(node: Bench) -> None:
        if call == "launch":
            calls.armed = (call, error)
        await both(node, calls)
        if call != "launch":
            await node.until(lambda: node.tried("127.0.3.1", "red"))
            calls.armed = (call, error)
        await works(node, calls)
        assert calls.fired, "no step made this call"
        harmless = isinstance(error, BlockingIOError) and call in ("read", "write")
        await node.until(lambda: harmless or is_logged(node))
        assert node.pool.restarts()["blue"] == 0
        assert not [e for e in node.events if isinstance(e, SpeakerLost) and e.vrf == "blue"]
        await node.until(lambda: not node.pool.lost())

    in_pool(story)


def test_a_start_that_cannot_fail_like_this_is_not_swallowed(calls: Calls) -> None:
    """It reaches the router's turn, which ends the node."""

    async def story(node: Bench) -> None:
        calls.armed = ("launch", ValueError("injected"))
        with pytest.raises(ValueError, match="injected"):
            await both(node, calls)
        await both(node, calls)  # the control

    in_pool(story)


def test_a_worker_that_is_stopped_is_replaced(calls: Calls) -> None:
    """Within seconds: its peers end its sessions, and its end of them is never reported. The other
    VRF's worker, which is as idle, goes on."""

    async def story(node: Bench) -> None:
        await both(node, calls)
        await node.until(lambda: node.tried("127.0.3.1", "red"))
        os.kill(int(node.logged("speaker_started", "red")[0]["pid"]), signal.SIGSTOP)
        await node.until(lambda: node.logged("speaker_exited", "red"), seconds=12.0)
        (line,) = node.logged("speaker_exited", "red")
        assert line["reason"] == "stopped: it did not run for 6 s"
        assert node.logged("speaker_stopped", "red") == [{"vrf": "red", "reason": line["reason"]}]
        await works(node, calls)
        assert [e.vrf for e in node.events if isinstance(e, SpeakerLost)] == ["red"]
        assert node.pool.restarts() == {"red": 1, "blue": 0}

    in_pool(story)


def test_a_worker_that_answers_no_more_is_replaced(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs, but reads nothing: after a minute and a half, here a fiftieth of that."""
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.04)
    monkeypatch.setattr(liveness, "cpu_time", lambda _: time.monotonic_ns())

    async def story(node: Bench) -> None:
        await both(node, calls)
        await node.until(lambda: node.tried("127.0.3.1", "red"))
        await asyncio.sleep(3.0)  # the control: it answers
        assert node.pool.restarts() == {"red": 0, "blue": 0}
        os.kill(int(node.logged("speaker_started", "red")[0]["pid"]), signal.SIGSTOP)
        await node.until(lambda: node.logged("speaker_exited", "red"))
        assert node.logged("speaker_exited", "red")[0]["reason"] == "no answer for 60 s"
        assert not node.logged("speaker_stopped", "red")
        await works(node, calls)
        assert node.pool.restarts() == {"red": 1, "blue": 0}

    in_pool(story)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EPERM])
def test_a_clock_that_cannot_be_read_costs_no_worker(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    reads: list[int] = []

    def refused(clock: int) -> int:
        reads.append(clock)
        raise OSError(error, "injected")

    async def story(node: Bench) -> None:
        monkeypatch.setattr(process, "LOOK_SECONDS", 0.02)
        monkeypatch.setattr(time, "clock_gettime_ns", refused)
        await both(node, calls)
        await node.until(lambda: len(reads) > 100)
        await works(node, calls)
        assert node.pool.restarts() == {"red": 0, "blue": 0}

    in_pool(story)


def test_a_worker_that_is_killed_is_started_again(calls: Calls) -> None:
    async def story(node: Bench) -> None:
        await both(node, calls)
        await node.until(lambda: node.tried("127.0.3.1", "red"))
        os.kill(int(node.logged("speaker_started", "red")[0]["pid"]), signal.SIGKILL)
        await node.until(lambda: node.logged("speaker_exited", "red"))
        await works(node, calls)
        assert [e.vrf for e in node.events if isinstance(e, SpeakerLost)] == ["red"]
        assert node.pool.restarts() == {"red": 1, "blue": 0}

    in_pool(story)
