"""The sender as a process on its node, and its events as they come."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from labs.lab import RunningLab
from perf.network import REMOTE_NODE
from perf.receivers import LOOPBACK, REMOTE
from perf.waiting import AwaitedError, logs
from perf.workload import Workload

CHECKOUT = Path(__file__).parents[1]


class Sender:
    """A running ``perf.sender`` on the remote node; a context manager."""

    def __init__(self, lab: RunningLab, load: Workload, flood: int = 0) -> None:
        self._lab = lab
        argv = (
            *("ip", "netns", "exec", REMOTE_NODE, sys.executable, "-m", "perf.sender"),
            *("--local", REMOTE, "--peer", LOOPBACK, "--accept"),
            *("--routes", str(load.routes), "--vrfs", str(load.vrfs)),
            *("--per-update", str(load.per_update), "--flood", str(flood)),
        )
        self._process = subprocess.Popen(
            argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._text = b""

    def expect(self, event: str, seconds: float) -> float:
        """Wait for an event and return when it happened, in monotonic seconds.

        Raises AwaitedError after ``seconds``, or when the session ends instead.
        """
        deadline = time.monotonic() + seconds
        while True:
            told = json.loads(self._line(deadline, event))
            if told["event"] == event:
                return float(told["at"])
            if told["event"] == "closed":
                raise AwaitedError(f"{event}: {told['reason']}\n{logs(self._lab)}")

    def withdraw(self) -> float:
        """Have it withdraw all routes; return when it was asked, in monotonic seconds."""
        return self._ask(b"withdraw\n")

    def flood(self) -> float:
        """Have it announce a prefix again and again; return when it was asked."""
        return self._ask(b"flood\n")

    def _ask(self, line: bytes) -> float:
        assert self._process.stdin is not None
        at = time.monotonic()
        self._process.stdin.write(line)
        return at

    def _line(self, deadline: float, event: str) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._text:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise AwaitedError(f"the sender never said: {event}\n{logs(self._lab)}")
                data = self._process.stdout.read(4096)
                if not data:
                    raise AwaitedError(f"the sender ended before: {event}\n{logs(self._lab)}")
                self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
