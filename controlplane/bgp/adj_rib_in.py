"""What one peer has told us and what of it is stale (RFC 4271 section 3.2, RFC 4724)."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.bgp.path import Path
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import RouteDistinguisher

Routes = dict[RouteDistinguisher | None, dict[Prefix, Path]]


class AdjRibIn:
    """Family -> RD -> prefix -> path, for one peer. RD is None in the unicast families."""

    def __init__(self) -> None:
        self._routes: dict[Family, Routes] = {}
        self._stale: dict[Family, dict[RouteDistinguisher | None, set[Prefix]]] = {}

    def put(
        self, family: Family, rd: RouteDistinguisher | None, prefix: Prefix, path: Path
    ) -> Path | None:
        """Store a path; gives the one that it replaces. A stale route that is put is fresh."""
        routes = self._routes.setdefault(family, {}).setdefault(rd, {})
        old = routes.get(prefix)
        routes[prefix] = path
        if self._stale:
            self._freshen(family, rd, prefix)
        return old

    def drop(self, family: Family, rd: RouteDistinguisher | None, prefix: Prefix) -> Path | None:
        """Forget a route; gives its path, None if there was none."""
        routes = self._routes.get(family, {}).get(rd)
        if self._stale:
            self._freshen(family, rd, prefix)
        return routes.pop(prefix, None) if routes else None

    def count(self, family: Family) -> int:
        """How many routes of a family are held."""
        return sum(len(routes) for routes in self._routes.get(family, {}).values())

    def routes(self, family: Family) -> Iterator[tuple[RouteDistinguisher | None, Prefix, Path]]:
        """Every route of a family; do not change the RIB meanwhile."""
        for rd, routes in self._routes.get(family, {}).items():
            for prefix, path in routes.items():
                yield rd, prefix, path

    @property
    def families(self) -> list[Family]:
        """The families of which anything is held."""
        return [family for family, rds in self._routes.items() if any(rds.values())]

    def mark_stale(self, family: Family) -> None:
        """Hold what is there until it is told again or End-of-RIB comes (RFC 4724 section 4.2)."""
        self._stale[family] = {
            rd: set(routes) for rd, routes in self._routes.get(family, {}).items() if routes
        }

    def take_stale(self, family: Family) -> list[tuple[RouteDistinguisher | None, Prefix, Path]]:
        """Remove what is still stale and give it."""
        stale = self._stale.pop(family, {})
        return [
            (rd, prefix, path)
            for rd, prefixes in stale.items()
            for prefix in prefixes
            if (path := self._routes[family][rd].pop(prefix, None)) is not None
        ]

    def take_all(self, family: Family) -> list[tuple[RouteDistinguisher | None, Prefix, Path]]:
        """Remove everything of a family and give it."""
        taken = list(self.routes(family))
        self._routes.pop(family, None)
        self._stale.pop(family, None)
        return taken

    def stale_count(self, family: Family) -> int:
        """How many routes of a family are stale."""
        return sum(len(prefixes) for prefixes in self._stale.get(family, {}).values())

    def _freshen(self, family: Family, rd: RouteDistinguisher | None, prefix: Prefix) -> None:
        stale = self._stale.get(family, {}).get(rd)
        if stale:
            stale.discard(prefix)
