"""The time, passed in: the core never asks a clock."""

from __future__ import annotations

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """``monotonic`` for intervals, ``wall`` (Unix time) for what must outlive a reboot; seconds."""

    monotonic: float
    wall: float
