"""The time, passed in: the core never asks a clock."""

from __future__ import annotations

import msgspec


class BootTime(msgspec.Struct, frozen=True):
    """A moment on the boot clock (CLOCK_BOOTTIME), for durations that outlive the process.

    No step of the wall clock moves it. ``boot`` is the kernel's boot id (``""``: not known, as in
    a store that an older version wrote), ``seconds`` the time since that boot, suspension included.
    """

    boot: str
    seconds: float

    def elapsed(self, now: BootTime) -> float:
        """Return how many seconds have passed for certain.

        A moment of a former boot precedes the present one, so at least the uptime has passed.
        """
        if not self._is_comparable(now):
            return 0.0
        return now.seconds - self.seconds if self.boot == now.boot else now.seconds

    def anchored(self, now: BootTime) -> BootTime:
        """Return the moment to measure from: this one, or ``now`` if the two cannot be compared.

        Without that a moment of unknown age would never come to an end.
        """
        return self if self._is_comparable(now) else now

    def _is_comparable(self, now: BootTime) -> bool:
        if self.boot == now.boot:
            return self.seconds <= now.seconds  # a time namespace may set the boot clock back
        return bool(self.boot)


class Instant(msgspec.Struct, frozen=True):
    """One moment on three clocks, in seconds.

    ``monotonic`` is for intervals within the process, ``boot`` for those that outlive it, and
    ``wall`` (Unix time) for people only: an operator or NTP may step it at any moment.
    """

    monotonic: float
    wall: float
    boot: BootTime
