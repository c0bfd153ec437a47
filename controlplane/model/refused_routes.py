"""The routes of one neighbour that were refused last, by name: bounded in number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import msgspec

from controlplane.model.attributes import Nlri
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import RouteDistinguisher

KEPT = 100
"""Routes that are kept for each neighbour, the last ones."""

Key: TypeAlias = tuple[Family, RouteDistinguisher | None, Prefix]


class RefusedRoute(msgspec.Struct, frozen=True):
    """A route that was refused for a ``reason``; ``since`` is in seconds of the monotonic clock."""

    family: Family
    nlri: Nlri
    reason: str
    since: float


class RefusedRoutes:
    """At most ``KEPT`` of them; a route that was taken since is none any more."""

    def __init__(self) -> None:
        self.kept: dict[Key, RefusedRoute] = {}
        """By key; empty for nearly every neighbour."""

    def note(self, family: Family, nlri: Sequence[Nlri], reason: str, now: float) -> None:
        """Keep these as the last ones."""
        for each in islice(nlri, max(0, len(nlri) - KEPT), None):
            key = (family, each.rd, each.prefix)
            self.kept.pop(key, None)
            self.kept[key] = RefusedRoute(family, each, reason, now)
        for key in list(islice(self.kept, max(0, len(self.kept) - KEPT))):
            del self.kept[key]

    def forget(
        self, family: Family, rd: RouteDistinguisher | None, prefixes: Sequence[Prefix]
    ) -> None:
        """Forget routes that were taken or withdrawn; most neighbours have none ``kept``."""
        for prefix in prefixes:
            self.kept.pop((family, rd, prefix), None)

    def clear(self) -> None:
        """Forget all: the session is over."""
        self.kept.clear()

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[RefusedRoute]:
        """Yield them, the last one first."""
        return reversed(self.kept.values())
