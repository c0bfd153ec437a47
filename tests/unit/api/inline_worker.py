"""A compute worker without a process of its own: the same frames, the same code, in a thread."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from controlplane.api.compute import frames
from controlplane.api.compute.frames import LENGTH, Interrupted, Job, Reply
from controlplane.api.compute.pool import ComputePool
from controlplane.api.compute.worker import answer
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.replica_feed import ReplicaFeed, Source
from tests.parts import LonePart


class InlineWorker:
    """Implements ``Channel``."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.interrupts = 0
        self._reply: asyncio.Future[Reply] | None = None

    async def send(self, frame: object) -> None:
        sent = frames.job_or_change(frames.encode(frame)[LENGTH.size :])
        if not isinstance(sent, Job):
            self.replica.apply(sent)
            return
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(None, context.run, answer, self.replica, sent)
        self._reply = asyncio.ensure_future(work)

    async def receive(self) -> Reply:
        assert self._reply is not None
        return frames.reply(frames.encode_reply(await self._reply)[LENGTH.size :])

    def interrupt(self) -> None:
        self.interrupts += 1
        if self._reply is not None and not self._reply.done():
            self._reply.cancel()
            self._reply = asyncio.get_running_loop().create_future()
            self._reply.set_result(Interrupted())

    async def kill(self) -> str:
        return "ended"


def inline_pool(source: Source, **more: Any) -> ComputePool:
    """A pool whose workers are in this process."""
    return ComputePool(
        lambda: (InlineWorker(), ReplicaFeed(source, "pe1").changes),
        lambda *_: None,
        LonePart(),
        **more,
    )
