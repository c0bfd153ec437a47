"""The next-hop table: maps each next hop to its kernel object and keeps the object in step.

A next hop with an address (a remote PE, a CE) may be reached over several paths, so it is a group;
the group's members are objects of their own. Routes name the group, whose id never changes while
the process runs: a change of path replaces a member, in one message for any number of routes
(prefix-independent convergence). Kernel rules that shape this (net/ipv4/nexthop.c): an object
cannot turn into a group or back; a group with a discard has no other member; a device that goes
down or loses its carrier deletes its objects, an object its groups when they become empty, and a
group its routes.

So the group of a remote PE has one more member, the blackhole next hop, through a dummy device
that is always up. The group is resilient, and the weight of that member is too small for a bucket:
it gets packets only while it is the only member, and keeps the routes in the kernel meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias, TypeVar

from controlplane.model.desired import NextHop, NextHopKey, NextHopPath
from controlplane.model.prefix import Afi
from pe.fib.next_hop_ids import NextHopIds
from pe.fib.next_hop_objects import NextHopObjects, Read
from pe.fib.next_hop_wire import BLACKHOLE_IDS, BUCKETS, Content, Group, Member
from pe.netlink.ownership import BLACKHOLE, FIRST_BLACKHOLE

Signature: TypeAlias = Member | tuple[bool, tuple[tuple[Content | None, int], ...]]
Weighted: TypeAlias = list[tuple[int, int]]


class NextHopGroupTable:
    """Brings the ``objects`` of the next hops, by the ids that ``ids`` allocates, to what is
    desired."""

    def __init__(self, objects: NextHopObjects, ids: NextHopIds) -> None:
        self.objects, self.ids = objects, ids
        self._adoptable: dict[Signature, list[int]] = {}

    def load(self, found: Read) -> None:
        """Take in a dump of everything; an object that no next hop has may be adopted."""
        self.objects.load(found)
        self._adoptable = {}
        for identifier in sorted(self._unowned()):
            if not self.ids.is_pending(identifier) and not self._is_member(identifier):
                self._adoptable.setdefault(self._signature(identifier), []).append(identifier)

    def _unowned(self) -> set[int]:
        return set(self.objects.ids()) - set(self.ids.owned()) - BLACKHOLE_IDS.keys()

    def _is_member(self, identifier: int) -> bool:
        return bool(self.objects.groups_of(identifier))

    def _signature(self, identifier: int) -> Signature:
        """Return what an object does, independent of its id and of its members' ids."""
        content = self.objects.get(identifier)
        if isinstance(content, Group):
            members = (member for member in content.members if member[0] not in BLACKHOLE_IDS)
            return _sign(content.resilient, [(self.objects.get(i), w) for i, w in members])
        assert content is not None  # noqa: S101 - asked of ids that have an object
        return content

    def id_of(self, key: NextHopKey) -> int | None:
        """Return the id that routes name, None while the kernel has no such object."""
        identifier = self.ids.top(key)
        return identifier if identifier in self.objects else None

    def blackhole_ids(self) -> list[int]:
        """Return the ids of the blackhole next hops."""
        return list(BLACKHOLE_IDS)

    def create_blackhole(self, afi: Afi, devices: Mapping[str, int]) -> bool:
        """Create the blackhole next hop of a family; True if it is new and groups need it.

        Raises OSError. Without it the kernel deletes a group with the last of its members.
        """
        oif = devices.get(BLACKHOLE)
        return oif is not None and self.objects.put(FIRST_BLACKHOLE + afi, Member(afi, oif))

    def converge(self, next_hop: NextHop, devices: Mapping[str, int]) -> None:
        """Bring the kernel's objects to this next hop. ``devices``: name -> index.

        Raises the last OSError, after doing what could be done: members that the kernel takes
        carry the traffic of those that it does not.
        """
        contents = _contents(next_hop, devices)
        key = next_hop.key
        if self.ids.top(key) is None:
            self._adopt(key, contents)
        top = self.ids.top(key)
        assert top is not None  # noqa: S101 - given above
        if key.address is None:
            self.objects.put(top, contents[0][0])
        else:
            self._converge_group(key, top, contents)

    def _converge_group(
        self, key: NextHopKey, group: int, contents: list[tuple[Member, int]]
    ) -> None:
        members = self._match(key, contents)
        weighted = [(i, weight) for i, (_, weight) in zip(members, contents, strict=True)]
        spare = [i for i in self.ids.members(key) if i not in members]
        self.ids.set_members(key, [*members, *spare])  # no id is lost if a write below fails
        discard = not contents[0][0].oif
        if (spare or discard) and group in self.objects:
            # Shrink first, so that nothing becomes a discard inside a larger group.
            self._put_group(key, group, weighted, blackhole=not discard)
        error = self._put_members(members, contents)
        self._put_group(key, group, weighted, blackhole=not discard)
        self.ids.set_members(key, members)
        if error:
            raise error

    def _put_group(
        self, key: NextHopKey, group: int, weighted: Weighted, *, blackhole: bool
    ) -> None:
        there = [(i, weight) for i, weight in weighted if i in self.objects]
        if not there:
            return  # a group with the blackhole as its only member is kept, but never created
        resilient = _is_resilient(key)
        if resilient:
            there = _outweigh(there)
            last = FIRST_BLACKHOLE + key.afi
            if blackhole and last in self.objects:
                there.append((last, 1))
        self.objects.put(group, Group(tuple(there), resilient))

    def _put_members(
        self, members: list[int], contents: list[tuple[Member, int]]
    ) -> OSError | None:
        failed = None
        # What exists already first: it may carry traffic.
        order = sorted(zip(members, contents, strict=True), key=lambda x: x[0] not in self.objects)
        for identifier, (content, _) in order:
            try:
                self.objects.put(identifier, content)
            except OSError as error:
                failed = error
        return failed

    def _match(self, key: NextHopKey, contents: list[tuple[Member, int]]) -> list[int]:
        """Return an id for each member: one that has the content, else one to change, else new."""
        left = list(self.ids.members(key))
        chosen: list[int | None] = []
        for content, _ in contents:
            same = next((i for i in left if self.objects.get(i) == content), None)
            if same is not None:
                left.remove(same)
            chosen.append(same)
        spare = iter(left)
        return [i or next(spare, None) or self.ids.allocate(key) for i in chosen]

    def _adopt(self, key: NextHopKey, contents: list[tuple[Member, int]]) -> None:
        """Take over an object with this content from a former run, so that its routes stay;
        else allocate an id."""
        wanted: Signature = contents[0][0]
        if key.address is not None:
            resilient = _is_resilient(key)
            wanted = _sign(resilient, _outweigh(contents) if resilient else contents)
        candidates = self._adoptable.get(wanted, [])
        while candidates:
            identifier = candidates.pop(0)
            if self._is_adoptable(identifier, wanted):
                content = self.objects.get(identifier)
                members = content.members if isinstance(content, Group) else ()
                self.ids.adopt(key, identifier, (i for i, _ in members if i not in BLACKHOLE_IDS))
                return
        self.ids.allocate_top(key)

    def _is_adoptable(self, identifier: int, wanted: Signature) -> bool:
        if identifier not in self.objects or self.ids.is_pending(identifier):
            return False
        return self.ids.owner(identifier) is None and self._signature(identifier) == wanted

    def delete_orphans(self) -> None:
        """Make pending deletion every object that stands for nothing desired, a group first: the
        removal of its members removes the group with them."""
        left = {i for i in self._unowned() if not self.ids.is_pending(i)}
        self._adoptable = {}
        bundles = []
        for identifier in sorted(left):
            content = self.objects.get(identifier)
            if isinstance(content, Group):
                bundles.append([identifier, *(i for i, _ in content.members if i in left)])
        left -= {identifier for bundle in bundles for identifier in bundle}
        self.ids.add_orphans([*bundles, *([identifier] for identifier in sorted(left))])

    def delete(self, bundle: Collection[int]) -> Iterator[tuple[int, OSError | None]]:
        """Remove the objects of a bundle; yields each with the error, after which it ends."""
        for identifier in bundle:
            try:
                # A second owner would lose its routes with the first owner's object.
                if self.ids.owner(identifier) is None:
                    self.objects.remove(identifier)
            except OSError as error:
                yield identifier, error
                return
            yield identifier, None


