"""ROUTE-REFRESH of a peer (RFC 2918): each makes the node advertise a whole table again.

A peer that asks faster than it reads would fill our memory. So the node is asked for a family once
a second at most, and not before the peer has taken what waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import Notify, RouteRefresh

EVERY_SECONDS = 1.0
SIZE = 4


class Refreshes:
    """What peers have asked for and was not reported yet, by the neighbour's name."""

    def __init__(self) -> None:
        self._asked: dict[str, dict[tuple[int, int], None]] = {}
        self._next: dict[str, float] = {}

    def ask(self, neighbor: Any, family: tuple[int, int]) -> None:
        """Note that a peer wants a family again; asking twice is asking once."""
        self._asked.setdefault(neighbor.name(), {})[family] = None

    def forget(self, neighbor: Any) -> None:
        """Drop what was asked for in a session that is over."""
        self._asked.pop(neighbor.name(), None)

    def due(self, neighbor: Any, now: float) -> Iterator[tuple[int, int]]:
        """Yield the families to report now; ``now`` in seconds."""
        if not self._asked:
            return
        name = neighbor.name()
        if name not in self._asked or now < self._next.get(name, 0.0):
            return
        if neighbor.rib.outgoing.pending():
            return
        self._next[name] = now + EVERY_SECONDS
        yield from self._asked.pop(name)


def decode(data: bytes, direction: Any, negotiated: Any) -> Any:
    """Return the ROUTE-REFRESH of this body; stands in for ``RouteRefresh.unpack_message``.

    What is not a plain request is passed on as the end of one, which asks for nothing: subtypes
    that are not known are ignored (RFC 7313 section 5), where ExaBGP ends the session.
    """
    del direction, negotiated
    if len(data) != SIZE:
        raise Notify(7, 1, "invalid route-refresh message")
    asks = data[2] == RouteRefresh.request
    subtype = RouteRefresh.request if asks else RouteRefresh.end
    return RouteRefresh(int.from_bytes(data[:2]), data[3], subtype)


def install() -> None:
    """Put ``decode`` in the place of ExaBGP's."""
    surface.replace(RouteRefresh, "unpack_message", staticmethod(decode))
