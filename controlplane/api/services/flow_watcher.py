"""Flow records that wait for one caller who follows them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from controlplane.policy.insight.flowbook import Seen

WATCH_ROOM = 2_000
"""Flow records that wait for a slow watcher."""
MOST_AT_ONCE = 500


@dataclass(slots=True)
class FlowWatcher:
    """`skipped` counts the records that were dropped because the watcher was too slow."""

    vrfs: frozenset[str]
    """Records of other VRFs are not kept; an empty set stands for all."""
    skipped: int = 0
    _waiting: deque[Seen] = field(default_factory=deque)
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, seen: Seen) -> None:
        """Keep one more record."""
        if self.vrfs and seen.vrf not in self.vrfs:
            return
        if len(self._waiting) >= WATCH_ROOM:
            self._waiting.popleft()
            self.skipped += 1
        self._waiting.append(seen)
        self._filled.set()

    async def next(self) -> tuple[Seen, ...]:
        """Return the next records, in order; at least one."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        taken = tuple(islice(self._waiting, MOST_AT_ONCE))
        for _ in taken:
            self._waiting.popleft()
        return taken
