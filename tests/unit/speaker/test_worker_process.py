"""Real worker processes in the node's loop: reloads in a row, deaths, callbacks that raise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from controlplane.model.events import Event, SpeakerLost
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker import SpeakerPool, launch, process
from tests.parts import LonePart

TURNS = 12
OWN = "127.0.9.9"
CLOSED_PORT = 1
"""Nothing listens there: a connection fails, which the worker reports."""


def peer(address: str, vrf: str = "", *, hold_time: int = 90) -> PeerIntent:
    """A session that this end opens, in vain."""
    return PeerIntent(
        peer=PeerId(vrf, ip_address(address)),
        asn=65000,
        local_address=IPv4Address(OWN),
        local_as=65000,
        families=(Family.IPV4_UNICAST,),
        connect_port=CLOSED_PORT,
        hold_time=hold_time,
    )


class Bench:
    """A pool whose events and log lines are kept."""

    def __init__(self, device_of: Callable[[str], str] | None = None) -> None:
        self.events: list[Event] = []
        self.log: list[tuple[str, str, dict[str, str | int]]] = []
        self.part = LonePart()
        self.pool = SpeakerPool(
            part=self.part,
            run_dir=Path("/"),
            user="nobody",
            router_id=IPv4Address("10.0.0.1"),
            emit=self.emit,
            log=lambda level, event, fields: self.log.append((level, event, fields)),
            device_of=device_of,
            listen_port=free_port(),
        )

    def emit(self, events: list[Event]) -> None:
        self.events += events

    def logged(self, event: str, vrf: str = "") -> list[dict[str, str | int]]:
        return [fields for _, e, fields in self.log if e == event and fields["vrf"] == vrf]

    def process(self, vrf: str = "") -> process.SpeakerProcess:
        return self.pool._processes[vrf]

    def tried(self, address: str, vrf: str = "") -> bool:
        """True once the worker has reported an attempt to connect: it has that session."""
        return bool(self.process(vrf).sessions[address].last_error)

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log
            await asyncio.sleep(0.01)


def free_port() -> int:
    import socket

    with socket.socket() as made:
        made.bind((OWN, 0))
        return int(made.getsockname()[1])


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        await made.pool.stop()


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the worker as this user: the interpreter may be out of another user's reach."""
    monkeypatch.setattr(launch, "_unprivileged", lambda _: iter(()))


def test_reloads_in_a_row_are_taken_whole() -> None:
    """Each configuration replaces the one before while that is being read."""

    async def scenario() -> None:
        async with bench() as node:
            crowd = [peer(f"127.0.1.{n}") for n in range(1, 30)]
            for turn in range(40):
                node.pool.configure(
                    (*crowd[: 29 - turn % 2], peer("127.0.2.1", hold_time=90 + turn)), 120
                )
                await asyncio.sleep(0.003 * (turn % 5))
            node.pool.configure((peer("127.0.3.1"),), 120)
            await node.until(lambda: node.tried("127.0.3.1"))
            assert node.events == []
            assert node.pool.restarts() == {"": 0}

    asyncio.run(scenario())


def test_another_restart_time_alone_reaches_the_worker() -> None:
    async def scenario() -> None:
        async with bench() as node:
            for seconds, offered in ((120, "120"), (77, "77"), (0, "disable")):
                node.pool.configure((peer("127.0.3.1"),), seconds)
                applied = node.process()._applied
                assert applied is not None
                assert f"graceful-restart {offered};" in applied.text

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
            node.pool.configure((peer("127.0.3.1"),), 120)
            await node.until(lambda: node.logged("speaker_unusable"))
            (line,) = node.logged("speaker_unusable")
            assert line["reason"] == reason
            assert "ExaBGP" in str(line["cure"])
            assert node.process()._timer is None, "no further attempt"
            (session,) = node.pool.snapshot()
            assert (session.state, session.last_error) == ("idle", f"speaker lost: {reason}")
            assert node.events == [SpeakerLost("", reason)]
            node.pool.configure((peer("127.0.3.2"),), 120)
            await node.until(lambda: len(node.logged("speaker_unusable")) == 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "launch", launching(script))
        asyncio.run(scenario())


def launching(script: Path, vrf: str = "") -> Callable[..., launch.Launched]:
    """As ``launch``, with a script in the worker's place in one VRF."""

    def launched(*, user: str, device: str, run_dir: Path) -> launch.Launched:
        if device != vrf:
            return launch.launch(user=user, device="", run_dir=run_dir)

        def command(_: str, inherited: tuple[int, ...], __: str) -> list[str]:
            return [sys.executable, "-S", str(script), str(os.getpid()), *map(str, inherited[::-1])]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "command_line", command)
            return launch.launch(user=user, device="", run_dir=run_dir)

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
            made.pool.configure((peer("127.0.3.1", "red"), peer("127.0.3.2", "blue")), 120)
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
            node.pool.configure((peer("127.0.3.1"),), 120)
            await node.until(lambda: node.tried("127.0.3.1"))
            reader = node.process()._reader

            def read(lines: list[bytes]) -> list[Event]:
                reader.read = stock  # type: ignore[method-assign]
                raise KeyError("a fault of the node's own")

            stock, reader.read = reader.read, read  # type: ignore[method-assign,assignment]
            node.process().sessions["127.0.3.1"].last_error = ""
            os.kill(int(node.logged("speaker_started")[0]["pid"]), 0)
            node.pool.configure((peer("127.0.3.1"), peer("127.0.3.2")), 120)
            await node.until(lambda: node.part.failures)
            ((subject, error),) = node.part.failures
            assert subject == "vrf ''"
            assert "a fault of the node's own" in error
            await node.until(lambda: len(node.logged("speaker_started")) == 2)
            await node.until(lambda: node.tried("127.0.3.2"))
            assert [type(event) for event in node.events] == [SpeakerLost]
            assert node.pool.restarts() == {"": 1}

    asyncio.run(scenario())
