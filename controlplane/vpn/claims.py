"""Identity travels with the route: one large community ``ASN : function : group id`` per group.

RFC 8092; the use of the three fields is that of RFC 8195. Group 0 is no group: it marks the
route of a workload that is in none, so that it is not taken for something outside.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bgp.decision import DEFAULT_LOCAL_PREF, local_pref
from controlplane.bgp.path import BestPathChange, Path
from controlplane.model.attributes import Attributes, LargeCommunity, Origin
from controlplane.model.prefix import Prefix
from controlplane.model.workload import RemoteEndpoint

NO_GROUP = 0
MOST_MOVES = 1 << 24
"""What a peer may claim to have moved; beyond it numbers would not fit a LOCAL_PREF for long."""


class Marking:
    """How group ids are written into routes and read from them: by one AS and function."""

    def __init__(self, asn: int, function: int) -> None:
        self._asn, self._function = asn, function

    def communities(self, groups: Iterable[int]) -> tuple[LargeCommunity, ...]:
        """Return what the routes of a workload in these groups carry."""
        return tuple((self._asn, self._function, g) for g in sorted(groups) or [NO_GROUP])

    def attributes(self, groups: Iterable[int], moves: int) -> Attributes:
        """Return the attributes of a workload's routes. A later move is preferred over an earlier
        one."""
        return Attributes(
            origin=Origin.INCOMPLETE,
            local_pref=DEFAULT_LOCAL_PREF + moves,
            large_communities=self.communities(groups),
        )

    def groups(self, attributes: Attributes) -> frozenset[int] | None:
        """Return the group ids that a route carries; None where it is no workload's."""
        found = [
            number
            for asn, function, number in attributes.large_communities
            if asn == self._asn and function == self._function
        ]
        return frozenset(found) - {NO_GROUP} if found else None

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
        return RemoteEndpoint(groups, node, moves)

    def changed(self, changes: Iterable[BestPathChange]) -> dict[Prefix, RemoteEndpoint | None]:
        """Return prefixes whose claim is another one now."""
        found: dict[Prefix, RemoteEndpoint | None] = {}
        for prefix, old, new in changes:
            after = self.claim(new)
            if after != self.claim(old):
                found[prefix] = after
        return found
