"""The routes received from one peer, and which are stale (RFC 4271 section 3.2, RFC 4724)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import TypeAlias

from controlplane.bgp.path import Path
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget

Rd: TypeAlias = RouteDistinguisher | None
Held: TypeAlias = tuple[Rd, Prefix, Path]
Targets: TypeAlias = frozenset[RouteTarget]

MOST_TARGETS = 64
"""Sets of targets remembered for an RD; with more of them, any might be among them."""


class AdjRibIn:
    """Family -> RD -> prefix -> path, for one peer. RD is None in the unicast families."""

    def __init__(self) -> None:
        self._routes: dict[Family, dict[Rd, dict[Prefix, Path]]] = {}
        self._stale: dict[Family, dict[Rd, dict[Prefix, None]]] = {}
        self._counts: dict[Family, int] = {}
        self._targets: dict[Family, dict[Rd, set[Targets]]] = {}
        """What the routes of each RD have, or had, as targets: never less than they have now."""

    def put(
        self, family: Family, rd: Rd, prefixes: list[Prefix], path: Path
    ) -> tuple[list[Prefix], list[tuple[Prefix, Path]]]:
        """Store a path for prefixes; gives those for which it is news, and what it replaced.

        A path equal to the known one does not replace it, so references to the old one stay
        valid. A stale route that is announced again is fresh.
        """
        routes = self._routes.setdefault(family, {}).setdefault(rd, {})
        targets = self._targets.setdefault(family, {}).setdefault(rd, set())
        if len(targets) < MOST_TARGETS:
            targets.add(path.attributes.route_targets)
        before = len(routes)
        news, replaced = prefixes, []
        for prefix in prefixes:
            old = routes.setdefault(prefix, path)
            if old is not path:
                replaced.append((prefix, old))
        if replaced:
            same = {p for p, old in replaced if path.says_the_same_as(old)}
            replaced = [(p, old) for p, old in replaced if p not in same]
            routes.update((p, path) for p, _ in replaced)
            news = [p for p in prefixes if p not in same] if same else prefixes
        self._counts[family] = self._counts.get(family, 0) + len(routes) - before
        if family in self._stale:
            self._freshen(family, rd, prefixes)
        return news, replaced

    def drop(self, family: Family, rd: Rd, prefix: Prefix) -> Path | None:
        """Forget a route; gives its path, None if there was none."""
        rds = self._routes.get(family, {})
        routes = rds.get(rd)
        path = routes.pop(prefix, None) if routes else None
        if path is None:
            return None
        self._counts[family] -= 1
        if not routes:
            del rds[rd], self._targets[family][rd]
        if family in self._stale:
            self._freshen(family, rd, (prefix,))
        return path

    def count(self, family: Family) -> int:
        """Return how many routes of a family are held."""
        return self._counts.get(family, 0)

    def routes(self, family: Family) -> Iterator[Held]:
        """Yield every route of a family; do not change the RIB meanwhile."""
        for rd, routes in self._routes.get(family, {}).items():
            for prefix, path in routes.items():
                yield rd, prefix, path

    def routes_with(self, family: Family, wanted: Callable[[Targets], bool]) -> Iterator[Held]:
        """Yield every route whose targets are wanted, and others of the same RDs; no route of
        another RD is looked at. Do not change the RIB meanwhile."""
        for rd, targets in self._targets.get(family, {}).items():
            if len(targets) >= MOST_TARGETS or any(map(wanted, targets)):
                for prefix, path in self._routes[family][rd].items():
                    yield rd, prefix, path

    def drop_unless(
        self, family: Family, touched: Set[RouteTarget], stays: Callable[[Targets], bool]
    ) -> None:
        """Forget the routes whose targets do not stay, in each RD that has one of those touched.
        The routes of an RD go at once where none of its targets stay, and not one by one."""
        for rd, found in list(self._targets.get(family, {}).items()):
            many = len(found) >= MOST_TARGETS
            if not many and all(map(touched.isdisjoint, found)):
                continue
            routes = self._routes[family][rd]
            if many or any(map(stays, found)):
                gone = [p for p, path in routes.items() if not stays(path.attributes.route_targets)]
                for prefix in gone:
                    self.drop(family, rd, prefix)
                continue
            self._counts[family] -= len(routes)
            del self._routes[family][rd], self._targets[family][rd]
            self._stale.get(family, {}).pop(rd, None)

    @property
    def families(self) -> list[Family]:
        """The families of which anything is held."""
        return [family for family, count in self._counts.items() if count]

    def mark_stale(self, family: Family) -> None:
        """Mark routes stale until announced again or until End-of-RIB (RFC 4724 section 4.2)."""
        held = self._routes.get(family, {})
        self._stale[family] = {rd: dict.fromkeys(prefixes) for rd, prefixes in held.items()}

    def take_stale(self, family: Family) -> list[Held]:
        """Remove what is still stale and give it."""
        stale = self._stale.pop(family, {})
        return [
            (rd, prefix, path)
            for rd, prefixes in stale.items()
            for prefix in prefixes
            if (path := self.drop(family, rd, prefix)) is not None
        ]

    def take_all(self, family: Family) -> list[Held]:
        """Remove everything of a family and give it."""
        taken = list(self.routes(family))
        self._routes.pop(family, None)
        self._stale.pop(family, None)
        self._targets.pop(family, None)
        self._counts.pop(family, None)
        return taken

    def is_stale(self, family: Family, rd: Rd, prefix: Prefix) -> bool:
        """Return whether a route was not announced again yet, and End-of-RIB has not come."""
        return prefix in self._stale.get(family, {}).get(rd, {})

    def stale_count(self, family: Family) -> int:
        """Return how many routes of a family are stale."""
        return sum(len(prefixes) for prefixes in self._stale.get(family, {}).values())

    @property
    def has_stale(self) -> bool:
        """Return True while routes are stale."""
        return any(self.stale_count(family) for family in self._stale)

    def _freshen(self, family: Family, rd: Rd, prefixes: Iterable[Prefix]) -> None:
        stale = self._stale[family].get(rd, {})
        for prefix in prefixes if stale else ():
            stale.pop(prefix, None)
