"""Queries that wait for a compute worker: bounded in number, and fair between callers."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from controlplane.api.access.status import exhausted
from controlplane.api.compute.frames import Job
from controlplane.policy.insight.replica_feed import Needs

MOST_WAITING, MOST_WAITING_PER_CALLER = 64, 8
"""Queries that wait or run."""


@dataclass(slots=True, eq=False)
class Query:
    """A job, what it looks at, and the future that its caller awaits."""

    job: Job
    needs: Needs
    answer: asyncio.Future[tuple[bytes, ...]]


@dataclass(slots=True)
class Queue:
    """Waiting queries, those that came first first, but one running query per caller."""

    most: int = MOST_WAITING
    most_per_caller: int = MOST_WAITING_PER_CALLER
    _waiting: list[Query] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _count: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, query: Query) -> None:
        """Queue a query. Raises StatusError (RESOURCE_EXHAUSTED) where too many wait."""
        caller = query.job.identity
        if self._count[caller] >= self.most_per_caller:
            raise exhausted(
                f"{self.most_per_caller} queries of yours are being computed: wait for an answer,"
                " then ask again"
            )
        if self._count.total() >= self.most:
            raise exhausted(
                f"{self.most} queries of all callers are being computed: ask again in a moment"
            )
        self._count[caller] += 1
        self._waiting.append(query)
        self._changed.set()

    async def take(self) -> Query:
        """Return the next query; ``done`` with it at its end."""
        while True:
            for place, query in enumerate(self._waiting):
                if query.job.identity not in self._running:
                    del self._waiting[place]
                    self._running.add(query.job.identity)
                    return query
            self._changed.clear()
            await self._changed.wait()

    def leave(self, query: Query) -> None:
        """Forget a query whose caller went away before it ran; one that runs is not here."""
        if query in self._waiting:
            self._waiting.remove(query)
            self._forget(query.job.identity)

    def done(self, query: Query) -> None:
        """Note that a query that was taken has ended."""
        self._running.discard(query.job.identity)
        self._forget(query.job.identity)
        self._changed.set()

    def _forget(self, caller: str) -> None:
        self._count[caller] -= 1
        if not self._count[caller]:
            del self._count[caller]
