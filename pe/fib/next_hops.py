"""Next hops: which kernel object stands for which next hop, and how one follows the other.

Whoever has an address (a remote PE, a CE) may be reached in several ways, so it gets a group;
its legs are objects of their own. Routes name the group, whose id never changes while the
program runs: a change of path replaces a leg, in one message, whatever the number of routes.
Kernel rules that shape this (net/ipv4/nexthop.c): an object cannot turn into a group or back;
a discard may only be alone in a group; a device that goes down or loses its carrier takes its
objects with it, an object its groups when they become empty, and a group its routes.

So the group of a remote PE has one leg more, to a device that drops everything and does not go
away. The group is resilient, and that leg too light for a place in its table: it gets packets
only when there is no other, and until there is one again it keeps the routes in the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeAlias, TypeVar

from controlplane.model.desired import NextHop, NextHopKey, NextHopPath
from controlplane.model.prefix import Afi
from pe.fib.next_hop_wire import BUCKETS, VOID_LEGS, Content, Group, Member
from pe.netlink.ownership import FIRST_NEXT_HOP, LAST_NEXT_HOP, VOID, VOID_NEXT_HOPS

Signature: TypeAlias = Member | tuple[bool, tuple[tuple[Content | None, int], ...]]
Members: TypeAlias = list[tuple[int, int]]


class NextHopKernel(Protocol):
    """Where next hops go."""

    def put(self, identifier: int, content: Content) -> None:
        """Create or replace; raises OSError."""

    def remove(self, identifier: int) -> None:
        """Remove; raises OSError."""


class NextHopGroupTable:
    """The kernel's next hops that are ours, and the ids that stand for what is desired."""

    def __init__(self, kernel: NextHopKernel) -> None:
        self._kernel = kernel
        self.objects: dict[int, Content] = {}
        self._ids: dict[NextHopKey, int] = {}
        self._legs: dict[NextHopKey, list[int]] = {}
        self._owners: dict[int, NextHopKey] = {}
        self._free: dict[Signature, list[int]] = {}  # of a former run, not yet given to a key
        self._next = FIRST_NEXT_HOP

    def load(self, objects: Mapping[int, Content]) -> None:
        """Take in what a full dump found of ours; whatever no key stands for may be adopted."""
        self.objects = dict(objects)
        self._free = {}
        groups = (content for content in objects.values() if isinstance(content, Group))
        in_groups = {leg for group in groups for leg, _ in group.members}
        known = in_groups | self._owners.keys() | VOID_LEGS.keys()
        for identifier in sorted(self.objects.keys() - known):
            self._free.setdefault(self._signature(identifier), []).append(identifier)

    def _signature(self, identifier: int) -> Signature:
        """What an object says, whatever its id and those of its legs."""
        content = self.objects[identifier]
        if isinstance(content, Member):
            return content
        members = (member for member in content.members if member[0] not in VOID_LEGS)
        return _sign(content.resilient, [(self.objects.get(leg), w) for leg, w in members])

    def id_of(self, key: NextHopKey) -> int | None:
        """The id that routes name, None while the kernel has no such object."""
        identifier = self._ids.get(key)
        return identifier if identifier in self.objects else None

    def key_of(self, identifier: int) -> NextHopKey | None:
        """Whom an id stands for, as a whole or as a leg."""
        return self._owners.get(identifier)

    def open_void(self, afi: Afi, devices: Mapping[str, int]) -> bool:
        """Have the leg to the void; True if that is news, and groups are to be looked at again.

        Raises OSError; without it groups live, and die with the last of their legs.
        """
        oif = devices.get(VOID)
        return oif is not None and self._put(VOID_NEXT_HOPS + afi, Member(afi, oif))

    def converge(self, next_hop: NextHop, devices: Mapping[str, int]) -> None:
        """Bring the kernel's objects to this next hop. ``devices``: name -> number.

        Raises the last OSError, after doing what could be done: legs that the kernel takes
        carry the traffic of those that it does not.
        """
        contents = _contents(next_hop, devices)
        key = next_hop.key
        if key not in self._ids:
            self._adopt(key, contents)
        if key.address is None:
            self._put(self._ids[key], contents[0][0])
        else:
            self._converge_group(key, contents)

    def _converge_group(self, key: NextHopKey, contents: list[tuple[Member, int]]) -> None:
        legs = self._match(key, contents)
        weighted = [(leg, weight) for leg, (_, weight) in zip(legs, contents, strict=True)]
        group = self._ids[key]
        spare = [leg for leg in self._legs.get(key, []) if leg not in legs]
        discard = not contents[0][0].oif
        if (spare or discard) and group in self.objects:
            # Shrink first, so that nothing becomes a discard inside a larger group.
            self._put_group(key, weighted, void=not discard)
        error = self._put_legs(legs, contents)
        self._legs[key] = legs
        self._put_group(key, weighted, void=not discard)
        for leg in spare:
            self._remove(leg)
            self._owners.pop(leg, None)
        if error:
            raise error

    def _put_group(self, key: NextHopKey, weighted: Members, *, void: bool) -> None:
        there = [(leg, weight) for leg, weight in weighted if leg in self.objects]
        if not there:
            return  # what leads to the void alone is left so, and not made
        resilient = _is_resilient(key)
        if resilient:
            there = _outweigh(there)
            last = VOID_NEXT_HOPS + key.afi
            if void and last in self.objects:
                there.append((last, 1))
        self._put(self._ids[key], Group(tuple(there), resilient))

    def _put_legs(self, legs: list[int], contents: list[tuple[Member, int]]) -> OSError | None:
        failed = None
        # What exists already first: it may carry traffic.
        order = sorted(zip(legs, contents, strict=True), key=lambda x: x[0] not in self.objects)
        for leg, (content, _) in order:
            try:
                self._put(leg, content)
            except OSError as error:
                failed = error
        return failed

    def _match(self, key: NextHopKey, contents: list[tuple[Member, int]]) -> list[int]:
        """An id for each wanted leg: one that has the content, else one to change, else new."""
        left = list(self._legs.get(key, []))
        chosen: list[int | None] = []
        for content, _ in contents:
            same = next((leg for leg in left if self.objects.get(leg) == content), None)
            if same is not None:
                left.remove(same)
            chosen.append(same)
        spare = iter(left)
        return [leg or next(spare, None) or self._fresh(key) for leg in chosen]

    def _adopt(self, key: NextHopKey, contents: list[tuple[Member, int]]) -> None:
        """Take over an object with this content from a former run, so that its routes stay;
        else take a fresh id."""
        wanted: Signature = contents[0][0]
        if key.address is not None:
            resilient = _is_resilient(key)
            wanted = _sign(resilient, _outweigh(contents) if resilient else contents)
        same = self._free.get(wanted)
        if not same:
            self._ids[key] = self._fresh(key)
            return
        identifier = self._ids[key] = same.pop(0)
        content = self.objects[identifier]
        members = content.members if isinstance(content, Group) else ()
        legs = [leg for leg, _ in members if leg not in VOID_LEGS]
        self._legs[key] = legs
        self._owners.update(dict.fromkeys((identifier, *legs), key))

    def forget(self, key: NextHopKey) -> list[int]:
        """The next hop is no longer wanted: its ids, that which routes use first, to be removed
        together once none does."""
        top = self._ids.pop(key, None)
        gone = ([top] if top is not None else []) + self._legs.pop(key, [])
        for identifier in gone:
            self._owners.pop(identifier, None)
        return gone

    def unadopted(self) -> list[list[int]]:
        """What nobody desired stands for: each with its legs after it, for their removal takes
        the group with them."""
        left = self.objects.keys() - self._owners.keys() - VOID_LEGS.keys()
        self._free = {}
        bundles = []
        for identifier in sorted(left):
            content = self.objects[identifier]
            if isinstance(content, Group):
                bundles.append([identifier, *(leg for leg, _ in content.members if leg in left)])
        left -= {identifier for bundle in bundles for identifier in bundle}
        return bundles + [[identifier] for identifier in sorted(left)]

    def remove(self, identifiers: Iterable[int]) -> Iterator[tuple[int, OSError]]:
        """Remove objects that no route uses any more; yields those that could not be."""
        for identifier in identifiers:
            try:
                self._remove(identifier)
            except OSError as error:
                yield identifier, error

    def seen(self, identifier: int, content: Content | None) -> bool:
        """An object of ours was changed or (None) removed by someone else, or with its device.

        True if that is not how we left it.
        """
        if self.objects.get(identifier) == content:
            return False
        if content is None:
            del self.objects[identifier]
            for same in self._free.values():
                if identifier in same:
                    same.remove(identifier)
        else:
            self.objects[identifier] = content
        return True

    def _put(self, identifier: int, content: Content) -> bool:
        if self.objects.get(identifier) == content:
            return False
        self._kernel.put(identifier, content)
        self.objects[identifier] = content
        return True

    def _remove(self, identifier: int) -> None:
        if identifier in self.objects:
            self._kernel.remove(identifier)
            del self.objects[identifier]

    def _fresh(self, key: NextHopKey) -> int:
        """An id that nothing has: one from a former run would send its routes astray."""
        while self._next in self.objects or self._next in self._owners:
            self._next = self._next + 1 if self._next < LAST_NEXT_HOP else FIRST_NEXT_HOP
        self._owners[self._next] = key
        return self._next


