"""Measure how long the event loop makes an event wait.

Every iteration of the loop is timed, from the selector's answer to the next question: for so long
nothing that became ready was looked at. The shortest stall is seen; an idle node pays nothing.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from bisect import bisect_left

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds; 0.05 is the budget."""


class LagHistogram:
    """Count iterations by duration; the last bucket has no bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        """Seconds of all iterations."""

    def observe(self, seconds: float) -> None:
        """Count one iteration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class TimedSelector(selectors.DefaultSelector):
    """Measure how long the loop stays away from its selector."""

    def __init__(self, lag: LagHistogram) -> None:
        super().__init__()
        self._lag = lag
        self._answered = time.perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as ever."""
        self._lag.observe(time.perf_counter() - self._answered)
        found = super().select(timeout)
        self._answered = time.perf_counter()
        return found


def timed_loop(lag: LagHistogram) -> asyncio.AbstractEventLoop:
    """Make a loop whose iterations are counted in ``lag``."""
    return asyncio.SelectorEventLoop(TimedSelector(lag))
