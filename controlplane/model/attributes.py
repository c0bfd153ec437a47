"""Path attributes (RFC 4271 section 5, RFC 1997, RFC 4360, RFC 8092), parsed once per UPDATE."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget, SiteOfOrigin

LargeCommunity: TypeAlias = tuple[int, int, int]
Community: TypeAlias = tuple[int, int]


class Origin(enum.IntEnum):
    """ORIGIN, in order of preference (RFC 4271 section 9.1.2.2 b)."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class AsSegment(msgspec.Struct, frozen=True):
    """One AS_PATH segment; ``kind`` is ``sequence``, ``set`` or ``confed-sequence`` (RFC 5065)."""

    kind: str
    asns: tuple[int, ...]


class Attributes(msgspec.Struct, frozen=True, cache_hash=True):
    """All that a path carries except its prefix, next hop and label.

    ``local_pref`` and ``med`` are None where absent. ``extended`` holds, as text, the extended
    communities that are neither route targets nor sites of origin; ``unknown`` optional transitive
    attributes that are passed on unread, as (flags, code, value), by code.
    """

    origin: Origin = Origin.IGP
    as_path: tuple[AsSegment, ...] = ()
    med: int | None = None
    local_pref: int | None = None
    atomic_aggregate: bool = False
    aggregator: str | None = None
    communities: tuple[Community, ...] = ()
    route_targets: frozenset[RouteTarget] = frozenset()
    sites_of_origin: frozenset[SiteOfOrigin] = frozenset()
    extended: tuple[str, ...] = ()
    large_communities: tuple[LargeCommunity, ...] = ()
    originator_id: str | None = None
    cluster_list: tuple[str, ...] = ()
    unknown: tuple[tuple[int, int, bytes], ...] = ()

    @property
    def as_path_length(self) -> int:
        """AS_PATH length for the tie-break: a set counts as one (RFC 4271 section 9.1.2.2 a), the
        members of a confederation not at all (RFC 5065 section 5.3)."""
        weights = {"set": 1, "confed-sequence": 0}
        return sum(weights.get(s.kind, len(s.asns)) for s in self.as_path)

    @property
    def asns(self) -> tuple[int, ...]:
        """Every ASN on the path, sets included."""
        return tuple(asn for segment in self.as_path for asn in segment.asns)

    @property
    def neighbor_as(self) -> int | None:
        """The AS that the path came from, for comparing MEDs; None for a local path.

        Members of a confederation are no neighbours (RFC 5065 section 5.3).
        """
        first = next((s for s in self.as_path if s.kind != "confed-sequence"), None)
        return first.asns[0] if first and first.kind == "sequence" and first.asns else None


class Nlri(msgspec.Struct, frozen=True, gc=False):
    """One piece of reachability: ``rd`` and ``labels`` are set in the VPN families only."""

    prefix: Prefix
    rd: RouteDistinguisher | None = None
    labels: tuple[int, ...] = ()
