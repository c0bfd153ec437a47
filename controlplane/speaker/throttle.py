"""A bound on how often something is said, for each of those who have it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LOG_LINES, LOG_SECONDS = 100, 10.0
"""So many lines of one kind about one peer are told, and logged, in such a span."""

MOST_NAMES = 10_000
"""Beyond so many, what is known of all of them is forgotten: names may come from outside."""


@dataclass(slots=True)
class _Span:
    since: float
    let: int = 0
    missed: int = 0


class Throttle:
    """Lets ``most`` through in each span of ``seconds`` for each name, and counts the rest."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._spans: dict[str, _Span] = {}
        self.withheld = 0

    def lets(self, name: str = "") -> bool:
        """True if this one may be said."""
        now, span = self._clock(), self._spans.get(name)
        if span is None:
            if len(self._spans) >= MOST_NAMES:
                self._spans.clear()
            span = self._spans[name] = _Span(now)
        if now - span.since >= self._seconds:
            span.since, span.let = now, 0
        if span.let < self._most:
            span.let += 1
            return True
        span.missed += 1
        self.withheld += 1
        return False

    def missed(self, name: str = "") -> int:
        """How many of that name were withheld since this was asked the last time."""
        span = self._spans.get(name)
        if span is None:
            return 0
        found, span.missed = span.missed, 0
        return found
