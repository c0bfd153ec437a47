"""The collector is out of the way while a node runs, and back afterwards."""

from __future__ import annotations

import asyncio
import gc

from pe.process import gc_tuning as collector


class Knot:
    def __init__(self) -> None:
        self.me = self


def test_old_objects_are_not_looked_at_by_the_way() -> None:
    before, full = gc.get_threshold(), list[str]()

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == 2:
            full.append(phase)

    async def made() -> int:
        with collector.freeze_heap():
            gc.callbacks.append(on_collection)
            kept = [[n] for n in range(500_000)]
            for _ in range(200_000):
                Knot()
            gc.callbacks.remove(on_collection)
            return len(kept)

    assert asyncio.run(made()) == 500_000
    assert full == []
    assert gc.get_threshold() == before


def test_knots_of_young_objects_go_all_the_same() -> None:
    async def left() -> int:
        with collector.freeze_heap():
            for _ in range(100_000):
                Knot()
            return sum(isinstance(thing, Knot) for thing in gc.get_objects(generation=0))

    assert asyncio.run(left()) <= collector.YOUNG
