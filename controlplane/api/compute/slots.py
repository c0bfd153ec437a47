"""One compute worker after the other, and the queries that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import grpc

from controlplane.api.access.status import StatusError
from controlplane.api.compute.frames import Done, Failed, Interrupted, Refused, Reply
from controlplane.api.compute.queue import Query, Queue
from controlplane.model.log import Log
from controlplane.policy.insight.replica_feed import Changes

GRACE_SECONDS, ASK_AGAIN_SECONDS = 2.0, 0.1
"""How long an interrupted worker may take to say so before it is killed."""


class Channel(Protocol):
    """One worker process. Every method but ``kill`` may raise OSError or EOFError when it ends."""

    async def send(self, frame: object) -> None:
        """Hand a change or a job over."""
        ...

    async def receive(self) -> Reply:
        """Return the reply to the job that was sent last."""
        ...

    def interrupt(self) -> None:
        """Ask for the end of the running job; its reply comes nevertheless."""
        ...

    async def kill(self) -> str:
        """End the worker; how it ended, in words."""
        ...


Open = Callable[[], tuple[Channel, Changes]]
"""Start a worker; what brings its replica up to date. Raises OSError."""


class WorkerSlot:
    """Takes queries from the queue, each to a worker that is started when it is needed, and ended
    after ``idle`` seconds without a query."""

    def __init__(
        self, queue: Queue, open_worker: Open, log: Log, seconds: float, idle: float
    ) -> None:
        self._queue, self._open, self._log, self._seconds = queue, open_worker, log, seconds
        self._idle = idle
        self._held: tuple[Channel, Changes] | None = None

    async def close(self) -> str:
        """End the process; how it ended."""
        held, self._held = self._held, None
        return await held[0].kill() if held else "could not be started"

    async def serve(self) -> None:
        """Answer queries until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._idle if self._held else None):
                    query = await self._queue.take()
            except TimeoutError:
                await self.close()
                continue
            try:
                await self._answer(query)
            finally:
                self._queue.done(query)

    async def _answer(self, query: Query) -> None:
        """Run one query; report an exception to its caller and the journal, and end it alone."""
        if query.answer.done():
            return
        try:
            _settle(query, await self._reply(query))
        except TimeoutError:
            await self.close()
            text = f"not computed within {self._seconds:.0f} s: ask for less"
            _fail(query, StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, text))
        except (OSError, EOFError) as error:
            why = f"{await self.close()} {error}".strip()
            self._log("error", "compute_worker_lost", {"query": query.job.name, "reason": why})
            text = "the worker that computed the answer ended; another one is started: ask again"
            _fail(query, StatusError(grpc.StatusCode.UNAVAILABLE, text))
        except StatusError as refused:
            _fail(query, refused)
        except Exception as error:
            await self.close()
            self._failed(query, repr(error))
            _fail(query, _internal())

    async def _reply(self, query: Query) -> Reply:
        if self._held is None:
            self._held = self._open()
        channel, changes = self._held
        async with asyncio.timeout(self._seconds + GRACE_SECONDS) as limit:
            for change in changes(query.needs):
                await channel.send(change)
                await asyncio.sleep(0)  # a write to an empty socket does not wait by itself
            await channel.send(query.job)
            reply = await self._interruptible(query, channel, limit)
        if isinstance(reply, Interrupted) and not query.answer.done():
            text = f"not computed within {self._seconds:.0f} s: ask for less"
            raise StatusError(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        if isinstance(reply, Failed):
            self._failed(query, reply.trace)
        return reply

    async def _interruptible(self, query: Query, channel: Channel, limit: asyncio.Timeout) -> Reply:
        """The reply; its caller's going away and the deadline ask the worker to end the job."""
        loop = asyncio.get_running_loop()
        reading = loop.create_task(channel.receive())
        try:
            await asyncio.wait(
                (reading, query.answer),
                timeout=self._seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not reading.done():
                limit.reschedule(loop.time() + GRACE_SECONDS)
            while not reading.done():
                # Again and again: it has no effect on a worker that still reads the job.
                channel.interrupt()
                await asyncio.wait((reading,), timeout=ASK_AGAIN_SECONDS)
            return await reading
        finally:
            reading.cancel()

    def _failed(self, query: Query, why: str) -> None:
        self._log("error", "compute_query_failed", {"query": query.job.name, "reason": why})


def _settle(query: Query, reply: Reply) -> None:
    if query.answer.done():
        return
    match reply:
        case Done(parts):
            query.answer.set_result(parts)
        case Refused(code, text, trailer):
            query.answer.set_exception(StatusError(grpc.StatusCode[code], text, trailer))
        case Failed():
            query.answer.set_exception(_internal())


def _fail(query: Query, status: StatusError) -> None:
    if not query.answer.done():
        query.answer.set_exception(status)


def _internal() -> StatusError:
    text = "the answer could not be computed; the node's journal says why (compute_query_failed)"
    return StatusError(grpc.StatusCode.INTERNAL, text)
