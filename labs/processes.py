"""Processes that outlive the one who started them, tracked by files with their ids.

A file holds the id and the start time, because the kernel gives ids out again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from labs.waiting import until

PATIENCE_SECONDS = 5.0


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with ``extra`` over it."""
    return {**os.environ, **extra}


def spawn(argv: Sequence[str], *, pidfile: Path, log: Path, env: Mapping[str, str]) -> int:
    """Start a program in a session of its own, its output appended to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(env),
            start_new_session=True,
        )
    pidfile.write_text(f"{process.pid} {_started(process.pid)}\n")
    # Its parent may also see it end; this object is not waited for.
    process.returncode = 0
    return process.pid


def running(pidfile: Path) -> int | None:
    """Return the id of the process that a file speaks of, or None when it has ended."""
    try:
        pid, started = pidfile.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    if _started(int(pid)) == started:
        return int(pid)
    _reap(int(pid))
    return None


def signal_only(pidfile: Path, number: int) -> None:
    """Send a signal to the process of a file, if it still runs."""
    if pid := running(pidfile):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def stop(pidfile: Path, number: int) -> None:
    """Send a signal, wait for the end, kill after 5 s; the file is gone afterwards."""
    signal_only(pidfile, number)
    if not until(lambda: running(pidfile) is None, PATIENCE_SECONDS, every=0.02):
        signal_only(pidfile, signal.SIGKILL)
        until(lambda: running(pidfile) is None, PATIENCE_SECONDS, every=0.02)
    pidfile.unlink(missing_ok=True)


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes by their ids; those that ended meanwhile are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _reap(pid)


def _started(pid: int) -> str:
    """The start time in clock ticks since boot; empty when it has ended, as a zombie too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
