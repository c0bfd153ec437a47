"""Holds the kernel routes of remote endpoints back until the kernel knows their identities.

A route that came first would let packets through under the identity that the address had before.
Only the prefixes of those endpoints wait; every other route of the turn goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from controlplane.model.attachment import EndpointKey
from controlplane.model.desired import Delta, NextHopKey
from controlplane.model.prefix import Prefix


class HeldRoute(NamedTuple):
    """A prefix in the kernel table that its VRF had when the route was held."""

    vrf: str
    table: int
    prefix: Prefix


class HeldRoutes:
    """Routes, each with the number of the policy maps that it waits for."""

    def __init__(self) -> None:
        self._held: dict[HeldRoute, tuple[NextHopKey, int]] = {}
        # While a route is held, the one that it replaces needs its next hop.
        self._unused: set[NextHopKey] = set()

    def __len__(self) -> int:
        return len(self._held)

    def settle(
        self, delta: Delta, claimed: Iterable[EndpointKey], table_of: Callable[[str], int],
        number: int, released: int,
    ) -> None:  # fmt: skip
        """Take routes that have to wait out of a change, and put those in that need not.

        ``claimed`` are the endpoints whose identity is new under ``number``; up to ``released``
        the kernel knows all. ``table_of`` gives the kernel table of a VRF, 0 where there is none.
        """
        claimed = list(claimed)
        if not claimed and not self._held:
            return
        self._supersede(delta, table_of)
        for vrf, prefix in claimed:
            table = table_of(vrf)
            routes = delta.routes.get(table, {})
            hop = routes.get(prefix)
            if hop is not None:
                self._held[HeldRoute(vrf, table, prefix)] = (hop, number)
                del routes[prefix]
        for held in [k for k, (_, needs) in self._held.items() if needs <= released]:
            delta.routes.setdefault(held.table, {})[held.prefix] = self._held.pop(held)[0]
        self._keep_next_hops(delta)
        for table in [t for t, routes in delta.routes.items() if not routes]:
            del delta.routes[table]

    def _supersede(self, delta: Delta, table_of: Callable[[str], int]) -> None:
        """Replace a held route by a later change of it; a withdrawal is not held."""
        for held, (_, number) in list(self._held.items()):
            routes = delta.routes.get(held.table, {})
            if table_of(held.vrf) != held.table:
                del self._held[held]
            elif held.prefix in routes:
                hop = routes[held.prefix]
                if hop is None:
                    del self._held[held]
                else:
                    self._held[held] = (hop, number)
                    del routes[held.prefix]

    def _keep_next_hops(self, delta: Delta) -> None:
        self._unused.difference_update(delta.next_hops)
        if self._held:
            gone = [key for key, hop in delta.next_hops.items() if hop is None]
            self._unused.update(gone)
            for key in gone:
                del delta.next_hops[key]
        else:
            delta.next_hops.update(dict.fromkeys(self._unused))
            self._unused.clear()
