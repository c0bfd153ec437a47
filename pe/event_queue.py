"""Where every adapter puts its events: taken out in turns, with a share for each VPN.

What one customer says is taken in order; between customers it is not the one who says most that is
heard first (security requirement BGP-5: bounded harm to other VRFs).
"""

from __future__ import annotations

import asyncio
from collections import deque

from controlplane.model.events import (
    EndOfRib,
    Event,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
)

BySpeaker = SessionUp | SessionDown | RoutesReceived | RoutesWithdrawn | EndOfRib | RefreshRequested

SHARE = 1000
"""Routes (or other events) of each source in a turn: it bounds the time between two looks at
timers, signals, the API and the other sources."""

FULL = 5000
"""So much of a source waits that it should not be read from meanwhile."""

NODE = "node"
"""The source of what no speaker has said: intent, the kernel, the clock."""


class EventQueue:
    """A queue for each VRF's speaker, the core's ("") and the node's own events."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Event]] = {}
        self._weights: dict[str, int] = {}
        self._filled = asyncio.Event()

    def put(self, events: list[Event]) -> None:
        """Add events; called from the loop's own thread only."""
        for event in events:
            source = source_of(event)
            self._waiting.setdefault(source, deque()).append(event)
            self._weights[source] = self._weights.get(source, 0) + weight(event)
        if events:
            self._filled.set()

    def is_full(self, vrf: str) -> bool:
        """True while so much of a VRF's waits that nothing more of it should be read."""
        return self._weights.get(vrf, 0) > FULL

    async def take(self, patience: float | None) -> list[Event]:
        """The next turn's events, none if ``patience`` seconds pass first."""
        if not self._waiting:
            try:
                async with asyncio.timeout(patience):
                    await self._filled.wait()
            except TimeoutError:
                return []
        taken: list[Event] = []
        for source in sorted(self._waiting, key=lambda name: name != NODE):
            self._take_from(source, taken)
        if not self._waiting:
            self._filled.clear()
        return taken

    def _take_from(self, source: str, taken: list[Event]) -> None:
        queue, total = self._waiting[source], 0
        while queue and total < SHARE:
            event = queue.popleft()
            total += weight(event)
            taken.append(event)
        self._weights[source] -= total
        if not queue:
            del self._waiting[source], self._weights[source]

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))


def source_of(event: Event) -> str:
    """The VRF whose speaker says it, "" for the core's; ``NODE`` for what no speaker says."""
    if isinstance(event, SpeakerLost):
        return event.vrf
    if isinstance(event, BySpeaker):
        return event.peer.vrf
    return NODE


def weight(event: Event) -> int:
    """About how much work an event is, in routes."""
    if isinstance(event, RoutesReceived | RoutesWithdrawn):
        return max(1, len(event.nlri))
    return 1
