"""Bound what one garbage collection looks at, so that none delays the event loop.

What a node knows is large, lives long and has next to no cycles: a collection of all of it finds
nothing, for 120 to 250 ms with 200,000 flows and 1,000 ports. So each object is looked at by
collections of the young as ever, and by one of those that outlived them; what outlives that one
too is frozen, and no later collection looks at it. Reference counts free frozen objects as any.

What this costs: frozen objects that become garbage *in a cycle* stay. The leak is bounded: once as
many objects again are frozen as after the last whole collection, one more is made, with its pause.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG, MIDDLE, OLD = 5_000, 4, 1
"""More objects made than gone before the young are looked at; every fifth time those that outlived
that, and every second time of those all that is not frozen: some 75,000 objects, some 10 ms."""

TICK = 1.0
"""Seconds between two counts of the objects that are not frozen. Python itself counts what came
less what went: where old flows make room for new ones it would see nothing, up to 400,000 objects
at once."""
UNFROZEN_AT_MOST = 50_000

SECONDS = 1800.0
"""Between two counts of the frozen objects (a million: 25 ms)."""


class Heap:
    """The objects of this process that collections look at, and those that are frozen."""

    def __init__(self) -> None:
        self.longest_pause = 0.0
        """Seconds of the longest collection yet."""
        self._began = 0.0
        self._frozen_at_most = 0

    def on_collection(self, phase: str, info: dict[str, int]) -> None:
        """Time a collection, and freeze what outlived one of the old; for ``gc.callbacks``."""
        if phase == "start":
            self._began = time.perf_counter()
            return
        self.longest_pause = max(self.longest_pause, time.perf_counter() - self._began)
        if info["generation"] == 2:
            gc.freeze()

    def tick(self) -> None:
        """Collect what is not frozen if it is much."""
        if sum(len(gc.get_objects(generation=each)) for each in range(3)) > UNFROZEN_AT_MOST:
            gc.collect()

    def look(self) -> None:
        """Collect frozen objects too if they have doubled since the last time.

        The first look only counts: what comes within half an hour of the start is the node's
        initial state.
        """
        frozen = gc.get_freeze_count()
        if self._frozen_at_most and frozen > self._frozen_at_most:
            gc.unfreeze()
            _freeze()
            frozen = gc.get_freeze_count()
        elif self._frozen_at_most:
            return
        self._frozen_at_most = 2 * frozen

    async def follow(self) -> None:
        """Tick every second, and look every half hour."""
        while True:
            for _ in range(int(SECONDS / TICK)):
                await asyncio.sleep(TICK)
                self.tick()
            self.look()


def _freeze() -> None:
    gc.collect()
    gc.freeze()
    gc.collect()  # of next to nothing: Python waits until there is a quarter more than that


@contextmanager
def freeze_heap() -> Iterator[Heap]:
    """Freeze all objects that exist by now, and while the block runs those that live long."""
    _freeze()
    before, heap = gc.get_threshold(), Heap()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
    gc.callbacks.append(heap.on_collection)
    try:
        yield heap
    finally:
        gc.callbacks.remove(heap.on_collection)
        gc.set_threshold(*before)
        gc.unfreeze()
