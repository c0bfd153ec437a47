"""ROUTE-REFRESH of a peer (RFC 2918): each makes the node tell a whole table again.

A peer that asks faster than it reads would fill our memory. So the node is asked for a family once
a second at most, and not before the peer has taken what waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

EVERY_SECONDS = 1.0


class Refreshes:
    """What peers have asked for and the node has not been told yet; by the neighbour's name."""

    def __init__(self) -> None:
        self._asked: dict[str, dict[tuple[int, int], None]] = {}
        self._next: dict[str, float] = {}

    def ask(self, neighbor: Any, family: tuple[int, int]) -> None:
        """A peer wants a family again; asking twice is asking once."""
        self._asked.setdefault(neighbor.name(), {})[family] = None

    def forget(self, neighbor: Any) -> None:
        """The session is over, and with it what was asked for."""
        self._asked.pop(neighbor.name(), None)

    def due(self, neighbor: Any, now: float) -> Iterator[tuple[int, int]]:
        """The families that the node should now be told of; ``now`` in seconds."""
        if not self._asked:
            return
        name = neighbor.name()
        if name not in self._asked or now < self._next.get(name, 0.0):
            return
        if neighbor.rib.outgoing.pending():
            return
        self._next[name] = now + EVERY_SECONDS
        yield from self._asked.pop(name)
