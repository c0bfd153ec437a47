"""No collection looks at the whole heap while a node runs; garbage in cycles goes all the same."""

from __future__ import annotations

import gc
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pe.process.gc_tuning import MIDDLE, OLD, YOUNG, freeze_heap

MOST = 2 * YOUNG * (MIDDLE + 1) * (OLD + 1)
"""Objects that one collection may look at."""


class Knot:
    def __init__(self) -> None:
        self.me = self


@contextmanager
def looked_at() -> Iterator[list[int]]:
    """How many objects each collection looks at."""
    found: list[int] = []

    def on_collection(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            young = range(info["generation"] + 1)
            found.append(sum(len(gc.get_objects(generation=each)) for each in young))

    gc.callbacks.append(on_collection)
    yield found
    gc.callbacks.remove(on_collection)


def grow(objects: int = 500_000) -> list[list[int]]:
    return [[n] for n in range(objects)]


def most_looked_at(do: Callable[[], object]) -> int:
    with looked_at() as found:
        kept = do()
    del kept
    return max(found)


def test_no_collection_looks_at_more_than_what_came_since_the_last_ones() -> None:
    kept = grow()
    before = gc.get_threshold()
    with freeze_heap():
        assert most_looked_at(grow) <= MOST
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
    assert most_looked_at(grow) > MOST, "the control"
    del kept


def test_young_knots_go() -> None:
    with freeze_heap():
        for _ in range(100_000):
            Knot()
        left = sum(isinstance(thing, Knot) for thing in gc.get_objects())
    assert left <= YOUNG


def test_a_knot_that_outlived_the_collections_of_the_young_goes() -> None:
    with freeze_heap():
        knot = Knot()
        gone = weakref.ref(knot)
        gc.collect(0)
        gc.collect(1)
        del knot
        assert gone() is not None, "the control: only references to itself are left"
        kept = grow(4 * MOST)
        assert gone() is None
    del kept


def test_frozen_knots_go_once_the_frozen_objects_have_doubled() -> None:
    with freeze_heap() as heap:
        knot = Knot()
        gone = weakref.ref(knot)
        gc.collect()
        del knot
        heap.look()  # counts
        heap.look()
        assert gone() is not None
        kept = grow(gc.get_freeze_count() + 4 * MOST)
        gc.collect()
        assert gone() is not None, "the control: it is frozen"
        heap.look()
        assert gone() is None
        assert gc.get_freeze_count() > len(kept), "what lives is frozen again"
        assert most_looked_at(lambda: grow(2 * MOST)) <= MOST


def test_objects_that_take_the_place_of_others_are_looked_at_in_time() -> None:
    """As in a full flow book: as many go as come, and Python counts none of them."""
    with freeze_heap() as heap:
        kept = deque(grow(MOST), maxlen=MOST)
        gc.collect()

        def turn_over(*, ticks: bool) -> None:
            for n in range(2 * MOST):
                kept.append([n])
                if ticks and n % YOUNG == 0:
                    heap.tick()
            gc.collect()

        assert most_looked_at(lambda: turn_over(ticks=True)) <= MOST
        assert most_looked_at(lambda: turn_over(ticks=False)) > MOST, "the control"


def test_the_longest_pause_is_kept() -> None:
    with freeze_heap() as heap:
        kept = grow()
        assert heap.longest_pause > 0
        longest = heap.longest_pause
        gc.unfreeze()
        gc.collect()
        assert heap.longest_pause > longest
    del kept
