"""A cache that is bounded by the octets of what it keeps, not by their number."""

from __future__ import annotations

from typing import Generic, TypeVar

CACHE_OCTETS = 1 << 18
"""Of attributes as they are sent. A thousand ordinary sets fit, or sixty of the longest; as objects
they take some thirty times as much."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class OctetCache(Generic[Key, Value]):
    """Keeps values by key; begins anew when they are more than ``limit`` octets."""

    def __init__(self, limit: int = CACHE_OCTETS) -> None:
        self._limit, self.octets = limit, 0
        self._kept: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Return what is kept under a key, None if nothing is."""
        return self._kept.get(key)

    def put(self, key: Key, value: Value, octets: int) -> Value:
        """Keep a value of so many octets, and return it."""
        if octets > self._limit:
            return value
        if self.octets + octets > self._limit:
            self._kept.clear()
            self.octets = 0
        self._kept[key] = value
        self.octets += octets
        return value
