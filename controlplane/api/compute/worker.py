"""Run jobs over a replica of the node's policy state.

``python -m controlplane.api.compute.worker PARENT DESCRIPTOR``: the node's process id, and the
connection on which changes and jobs arrive.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from typing import BinaryIO

from controlplane.api.access.caller import CALLER, Caller
from controlplane.api.access.status import StatusError
from controlplane.api.compute.frames import (
    LENGTH,
    Done,
    Failed,
    Interrupted,
    Job,
    Refused,
    Reply,
    encode_reply,
    job_or_change,
)
from controlplane.api.compute.jobs import JOBS
from controlplane.confine.process import end_with, limit
from controlplane.model.intent import ApiRole
from controlplane.policy.insight.replica import Replica
from controlplane.policy.language.revision import UnreadableError

NICE = 5
MOST_MEMORY = 4 << 30
"""Bytes: a job that needs more ends with MemoryError, not with the machine's out-of-memory killer.
"""
_TRACE = 4000


class InterruptedJob(BaseException):
    """The node asks the running job to end. No job may catch it by accident."""


class Interruption:
    """Raise InterruptedJob on SIGUSR1, while a job runs and at no other time."""

    def __init__(self) -> None:
        self._running = False

    def install(self) -> None:
        """Take over the signal."""
        signal.signal(signal.SIGUSR1, self._on_signal)

    @contextlib.contextmanager
    def possible(self) -> Iterator[None]:
        """Let the block be interrupted."""
        self._running = True
        try:
            yield
        finally:
            self._running = False

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        if self._running:
            self._running = False
            raise InterruptedJob


def answer(replica: Replica, job: Job) -> Reply:
    """Run one job; every end that it can have is a reply."""
    CALLER.set(Caller(job.identity, ApiRole.VIEWER, job.vrfs))
    try:
        return Done(tuple(JOBS[job.name](replica, *job.arguments)))
    except StatusError as refused:
        return Refused(refused.code.name, refused.text, refused.trailer)
    except UnreadableError as error:
        return Refused("FAILED_PRECONDITION", str(error))
    except MemoryError:
        text = "the answer needs more memory than a query may use: narrow the filter"
        return Refused("RESOURCE_EXHAUSTED", text)
    except Exception:
        return Failed(traceback.format_exc()[-_TRACE:])


def serve(stream: BinaryIO, interruption: Interruption) -> None:
    """Apply changes and answer jobs until the node closes the connection."""
    replica = Replica()
    while (frame := _read(stream)) is not None:
        if not isinstance(frame, Job):
            replica.apply(frame)
            continue
        reply: Reply = Interrupted()
        with contextlib.suppress(InterruptedJob), interruption.possible():
            reply = answer(replica, frame)
        stream.write(encode_reply(reply))
        stream.flush()


def _read(stream: BinaryIO) -> object | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    frame: object = job_or_change(stream.read(LENGTH.unpack(head)[0]))
    return frame


def main() -> None:
    """Serve the node that started this process."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    end_with(parent)
    os.nice(NICE)  # the CPU is the node's first
    limit(memory=MOST_MEMORY)
    gc.set_threshold(50_000, 20, 100)
    interruption = Interruption()
    interruption.install()
    with socket.socket(fileno=descriptor) as connection:
        stream = connection.makefile("rwb", buffering=1 << 18)
        with contextlib.suppress(ConnectionError):
            serve(stream, interruption)  # type: ignore[arg-type]  # a buffered pair is both


if __name__ == "__main__":
    main()
