"""Holds the kernel routes of remote endpoints back until the kernel knows their identities.

A route that came first would let packets through under the identity that the address had before.
Only the prefixes of those endpoints wait; every other route of the turn goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.model.attachment import EndpointKey
from controlplane.model.desired import Delta, NextHopKey
from controlplane.model.prefix import Prefix


class HeldRoutes:
    """Routes by table and prefix, each with the number of the policy maps that it waits for."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, Prefix], tuple[NextHopKey, int]] = {}
        # While a route is held, the one that it replaces needs its next hop.
        self._unused: set[NextHopKey] = set()

    def __len__(self) -> int:
        return len(self._held)

    def settle(
        self, delta: Delta, claimed: Iterable[EndpointKey], tables: Mapping[str, int],
        number: int, released: int,
    ) -> None:  # fmt: skip
        """Take routes that have to wait out of a change, and put those in that need not.

        ``claimed`` are the endpoints whose identity is new under ``number``; up to ``released``
        the kernel knows all. ``tables``: the kernel table of each VRF.
        """
        claimed = list(claimed)
        if not claimed and not self._held:
            return
        self._supersede(delta, set(tables.values()))
        for vrf, prefix in claimed:
            routes = delta.routes.get(tables.get(vrf, 0), {})
            hop = routes.get(prefix)
            if hop is not None:
                self._held[tables[vrf], prefix] = (hop, number)
                del routes[prefix]
        for key in [k for k, (_, needs) in self._held.items() if needs <= released]:
            table, prefix = key
            delta.routes.setdefault(table, {})[prefix] = self._held.pop(key)[0]
        self._keep_next_hops(delta)
        for table in [t for t, routes in delta.routes.items() if not routes]:
            del delta.routes[table]

    def _supersede(self, delta: Delta, tables: set[int]) -> None:
        """Replace a held route by a later change of it; a withdrawal is not held."""
        for table, prefix in list(self._held):
            routes = delta.routes.get(table, {})
            if table not in tables:
                del self._held[table, prefix]
            elif prefix in routes:
                hop = routes[prefix]
                if hop is None:
                    del self._held[table, prefix]
                else:
                    self._held[table, prefix] = (hop, self._held[table, prefix][1])
                    del routes[prefix]

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
