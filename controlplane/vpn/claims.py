"""Identity travels with the route: one large community ``ASN : function : group id`` per group.

RFC 8092; the use of the three fields is that of RFC 8195. Group 0 is no group: it marks the
route of a workload that is in none, so that it is not taken for something outside.

Where the PE has staged a revision under which the workload is in other groups, the route carries
those too, as ``ASN : function + 2^31 : group id``, and the revision, the first 32 bits of its
digest, as ``ASN : function + 2^30 : revision``.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bgp.decision import DEFAULT_LOCAL_PREF, local_pref
from controlplane.bgp.path import BestPathChange, Path
from controlplane.model.attributes import Attributes, LargeCommunity, Origin
from controlplane.model.prefix import Prefix
from controlplane.model.workload import RemoteEndpoint, StagedGroups

NO_GROUP = 0
STAGED, REVISION = 1 << 31, 1 << 30
"""Bits of the function: groups of the staged revision, and which revision that is."""
MOST_MOVES = 1 << 24
"""What a peer may claim to have moved; beyond it numbers would not fit a LOCAL_PREF for long."""


class Marking:
    """How group ids are written into routes and read from them: by one AS and function."""

    def __init__(self, asn: int, function: int) -> None:
        self._asn, self._function = asn, function

    def communities(
        self, groups: Iterable[int], staged: StagedGroups | None = None
    ) -> tuple[LargeCommunity, ...]:
        """Return what the routes of a workload in these groups carry."""
        found = self._numbers(0, sorted(groups) or [NO_GROUP])
        if staged is None:
            return found
        revision = self._numbers(REVISION, [staged.revision])
        return found + revision + self._numbers(STAGED, sorted(staged.groups) or [NO_GROUP])

    def _numbers(self, kind: int, numbers: Iterable[int]) -> tuple[LargeCommunity, ...]:
        return tuple((self._asn, self._function | kind, number) for number in numbers)

    def attributes(
        self, groups: Iterable[int], staged: StagedGroups | None, moves: int
    ) -> Attributes:
        """Return the attributes of a workload's routes. A later move is preferred over an earlier
        one."""
        return Attributes(
            origin=Origin.INCOMPLETE,
            local_pref=DEFAULT_LOCAL_PREF + moves,
            large_communities=self.communities(groups, staged),
        )

    def groups(self, attributes: Attributes) -> frozenset[int] | None:
        """Return the group ids that a route carries; None where it is no workload's."""
        found = self._carried(attributes, 0)
        return found - {NO_GROUP} if found else None

    def staged(self, attributes: Attributes) -> StagedGroups | None:
        """Return the group ids under the revision that the route's PE has staged; None where they
        are the same, or nothing that a PE would send."""
        revisions, found = self._carried(attributes, REVISION), self._carried(attributes, STAGED)
        if len(revisions) != 1 or not found:
            return None
        return StagedGroups(next(iter(revisions)), found - {NO_GROUP})

    def _carried(self, attributes: Attributes, kind: int) -> frozenset[int]:
        wanted = (self._asn, self._function | kind)
        return frozenset(c[2] for c in attributes.large_communities if c[:2] == wanted)

    def claim(self, path: Path | None) -> RemoteEndpoint | None:
        """Return what a path from elsewhere claims; None for one without groups and for our
        sites'."""
        if path is None or not path.attributes.large_communities or path.source.vrf:
            return None
        groups = self.groups(path.attributes)
        if groups is None:
            return None
        moves = min(max(0, local_pref(path) - DEFAULT_LOCAL_PREF), MOST_MOVES)
        node = str(path.hop.address) if path.source.peer and path.hop.address else ""
        return RemoteEndpoint(groups, node, moves, self.staged(path.attributes))

    def changed(self, changes: Iterable[BestPathChange]) -> dict[Prefix, RemoteEndpoint | None]:
        """Return prefixes whose claim is another one now."""
        found: dict[Prefix, RemoteEndpoint | None] = {}
        for prefix, old, new in changes:
            after = self.claim(new)
            if after != self.claim(old):
                found[prefix] = after
        return found
