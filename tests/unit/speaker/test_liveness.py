"""Which worker is given up: one that is stopped, within seconds; one that only computes, late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from controlplane.speaker import liveness
from controlplane.speaker.liveness import (
    ASK_LOOKS,
    FROZEN_LOOKS,
    LOOK_SECONDS,
    SILENT_LOOKS,
    STOPPED_LOOKS,
    Finding,
    Liveness,
    cpu_time,
    is_stopped,
)
from labs.waiting import until

STOPPED = Finding(stopped=True, reason="stopped: it did not run for 6 s")
SILENT = Finding(reason="no answer for 60 s")
ASKED = Finding(ask=True)
GOOD = Finding()
PID = 4711


class Worker:
    """A worker's CPU time, and one that judges it; it has just reported its first word."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 0
        self.gone = self.stopped = False
        self.judge = Liveness()
        monkeypatch.setattr(liveness, "cpu_time", self._read)
        monkeypatch.setattr(liveness, "is_stopped", lambda _: self.stopped)
        assert self.judge.look(PID) == GOOD

    def _read(self, pid: int) -> int:
        assert pid == PID
        if self.gone:
            raise OSError(22, "Invalid argument")
        return self.time

    def look(self, *, runs: int = 0, reports: bool = False) -> Finding:
        self.time += runs
        if reports:
            self.judge.acted()
        return self.judge.look(PID)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(monkeypatch)


def test_a_stopped_worker_is_asked_and_given_up_within_eight_seconds(worker: Worker) -> None:
    assert worker.look(runs=500) == GOOD
    worker.stopped = True
    assert [worker.look() for _ in range(3)] == [ASKED, GOOD, STOPPED]
    assert (1 + STOPPED_LOOKS) * LOOK_SECONDS <= 8.0


def test_a_worker_that_waits_for_a_disk_has_half_a_minute(worker: Worker) -> None:
    """Where storage stalls, all workers may: another one could not be loaded either."""
    found = [worker.look() for _ in range(FROZEN_LOOKS)]
    frozen = Finding(stopped=True, reason="stopped: it did not run for 30 s")
    assert found == [ASKED, *[GOOD] * (FROZEN_LOOKS - 2), frozen]


def test_a_worker_that_goes_on_in_time_is_let_be(worker: Worker) -> None:
    worker.stopped = True
    assert [worker.look() for _ in range(2)] == [ASKED, GOOD]
    worker.stopped = False
    assert worker.look(runs=1, reports=True) == GOOD
    worker.stopped = True
    assert [worker.look() for _ in range(3)] == [ASKED, GOOD, STOPPED]


def test_an_idle_worker_is_asked_twice_a_minute(worker: Worker) -> None:
    """Its loop wakes each second; where the clock is too coarse for that, its answers count."""
    for _ in range(3):
        found = [worker.look(runs=50) for _ in range(ASK_LOOKS)]
        assert found == [*[GOOD] * (ASK_LOOKS - 1), ASKED]
        assert worker.look(runs=50, reports=True) == GOOD
    for _ in range(50):
        assert worker.look() == ASKED
        assert worker.look(reports=True) == GOOD


def test_a_worker_that_loads_a_large_table_is_let_be(worker: Worker) -> None:
    """For a minute and a half, in which it reports nothing at all."""
    found = [worker.look(runs=2_000_000_000) for _ in range(ASK_LOOKS + SILENT_LOOKS)]
    assert found == [*[GOOD] * (ASK_LOOKS - 1), ASKED, *[GOOD] * (SILENT_LOOKS - 1), SILENT]


def test_a_worker_that_gets_little_cpu_is_let_be(worker: Worker) -> None:
    """On a loaded machine: it runs in one look of three."""
    assert worker.look(runs=1) == GOOD
    found = [worker.look(runs=n % 3 == 2) for n in range(SILENT_LOOKS)]
    assert found == [ASKED, *[GOOD] * (SILENT_LOOKS - 1)]


def test_a_worker_that_is_not_read_from_is_let_be(worker: Worker) -> None:
    assert {worker.look(reports=True).reason for _ in range(100)} == {""}


def test_a_clock_that_cannot_be_read_stops_no_worker(worker: Worker) -> None:
    worker.gone = True
    found = [worker.look() for _ in range(ASK_LOOKS + SILENT_LOOKS)]
    assert found[ASK_LOOKS - 1] == ASKED
    assert {*found[: ASK_LOOKS - 1], *found[ASK_LOOKS:-1]} == {GOOD}
    assert found[-1] == SILENT


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def test_what_the_kernel_reports_of_a_process_that_is_stopped(
    busy: subprocess.Popen[bytes],
) -> None:
    begun = cpu_time(busy.pid)
    while cpu_time(busy.pid) - begun < 1_000_000:  # the control
        pass
    assert not is_stopped(busy.pid)
    os.kill(busy.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, busy.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(busy.pid)
    assert is_stopped(busy.pid), "asking changes nothing"
    stopped, own = cpu_time(busy.pid), cpu_time(os.getpid())
    while cpu_time(os.getpid()) - own < 20_000_000:
        pass
    assert cpu_time(busy.pid) == stopped
    os.kill(busy.pid, signal.SIGCONT)
    assert until(lambda: cpu_time(busy.pid) > stopped, 10.0)
    assert not is_stopped(busy.pid)
    busy.kill()
    busy.wait()
    assert not is_stopped(busy.pid)
    with pytest.raises(OSError, match="Invalid argument"):
        cpu_time(busy.pid)