Q = TypeVar("Q")


def _is_resilient(key: NextHopKey) -> bool:
    """True for what is reached through the core. A CE's routes go when its port does."""
    return not key.device


def _outweigh(legs: list[tuple[Q, int]]) -> list[tuple[Q, int]]:
    """Weights in the same proportion, of 256 at most, beside which 1 has no place in the table."""
    factor = -(-(2 * BUCKETS + 1) // sum(weight for _, weight in legs))
    return [(leg, weight * factor) for leg, weight in legs]


def _sign(resilient: bool, legs: list[tuple[Q, int]]) -> tuple[bool, tuple[tuple[Q, int], ...]]:
    return resilient, tuple(sorted(legs, key=repr))


def _contents(next_hop: NextHop, devices: Mapping[str, int]) -> list[tuple[Member, int]]:
    afi = next_hop.key.afi
    if not next_hop.paths:
        return [(Member(afi, 0), 1)]
    if next_hop.key.address is None and len(next_hop.paths) > 1:
        raise OSError(22, "a link or a discard has one path")  # EINVAL
    return [(_leg(afi, path, devices), path.weight) for path in next_hop.paths]


def _leg(afi: Afi, path: NextHopPath, devices: Mapping[str, int]) -> Member:
    oif = devices.get(path.device)
    if oif is None:
        raise OSError(19, f"there is no device {path.device}")  # ENODEV
    # An IPv4 route may go by an IPv6 gateway; the kernel files that next hop under IPv6.
    if path.gateway is not None and path.gateway.version == 6:
        afi = Afi.IPV6
    return Member(afi, oif, path.gateway, path.labels)
