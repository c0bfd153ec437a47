"""Every call of the readers of the flow log and of the connections fails once.

Flows are read again afterwards, what was lost is counted, and the log says so; of the connections
the caller receives the error, and the next caller the numbers.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from controlplane.model.flow import FlowRecord
from pe.netlink import codec as nl
from pe.observe import conntrack
from pe.observe.flow_log import RETRY_SECONDS, FlowLog
from pe.observe.log_entry import FLOW_GROUP
from tests.faults import virtual_time
from tests.faults.adapters import case_id
from tests.parts import LonePart

ERRORS: dict[str, tuple[int, ...]] = {
    "open": (errno.EMFILE, errno.ENOMEM),
    "resize": (errno.EPERM, errno.ENOBUFS),
    "request": (errno.EPERM, errno.EBUSY, errno.ENOMEM),
    "recv": (errno.ENOBUFS, errno.ENOMEM, errno.EBADF),
}
PACKET = 4 << 8


class Kernel:
    """The log's socket: a pair of which the test writes one end. One call raises, once."""

    def __init__(self) -> None:
        self.armed: tuple[str, Exception] | None = None
        self.fired = False
        self.ours: socket.socket | None = None

    def reach(self, call: str) -> None:
        if self.armed and self.armed[0] == call:
            error, self.armed, self.fired = self.armed[1], None, True
            raise error

    def open(self, _family: int) -> Opened:
        self.reach("open")
        return Opened(self)

    def log(self) -> None:
        """Log an entry of a rule that is not ours: it is counted, and needs no form."""
        assert self.ours
        body = struct.pack(">BBH", 0, 0, FLOW_GROUP)
        self.ours.send(nl.HEADER.pack(16 + len(body), PACKET, 0, 0, 0) + body)


class Opened:
    """What the reader uses of ``NetlinkSocket``."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        kernel.ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._theirs.setblocking(False)
        self.socket = self

    def resize(self, *_: object) -> None:
        self._kernel.reach("resize")

    def request(self, *_: object) -> None:
        self._kernel.reach("request")

    def fileno(self) -> int:
        return self._theirs.fileno()

    def recv(self, size: int) -> bytes:
        self._kernel.reach("recv")
        return self._theirs.recv(size)

    def close(self) -> None:
        assert self._kernel.ours
        self._kernel.ours.close()
        self._theirs.close()


class Reader:
    """A flow log on the fake kernel, and what it reported."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.part, self.lost = LonePart(), 0
        self.log = FlowLog(lambda _zone: "red", self._log, self.part)

    def _log(self, _level: str, event: str, _fields: dict[str, str | int]) -> None:
        self.logged.append(event)

    def on_flows(self, _records: Sequence[FlowRecord], lost: int) -> None:
        self.lost += lost

    async def reads(self, kernel: Kernel) -> None:
        """Have an entry logged until one is read: what is logged meanwhile may be lost."""
        read = self.log.foreign
        async with asyncio.timeout(10 * RETRY_SECONDS):
            while self.log.foreign == read:
                if kernel.ours is not None and kernel.ours.fileno() >= 0:
                    kernel.log()
                await asyncio.sleep(0.5)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()
    monkeypatch.setattr(nl, "NetlinkSocket", made.open)
    yield made
    if made.ours is not None:
        made.ours.close()


def cases() -> list[tuple[str, Exception]]:
    return [
        (call, OSError(code, f"injected {errno.errorcode[code]}"))
        for call, codes in ERRORS.items()
        for code in codes
    ]


@pytest.mark.parametrize(("call", "error"), cases(), ids=case_id)
def test_flows_are_read_again(kernel: Kernel, call: str, error: OSError) -> None:
    async def story() -> None:
        reader = Reader()
        kernel.armed = (call, error) if call != "recv" else None
        reader.log.watch(reader.on_flows)
        if call == "recv":
            await reader.reads(kernel)
            kernel.armed = (call, error)
        await reader.reads(kernel)
        assert kernel.fired
        assert reader.log.problem == ""
        if error.errno != errno.ENOBUFS or call != "recv":  # that one is in the sequence numbers
            assert reader.logged.count("flow_log_unavailable") == 1
            assert reader.logged.count("flow_log_restored") == 1
            assert reader.log.failures == 1
        reader.log.close()

    virtual_time.run(story())


def test_a_read_that_cannot_fail_like_this_is_counted_as_lost(kernel: Kernel) -> None:
    async def story() -> None:
        reader = Reader()
        reader.log.watch(reader.on_flows)
        await reader.reads(kernel)
        kernel.armed = ("recv", KeyError("injected"))
        await reader.reads(kernel)
        assert kernel.fired
        assert len(reader.part.failures) == 1
        assert reader.lost == 1
        reader.log.close()

    virtual_time.run(story())


def test_a_retry_that_cannot_fail_like_this_is_retried(kernel: Kernel) -> None:
    async def story() -> None:
        reader = Reader()
        kernel.armed = ("request", OSError(errno.EPERM, "another process has the group"))
        reader.log.watch(reader.on_flows)
        kernel.armed = ("open", KeyError("injected"))
        await reader.reads(kernel)
        assert len(reader.part.failures) == 1
        assert reader.log.problem == ""
        reader.log.close()

    virtual_time.run(story())


@pytest.mark.parametrize("error", [OSError(errno.ENOBUFS, "injected"), KeyError("injected")])
def test_the_census_fails_for_its_caller_and_works_for_the_next(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: list[Exception] = [error]

    def count() -> Mapping[int, int]:
        if failing:
            raise failing.pop()
        return {7: 3}

    monkeypatch.setattr(conntrack, "table_use", lambda: (3, 100))
    monkeypatch.setattr(conntrack, "count", count)

    async def story() -> None:
        census = conntrack.ConntrackCensus()
        with pytest.raises(type(error)):
            await census.by_zone()
        assert await census.by_zone() == {7: 3}

    run(story)


def run(story: Callable[[], Any]) -> None:
    virtual_time.run(story())
