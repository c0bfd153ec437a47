"""Whether a worker runs and answers: its words and its CPU time, looked at every two seconds.

A worker that is idle wakes up each second, one that is busy computes; both show as CPU time. One
that was stopped (SIGSTOP) has none, and the kernel reports it to its parent, the node. Nor has one
that waits for a disk, or in a frozen control group; the first may go on soon. /proc would have the
state too, but a node under ``ProtectProc=invisible`` sees no process of another user there.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

LOOK_SECONDS = 2.0
STOPPED_LOOKS, FROZEN_LOOKS = 3, 15
"""So many looks in a row without a word or CPU time, though asked at the first one, end a worker
that is stopped, and one that does not run for another reason."""
ASK_LOOKS, SILENT_LOOKS = 15, 30
"""A worker that only computes is asked after 30 s, and has 60 s to answer. Looks are counted and
not time: what arrived while the node itself did not run is read before the next one."""
CPUCLOCK_SCHED = 2


def cpu_time(pid: int) -> int:
    """Return a process's CPU time in nanoseconds (clock_getcpuclockid(3)); OSError if it is gone.

    The kernel needs no right for it.
    """
    return time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)


def is_stopped(pid: int) -> bool:
    """Return True if a child of this process is stopped (waitid(2)); its exit status stays."""
    try:
        found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return False
    return found is not None and found.si_code == os.CLD_STOPPED


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look shows: whether to ask the worker for a word, or why it is given up."""

    ask: bool = False
    stopped: bool = False
    reason: str = ""


class Liveness:
    """Judges one worker, from its first word on."""

    def __init__(self) -> None:
        self._acted = True
        self._silent = self._still = self._asked = 0
        self._time: int | None = None

    def acted(self) -> None:
        """Note that the worker reported something, took something, or is not read from."""
        self._acted = True

    def look(self, pid: int) -> Finding:
        """Judge by what it did since the look before."""
        ran = self._ran(pid)
        if self._acted:
            self._acted, self._silent, self._still, self._asked = False, 0, 0, 0
            return Finding()
        self._silent += 1
        self._still = 0 if ran else self._still + 1
        if self._still >= FROZEN_LOOKS or (self._still >= STOPPED_LOOKS and is_stopped(pid)):
            seconds = self._still * LOOK_SECONDS
            return Finding(stopped=True, reason=f"stopped: it did not run for {seconds:g} s")
        if self._asked and self._silent - self._asked >= SILENT_LOOKS:
            return Finding(reason=f"no answer for {SILENT_LOOKS * LOOK_SECONDS:g} s")
        if not self._asked and (self._still or self._silent >= ASK_LOOKS):
            self._asked = self._silent
            return Finding(ask=True)
        return Finding()

    def _ran(self, pid: int) -> bool:
        """Return True unless it is certain that the worker had no CPU time since the last look."""
        before = self._time
        try:
            self._time = cpu_time(pid)
        except OSError:
            self._time = None
        return self._time is None or self._time != before
