"""Which kernel ids stand for which next hop, and which wait for their deletion.

An id is given out once: the next one is free only after all others have been used, and after that
it skips every id that a route, the kernel or a deletion may still refer to. Given out again at
once, an id was deleted under its second owner by the deletion of the first, with all its routes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator

from controlplane.model.desired import NextHopKey
from pe.netlink.ownership import FIRST_NEXT_HOP, LAST_NEXT_HOP


class NextHopIds:
    """``is_referenced`` says of an id whether the kernel or a route may still know it."""

    def __init__(self, is_referenced: Callable[[int], bool]) -> None:
        self._is_referenced = is_referenced
        self._tops: dict[NextHopKey, int] = {}
        self._members: dict[NextHopKey, list[int]] = {}
        self._owners: dict[int, NextHopKey] = {}
        self._pending: dict[int, tuple[int, ...]] = {}
        self._deleted_later: set[int] = set()
        self._next = FIRST_NEXT_HOP

    def top(self, key: NextHopKey) -> int | None:
        """Return the id that routes name, None if the next hop has none."""
        return self._tops.get(key)

    def members(self, key: NextHopKey) -> list[int]:
        """Return the ids of a group's members, those without an object included."""
        return self._members.get(key, [])

    def of(self, key: NextHopKey) -> list[int]:
        """Return every id of a next hop, that which routes name first."""
        top = self._tops.get(key)
        return ([] if top is None else [top]) + self.members(key)

    def owner(self, identifier: int) -> NextHopKey | None:
        """Return the next hop that an id stands for, as a whole or as a member."""
        return self._owners.get(identifier)

    def owned(self) -> Iterable[int]:
        """Return every id that stands for a next hop."""
        return self._owners.keys()

    def allocate(self, key: NextHopKey) -> int:
        """Return an id that nothing refers to. Raises OSError where there is none."""
        for _ in range(LAST_NEXT_HOP - FIRST_NEXT_HOP + 1):
            identifier = self._next
            self._next = identifier + 1 if identifier < LAST_NEXT_HOP else FIRST_NEXT_HOP
            taken = identifier in self._owners or identifier in self._deleted_later
            if not taken and not self._is_referenced(identifier):
                self._owners[identifier] = key
                return identifier
        raise OSError(errno.ENOSPC, "every next-hop id is in use")

    def allocate_top(self, key: NextHopKey) -> None:
        """Give a next hop the id that its routes will name."""
        self._tops[key] = self.allocate(key)

    def adopt(self, key: NextHopKey, top: int, members: Iterable[int]) -> None:
        """Let an object of a former run stand for a next hop, with its members."""
        self._tops[key], self._members[key] = top, list(members)
        self._owners.update(dict.fromkeys((top, *self._members[key]), key))

    def set_members(self, key: NextHopKey, members: list[int]) -> None:
        """Note the members of a group; those that it had before are pending deletion."""
        for identifier in self.members(key):
            if identifier not in members:
                del self._owners[identifier]
                self._add_pending((identifier,))
        self._members[key] = members

    def release(self, key: NextHopKey) -> None:
        """The next hop is no longer desired: all its ids are pending deletion, as one bundle."""
        bundle = self.of(key)
        self._tops.pop(key, None)
        self._members.pop(key, None)
        for identifier in bundle:
            del self._owners[identifier]
        self._add_pending(bundle)

    def disown(self, identifier: int) -> None:
        """An id belongs to another program: the next hop needs another one."""
        key = self._owners.pop(identifier, None)
        if key is None:
            return
        if self._tops.get(key) == identifier:
            del self._tops[key]
        else:
            self._members[key].remove(identifier)

    # -- pending deletion ---------------------------------------------------------------------

    def pending(self) -> Iterator[tuple[int, ...]]:
        """Yield the bundles to be deleted, in each the id first that routes may name."""
        yield from list(self._pending.values())

    def is_pending(self, identifier: int) -> bool:
        """True if an id is to be deleted, by itself or with its group."""
        return identifier in self._deleted_later

    def add_orphans(self, bundles: Iterable[Iterable[int]]) -> None:
        """Make pending what a former run left, or what was lost track of."""
        for bundle in bundles:
            self._add_pending(bundle)

    def _add_pending(self, bundle: Iterable[int]) -> None:
        ids = tuple(i for i in bundle if i not in self._owners and i not in self._deleted_later)
        if ids:
            self._pending[ids[0]] = ids
            self._deleted_later.update(ids)

    def deleted(self, bundle: tuple[int, ...]) -> None:
        """A bundle is deleted."""
        del self._pending[bundle[0]]
        self._deleted_later.difference_update(bundle)
