"""The check for drift that no event reports, spread over its period.

Each device is compared once per period, a few at a time: the whole check at once blocked the loop
for a good part of a second at 1,000 ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil

AT_ONCE = 16
"""Devices per portion, as long as the portions fit into the period: some 300 settings, 2 ms."""
BETWEEN_SECONDS = 0.06
"""The least time between two portions."""
WHOLE_EVERY = 10
"""In each so many-th period links, addresses, tables and labels are read as well: events report
their changes, so this is a safety net."""


class DriftCheck:
    """Hands out devices at the right times; the caller compares them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._left: Iterator[str] = iter(())
        self._interval = seconds
        self._at_once = AT_ONCE
        self._periods = 0
        self._next_period = 0.0
        self.due = 0.0
        """When the next portion is to be taken."""

    @property
    def is_whole(self) -> bool:
        """True in periods that read what events report, too."""
        return self._periods % WHOLE_EVERY == 0

    def begins(self, now: float) -> bool:
        """True if a new period begins now."""
        return now >= self._next_period

    def begin(self, devices: Iterable[str], now: float) -> None:
        """Begin a period with these devices."""
        names = list(devices)
        self._left = iter(names)
        self._periods += 1
        self._next_period = now + self._seconds
        self._at_once = max(AT_ONCE, ceil(len(names) * BETWEEN_SECONDS / self._seconds))
        self._interval = self._seconds / (len(names) // self._at_once + 1)
        self.due = now

    def take(self, now: float) -> list[str]:
        """The next few devices; none if it is too early or the period's are done."""
        if now < self.due:
            return []
        portion = list(islice(self._left, self._at_once))
        self.due = now + self._interval if portion else self._next_period
        return portion
