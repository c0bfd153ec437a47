"""Identity travels with the route: one large community ``ASN : function : group id`` per group.

RFC 8092; the use of the three fields is that of RFC 8195. Group 0 is no group: it marks the
route of a workload that is in none, so that it is not taken for something outside.

Where the PE has staged a revision under which the workload is in other groups, the route carries
those too, as ``ASN : function + 2^31 : group id``, and the revision, the first 32 bits of its
digest, as ``ASN : function + 2^30 : revision``.

So that two PEs find out that they mean different things, digests of 31 bits travel as
``ASN : function + 2^31 + 2^30 : digest``: with 2^31 added, that of the workload's name; without it,
one for each group id that people gave, of the id with the group's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.bgp.decision import DEFAULT_LOCAL_PREF, local_pref
from controlplane.bgp.path import Path
from controlplane.model.attributes import Attributes, LargeCommunity, Origin
from controlplane.model.prefix import Prefix
from controlplane.model.workload import (
    HERE,
    OTHER_VRF,
    RemoteEndpoint,
    StagedGroups,
    WorkloadAttached,
    digest_31,
)
from controlplane.vpn.vrf_table import AddressConflict, ClaimChange, Claimed

NO_GROUP = 0
STAGED, REVISION = 1 << 31, 1 << 30
"""Bits of the function: groups of the staged revision, and which revision that is."""
DIGEST = STAGED | REVISION
"""Both bits: digests."""
NAME = 1 << 31
"""The bit of a digest that is of the workload's name."""
MOST_MOVES = 1 << 24
"""What a peer may claim to have moved; beyond it numbers would not fit a LOCAL_PREF for long."""


class Marking:
    """How group ids are written into routes and read from them: by one AS and function."""

    def __init__(self, asn: int, function: int) -> None:
        self._asn, self._function = asn, function

    def communities(
        self, groups: Iterable[int], staged: StagedGroups | None = None
    ) -> tuple[LargeCommunity, ...]:
        """Return the groups that the routes of a workload carry."""
        found = self._numbers(0, sorted(groups) or [NO_GROUP])
        if staged is None:
            return found
        revision = self._numbers(REVISION, [staged.revision])
        return found + revision + self._numbers(STAGED, sorted(staged.groups) or [NO_GROUP])

    def digests(self, name: str, meanings: Iterable[int]) -> tuple[LargeCommunity, ...]:
        """Return the digests that they carry: of its name, and of what its group ids mean."""
        return self._numbers(DIGEST, [*sorted(meanings), digest_31(name) | NAME])

    def _numbers(self, kind: int, numbers: Iterable[int]) -> tuple[LargeCommunity, ...]:
        return tuple((self._asn, self._function | kind, number) for number in numbers)

    def attributes(self, event: WorkloadAttached) -> Attributes:
        """Return the attributes of a workload's routes. A later move is preferred over an earlier
        one."""
        carried = self.communities(event.groups, event.staged)
        return Attributes(
            origin=Origin.INCOMPLETE,
            local_pref=DEFAULT_LOCAL_PREF + event.moves,
            large_communities=carried + self.digests(event.name, event.meanings),
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

    def _digests(self, attributes: Attributes) -> tuple[int | None, frozenset[int] | None]:
        """Return the digest of the workload's name and those of what its group ids mean; None
        where a route has not exactly one name, as that of an earlier version."""
        found = self._carried(attributes, DIGEST)
        names = [digest - NAME for digest in found if digest >= NAME]
        if len(names) != 1:
            return None, None
        return names[0], frozenset(digest for digest in found if digest < NAME)

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
        name, meanings = self._digests(path.attributes)
        staged = self.staged(path.attributes)
        return RemoteEndpoint(groups, _node(path), moves, staged, name, meanings)

    def conflict(self, paths: Sequence[Path]) -> AddressConflict | None:
        """Return who has a prefix under different names; None where all that send a name agree.

        All candidates count, also those that are not the best or whose next hop is unreachable: a
        claim stands until it is withdrawn. Two workloads here are not compared, the registry is.
        """
        named = [(path, name) for path in paths if (name := self._name_of(path)) is not None]
        if len({name for _, name in named}) < 2:
            return None
        here = [path for path, _ in named if path.source.vrf]
        if len(here) == len(named):
            return None
        places = {HERE if path.source.vrf else _node(path) or OTHER_VRF for path, _ in named}
        own = min(here, key=lambda path: path.source.via, default=None)
        return AddressConflict(tuple(sorted(places)), own)

    def _name_of(self, path: Path) -> int | None:
        """Return the name under which a path claims an address; a CE's path claims nothing."""
        attributes = path.attributes
        if not attributes.large_communities or (path.source.vrf and path.source.peer):
            return None
        return None if self.groups(attributes) is None else self._digests(attributes)[0]

    def changed(self, changes: Iterable[ClaimChange]) -> dict[Prefix, RemoteEndpoint | None]:
        """Return prefixes whose claim is another one now."""
        found: dict[Prefix, RemoteEndpoint | None] = {}
        for prefix, old, new in changes:
            after = self._endpoint(new)
            if after != self._endpoint(old):
                found[prefix] = after
        return found

    def _endpoint(self, claimed: Claimed) -> RemoteEndpoint | None:
        if isinstance(claimed, AddressConflict):
            return RemoteEndpoint(None, conflict=claimed.places)
        return self.claim(claimed)


def _node(path: Path) -> str:
    return str(path.hop.address) if path.source.peer and path.hop.address else ""
