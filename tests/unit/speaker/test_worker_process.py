"""Real worker processes in the node's loop: reloads in a row, deaths, callbacks that raise."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controlplane.model.events import Event, SpeakerLost
from controlplane.speaker import launch, process, room
from tests.unit.speaker.worker_bench import Bench, bench, peer

TURNS = 12


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the worker as this user: the interpreter may be out of another user's reach."""
    monkeypatch.setattr(launch, "_unprivileged", lambda *_: iter(()))


def test_reloads_in_a_row_are_taken_whole() -> None:
    """Each configuration replaces the one before while that is being read."""

    async def scenario() -> None:
        async with bench() as node:
            crowd = [peer(f"127.0.1.{n}") for n in range(1, 30)]
            for turn in range(40):
                node.configure(*crowd[: 29 - turn % 2], peer("127.0.2.1", hold_time=90 + turn))
                await asyncio.sleep(0.003 * (turn % 5))
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.tried("127.0.3.1"))
            assert node.events == []
            assert node.pool.restarts() == {"": 0}

    asyncio.run(scenario())


def test_another_restart_time_alone_reaches_the_worker() -> None:
    async def scenario() -> None:
        async with bench() as node:
            for seconds, offered in ((120, "120"), (77, "77"), (0, "disable")):
                node.configure(peer("127.0.3.1"), restart_time=seconds)
                applied = node.process()._applied
                assert applied is not None
                assert f"graceful-restart {offered};" in applied.text

    asyncio.run(scenario())


def test_a_worker_that_dies_as_the_node_stops_leaves_no_zombie() -> None:
    async def scenario() -> None:
        async with bench() as node:
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.tried("127.0.3.1"))
            worker = node.process()._worker
            assert worker is not None
            node.process()._died("injected")
            await node.pool.stop()
            assert worker.process.returncode is not None

    asyncio.run(scenario())


def test_a_worker_that_does_not_fit_its_exabgp_is_not_started_again(tmp_path: Path) -> None:
    """One line in the journal and at the session, until the next configuration."""
    reason = "ExaBGP 6.0 does not fit this worker: exabgp.reactor.peer.Peer does not exist"
    script = tmp_path / "worker.py"
    script.write_text(
        "import os, sys\n"
        f"""line = '{{"t":"unusable","reason":"{reason}"}}\\n'\n"""
        "os.write(int(sys.argv[2]), line.encode())\n"
        "sys.exit(78)\n"
    )

    async def scenario() -> None:
        async with bench() as node:
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.logged("speaker_unusable"))
            (line,) = node.logged("speaker_unusable")
            assert line["reason"] == reason
            assert "ExaBGP" in str(line["cure"])
            assert node.process()._timer is None, "no further attempt"
            (session,) = node.pool.snapshot()
            assert (session.state, session.last_error) == ("idle", f"speaker lost: {reason}")
            assert node.events == [SpeakerLost("", reason)]
            node.configure(peer("127.0.3.2"))
            await node.until(lambda: len(node.logged("speaker_unusable")) == 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "launch", launching(script))
        asyncio.run(scenario())


def launching(script: Path, vrf: str = "") -> Callable[..., launch.Launched]:
    """As ``launch``, with a script in the worker's place in one VRF."""

    def launched(*, user: str, uid: int, device: str, run_dir: Path) -> launch.Launched:
        if device != vrf:
            return launch.launch(user=user, uid=uid, device="", run_dir=run_dir)

        def command(_: str, __: int, inherited: tuple[int, ...], ___: str) -> list[str]:
            return [sys.executable, "-S", str(script), str(os.getpid()), *map(str, inherited[::-1])]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "command_line", command)
            return launch.launch(user=user, uid=uid, device="", run_dir=run_dir)

    return launched


def test_a_worker_that_dies_at_once_waits_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other VRF's worker is started once."""
    script = tmp_path / "worker.py"
    script.write_text("raise SystemExit('no such luck')\n")
    delays: list[float] = []
    monkeypatch.setattr(process, "launch", launching(script, "red"))

    def sooner(self: process.SpeakerProcess) -> None:
        delays.append(self._delay)
        started(self)
        assert self._timer is not None
        when = self._timer
        when.cancel()
        self._timer = asyncio.get_running_loop().call_soon(self._start)  # type: ignore[assignment]

    started = process.SpeakerProcess._start_later
    monkeypatch.setattr(process.SpeakerProcess, "_start_later", sooner)

    async def scenario() -> None:
        made = Bench(device_of=lambda vrf: vrf)
        try:
            made.configure(peer("127.0.3.1", "red"), peer("127.0.3.2", "blue"))
            await made.until(lambda: len(delays) >= 9)
            await made.until(lambda: made.tried("127.0.3.2", "blue"))
            assert made.pool.restarts()["blue"] == 0
            assert made.logged("speaker_exited", "red")[0]["reason"] == "no such luck"
        finally:
            await made.pool.stop()

    asyncio.run(scenario())
    assert delays[:9] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]


