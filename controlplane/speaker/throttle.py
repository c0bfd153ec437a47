"""A bound on how often something is said."""

from __future__ import annotations

from collections.abc import Callable


class Throttle:
    """Lets ``most`` through in each span of ``seconds``, and counts the rest."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._since = clock()
        self._let = 0
        self.withheld = 0

    def lets(self) -> bool:
        """True if this one may be said."""
        now = self._clock()
        if now - self._since >= self._seconds:
            self._since, self._let = now, 0
        self._let += 1
        if self._let <= self._most:
            return True
        self.withheld += 1
        return False