Q = TypeVar("Q")


def _is_resilient(key: NextHopKey) -> bool:
    """True for what is reached through the core. A CE's routes go when its port does."""
    return not key.device


def _outweigh(members: list[tuple[Q, int]]) -> list[tuple[Q, int]]:
    """Weights in the same proportion, of 256 at most, beside which 1 has no place in the table."""
    factor = -(-(2 * BUCKETS + 1) // sum(weight for _, weight in members))
    return [(member, weight * factor) for member, weight in members]


def _sign(resilient: bool, members: list[tuple[Q, int]]) -> tuple[bool, tuple[tuple[Q, int], ...]]:
    return resilient, tuple(sorted(members, key=repr))


def _contents(next_hop: NextHop, devices: Mapping[str, int]) -> list[tuple[Member, int]]:
    afi = next_hop.key.afi
    if not next_hop.paths:
        return [(Member(afi, 0), 1)]
    if next_hop.key.address is None and len(next_hop.paths) > 1:
        raise OSError(22, "a link or a discard has one path")  # EINVAL
    return [(_member(afi, path, devices), path.weight) for path in next_hop.paths]


def _member(afi: Afi, path: NextHopPath, devices: Mapping[str, int]) -> Member:
    oif = devices.get(path.device)
    if oif is None:
        raise OSError(19, f"there is no device {path.device}")  # ENODEV
    # An IPv4 route may go by an IPv6 gateway; the kernel files that next hop under IPv6.
    if path.gateway is not None and path.gateway.version == 6:
        afi = Afi.IPV6
    return Member(afi, oif, path.gateway, path.labels)