def test_a_callback_that_raises_restarts_its_worker() -> None:
    """Never a silent stop: what was read is lost, so the sessions start over."""

    async def scenario() -> None:
        async with bench() as node:
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.tried("127.0.3.1"))
            reader = node.process()._reader

            def read(lines: list[bytes]) -> list[Event]:
                reader.read = stock  # type: ignore[method-assign]
                raise KeyError("a fault of the node's own")

            stock, reader.read = reader.read, read  # type: ignore[method-assign,assignment]
            node.process().sessions["127.0.3.1"].last_error = ""
            os.kill(int(node.logged("speaker_started")[0]["pid"]), 0)
            node.configure(peer("127.0.3.1"), peer("127.0.3.2"))
            await node.until(lambda: node.part.failures)
            ((subject, error),) = node.part.failures
            assert subject == "vrf ''"
            assert "a fault of the node's own" in error
            await node.until(lambda: len(node.logged("speaker_started")) == 2)
            await node.until(lambda: node.tried("127.0.3.2"))
            assert [type(event) for event in node.events] == [SpeakerLost]
            assert node.pool.restarts() == {"": 1}

    asyncio.run(scenario())


def test_a_worker_is_started_anew_for_more_sessions_than_its_limits_are_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: one with as many as they are for stays."""
    monkeypatch.setattr(room, "SPARE_SESSIONS", 1)

    async def scenario() -> None:
        async with bench() as node:
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.tried("127.0.3.1"))
            crowd = [peer(f"127.0.3.{n}") for n in range(1, 4)]
            node.configure(*crowd)
            await node.until(lambda: node.tried("127.0.3.3"))
            assert node.pool.restarts() == {"": 0}
            node.configure(*crowd, peer("127.0.3.4"))
            await node.until(lambda: node.logged("speaker_exited"))
            (line,) = node.logged("speaker_exited")
            assert line["reason"] == "another one is started: it may have no more than 3 sessions"
            last = node.process().sessions["127.0.3.4"]
            await node.until(lambda: not last.last_error.startswith("speaker lost"))
            assert node.pool.restarts() == {"": 1}

    asyncio.run(scenario())


def test_a_worker_without_a_filter_of_system_calls_goes_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine without one: both VRFs' workers have their sessions, the log has one line."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "there = os.uname()\n"
        "os.uname = lambda: os.uname_result((*list(there)[:4], 'riscv64'))\n"
    )
    stock = launch.environment
    there = {"PYTHONPATH": str(tmp_path)}
    monkeypatch.setattr(launch, "environment", lambda user: stock(user) | there)
    monkeypatch.setattr(process, "launch", launching(tmp_path / "none", "no such VRF"))

    async def scenario() -> None:
        async with bench(device_of=lambda vrf: vrf) as node:
            node.configure(peer("127.0.3.1", "red"), peer("127.0.3.2", "blue"))
            await node.until(lambda: node.tried("127.0.3.1", "red"))
            await node.until(lambda: node.tried("127.0.3.2", "blue"))
            (line,) = [(level, f) for level, e, f in node.log if e == "speaker_unconfined"]
            assert line[0] == "warning"
            assert line[1]["reason"] == "no list of system calls for riscv64, 64 bits"

    asyncio.run(scenario())


def test_a_worker_is_confined() -> None:
    """By the kernel's own account: a filter, no other process, no file."""

    async def scenario() -> None:
        async with bench() as node:
            node.configure(peer("127.0.3.1"))
            await node.until(lambda: node.tried("127.0.3.1"))
            assert not node.logged("speaker_unconfined")
            look(Path(f"/proc/{node.logged('speaker_started')[0]['pid']}"))

    def look(process: Path) -> None:
        status = (process / "status").read_text()
        assert "Seccomp:\t2\n" in status
        assert "NoNewPrivs:\t1\n" in status
        limits = (process / "limits").read_text()
        for name in ("Max processes", "Max file size", "Max core file size"):
            (line,) = [line for line in limits.splitlines() if line.startswith(name)]
            assert line.removeprefix(name).split()[:2] == ["0", "0"]

    asyncio.run(scenario())
