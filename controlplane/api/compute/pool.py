"""Give queries to compute workers: bounded in number, fair between callers, each with a deadline.

Fairness: a caller has at most one query running, so with two workers no caller's long query
delays another caller's. A caller that goes away, and a deadline that passes, interrupt the query.
"""

from __future__ import annotations

import asyncio

from controlplane.api.access.caller import Caller
from controlplane.api.compute.channel import ProcessChannel
from controlplane.api.compute.frames import Job
from controlplane.api.compute.queue import Query, Queue
from controlplane.api.compute.slots import Open, WorkerSlot
from controlplane.model.log import Log
from controlplane.model.supervision import Part, Task
from controlplane.policy.insight.replica_feed import Needs, ReplicaFeed, Source

WORKERS = 2
SECONDS = 60.0
"""A query that takes longer is ended."""
IDLE_SECONDS = 600.0
"""A worker without a query for this long is ended: a node without queries has none."""


class ComputePool:
    """Queries go in, encoded answers come out; workers are started when there is work for them."""

    def __init__(
        self, open_worker: Open, log: Log, part: Part, *, workers: int = WORKERS,
        seconds: float = SECONDS, idle: float = IDLE_SECONDS,
    ) -> None:  # fmt: skip
        self._part = part
        self._queue = Queue()
        self._workers = [
            WorkerSlot(self._queue, open_worker, log, seconds, idle) for _ in range(workers)
        ]
        self._tasks: list[Task] = []

    def start(self) -> None:
        """Serve queries from now on."""
        self._tasks = [self._part.start(worker.serve) for worker in self._workers]

    async def stop(self) -> None:
        """End all workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in self._workers:
            await worker.close()

    async def run(self, name: str, caller: Caller, needs: Needs, *arguments: object) -> tuple[bytes, ...]:  # fmt: skip  # noqa: E501
        """Return the parts of one answer. Raises StatusError."""
        job = Job(name, caller.identity, caller.vrfs, arguments)
        query = Query(job, needs, asyncio.get_running_loop().create_future())
        self._queue.put(query)
        try:
            return await query.answer
        finally:
            self._queue.leave(query)


def policy_pool(source: Source, *, node: str, user: str, log: Log, part: Part) -> ComputePool:
    """Return the pool for one node's policy; its workers run as ``user`` where the node is root."""
    return ComputePool(lambda: (ProcessChannel(user), ReplicaFeed(source, node).changes), log, part)
