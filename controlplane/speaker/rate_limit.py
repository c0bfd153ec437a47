"""A bound on how often something happens, for each of several names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LOG_BURST, LOGS_PER_SECOND = 100, 10.0
"""Lines of one kind about one peer: so many at once, and so many a second after that."""

MOST_NAMES = 10_000
"""Beyond so many, what is known of all of them is forgotten: names may come from outside."""


@dataclass(slots=True)
class _Bucket:
    left: float
    since: float
    missed: int = 0


class EventLimit:
    """Admits a burst of ``most`` for each name, then ``rate`` a second; counts what it refuses."""

    def __init__(self, most: int, rate: float, clock: Callable[[], float]) -> None:
        self._most, self._rate, self._clock = float(most), rate, clock
        self._buckets: dict[str, _Bucket] = {}
        self.withheld = 0

    def admits(self, name: str = "") -> bool:
        """Return True if one more is within the bound, and count it."""
        now, bucket = self._clock(), self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= MOST_NAMES:
                self._buckets.clear()
            bucket = self._buckets[name] = _Bucket(self._most, now)
        bucket.left = min(self._most, bucket.left + (now - bucket.since) * self._rate)
        bucket.since = now
        if bucket.left >= 1.0:
            bucket.left -= 1.0
            return True
        bucket.missed += 1
        self.withheld += 1
        return False

    def missed(self, name: str = "") -> int:
        """Return how many of that name were refused since this was asked the last time."""
        bucket = self._buckets.get(name)
        if bucket is None:
            return 0
        found, bucket.missed = bucket.missed, 0
        return found
