"""Remote endpoints by the groups that they carry and the policy does not name.

Such an id is pending or means nothing, according to whether another revision names it. When that
changes, only the endpoints that carry it are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.attachment import EndpointKey
from controlplane.model.workload import Endpoint, RemotePrefix


class ForeignGroups:
    """``named`` are the ids of the policy's groups."""

    def __init__(self, named: Iterable[int]) -> None:
        self._named = frozenset(named)
        self._noted: dict[str, tuple[EndpointKey, frozenset[int]]] = {}
        self._carriers: dict[int, dict[EndpointKey, None]] = {}

    def note(self, claimant: Endpoint) -> None:
        """Note which foreign ids an endpoint carries."""
        if not isinstance(claimant, RemotePrefix) or not claimant.groups:
            return
        ids, place = claimant.groups - self._named, (claimant.vrf, claimant.prefix)
        if ids:
            self._noted[claimant.key] = (place, ids)
            for number in ids:
                self._carriers.setdefault(number, {})[place] = None

    def forget(self, key: str) -> None:
        """Forget an endpoint."""
        place, ids = self._noted.pop(key, (None, frozenset[int]()))
        for number in ids:
            carriers = self._carriers[number]
            if place is not None:
                del carriers[place]
            if not carriers:
                del self._carriers[number]

    def carriers(self, ids: Iterable[int]) -> list[EndpointKey]:
        """Return the endpoints that carry one of these."""
        found: dict[EndpointKey, None] = {}
        for number in ids:
            found.update(self._carriers.get(number, {}))
        return list(found)
