"""Queue events between the adapters and the router: bounded batches, fair between VRFs.

The events of one source keep their order. Between sources a deficit round robin shares each batch,
so a VRF that floods delays its own routes only (security requirement BGP-5).
"""

from __future__ import annotations

import asyncio
from collections import deque

from controlplane.model.events import (
    EndOfRib,
    Event,
    PortChanged,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
)

BY_SPEAKER = (
    RoutesReceived, RoutesWithdrawn, SessionUp, SessionDown, EndOfRib, RefreshRequested,
)  # fmt: skip
ROUTES = (RoutesReceived, RoutesWithdrawn)
"""Tuples: asked of each event, and ``isinstance`` takes three times as long with a union."""

BATCH = 1000
"""Routes (or other events) of all sources together in one batch: it bounds the time between two
looks at timers, signals and the API, however many VRFs send at once."""

QUANTUM = 100
"""Routes of one source before the next source's turn (deficit round robin)."""

FULL = 5000
"""High-water mark: above this many queued routes a source is not read."""

PORT = 10
"""Routes that are decided anew for a port, about."""

NODE = "node"
"""The source of all other events: intent, kernel, clock, API."""


class EventQueue:
    """Hold a queue per VRF's speaker, one for the core's ("") and one for the node's own events."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Event]] = {}
        self._weights: dict[str, int] = {}
        self._order: deque[str] = deque()
        self._credit: dict[str, int] = {}
        self._filled = asyncio.Event()

    def put(self, events: list[Event]) -> None:
        """Add events; call it from the loop's own thread only."""
        for event in events:
            source = source_of(event)
            if source not in self._waiting:
                self._waiting[source], self._weights[source] = deque(), 0
                if source != NODE:
                    self._order.append(source)
                    self._credit[source] = 0
            self._waiting[source].append(event)
            self._weights[source] += weight(event)
        if events:
            self._filled.set()

    def is_full(self, vrf: str) -> bool:
        """Return True while more than ``FULL`` routes of a VRF are queued."""
        return self._weights.get(vrf, 0) > FULL

    async def take(self, patience: float | None) -> list[Event]:
        """Return the next batch, empty if ``patience`` seconds pass first."""
        if not self._waiting:
            try:
                async with asyncio.timeout(patience):
                    await self._filled.wait()
            except TimeoutError:
                return []
        taken: list[Event] = []
        # The node's own events first, but never the whole batch: a flood of main-table routes
        # must not keep the VRFs' routes waiting.
        total = self._take_from(NODE, BATCH // 2, taken) if NODE in self._waiting else 0
        while self._order and total < BATCH:
            total += self._serve_next(taken)
        if not self._waiting:
            self._filled.clear()
        return taken

    def _serve_next(self, taken: list[Event]) -> int:
        source = self._order.popleft()
        credit = self._credit[source] + QUANTUM
        spent = self._take_from(source, credit, taken)
        if source in self._waiting:
            self._order.append(source)
            self._credit[source] = credit - spent
        else:
            del self._credit[source]
        return spent

    def _take_from(self, source: str, credit: int, taken: list[Event]) -> int:
        """Take events that ``credit`` covers; return what they weigh."""
        queue, spent = self._waiting[source], 0
        while queue and spent + (heavy := weight(queue[0])) <= credit:
            taken.append(queue.popleft())
            spent += heavy
        self._weights[source] -= spent
        if not queue:
            del self._waiting[source], self._weights[source]
        return spent

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))


def source_of(event: Event) -> str:
    """Return the VRF whose speaker sent the event, "" for the core's, ``NODE`` for the rest."""
    if isinstance(event, BY_SPEAKER):
        return event.peer.vrf
    return event.vrf if isinstance(event, SpeakerLost) else NODE


def weight(event: Event) -> int:
    """Return the approximate work of an event, in routes."""
    if isinstance(event, ROUTES):
        return max(1, len(event.nlri))
    # All routes over a port are decided anew; a start reports a thousand ports at once.
    return PORT if isinstance(event, PortChanged) else 1
