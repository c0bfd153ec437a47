"""The next-hop objects that the kernel is believed to have, and every way to correct the belief.

A device that goes down or loses its carrier takes its next hops, their groups and the groups'
routes with it, and the kernel sends no notification of that (nexthop_flush_dev). So a write says
what it expects: an object that should be there is replaced and never created, one that should not
be is created and never replaced. A write that is refused for that, and an event of a device, make
the objects concerned to be read again, and no others.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Protocol

from pe.fib.next_hop_wire import Content, Group, Member, in_our_range, is_ours

Read = Mapping[int, tuple[int, Content | None]]
"""What the kernel has: id -> (protocol, content; None where it is of a kind that we never make)."""


class NextHopKernel(Protocol):
    """Where next hops go. Everything raises OSError."""

    def create(self, identifier: int, content: Content) -> None:
        """Create an object; EEXIST if the id is in use."""

    def replace(self, identifier: int, content: Content) -> None:
        """Change an object in place; ENOENT if there is none."""

    def remove(self, identifier: int) -> None:
        """Remove an object, its groups once they are empty, and their routes."""

    def read(self, identifiers: Collection[int]) -> Read:
        """Return those of the objects that there are."""

    def dump(self) -> Read:
        """Return every object of the namespace."""


class NextHopObjects:
    """``on_lost`` is called with the ids of objects that went without our doing."""

    def __init__(self, kernel: NextHopKernel, on_lost: Callable[[set[int]], None]) -> None:
        self._kernel, self._on_lost = kernel, on_lost
        self._contents: dict[int, Content] = {}
        self._by_device: dict[int, dict[int, None]] = {}
        self._groups: dict[int, set[int]] = {}
        self.foreign: set[int] = set()
        """Ids of our range that another program uses."""

    def load(self, found: Read) -> None:
        """Take in a dump of everything, in the place of what was believed."""
        self._contents, self._by_device, self._groups, self.foreign = {}, {}, {}, set()
        for identifier, (protocol, content) in found.items():
            if content and is_ours(identifier, protocol):
                self._set(identifier, content)
            elif in_our_range(identifier):
                self.foreign.add(identifier)

    def get(self, identifier: int | None) -> Content | None:
        """Return an object's content, None if there is none."""
        return None if identifier is None else self._contents.get(identifier)

    def __contains__(self, identifier: int | None) -> bool:
        return identifier in self._contents

    def groups_of(self, member: int) -> Collection[int]:
        """Return the groups that an object is a member of."""
        return self._groups.get(member, ())

    def ids(self) -> Collection[int]:
        """Return the ids of all objects."""
        return self._contents.keys()

    def put(self, identifier: int, content: Content) -> bool:
        """Create or change an object; False if it is as it should be already. Raises OSError."""
        have = self._contents.get(identifier)
        if have == content:
            return False
        (self._kernel.create if have is None else self._kernel.replace)(identifier, content)
        self._set(identifier, content)
        return True

    def remove(self, identifier: int) -> None:
        """Remove an object, if it is there. Raises OSError."""
        if identifier not in self._contents:
            return
        try:
            self._kernel.remove(identifier)
        except OSError as error:
            # Its device went down a moment before: then it is where it should be.
            if error.errno != errno.ENOENT:
                raise
        self._set(identifier, None)

    # -- belief and truth ---------------------------------------------------------------------

    def seen(self, identifier: int, content: Content | None) -> bool:
        """Take in what an object is now; True if that is not how we left it."""
        if self._contents.get(identifier) == content:
            return False
        self._set(identifier, content)
        if content is None:
            self._on_lost({identifier})
        return True

    def verify(self, identifiers: Iterable[int]) -> set[int]:
        """Read objects again; return the ids of those that are not as they were believed to be.

        Raises OSError where they cannot be read; then nothing has changed.
        """
        asked = list(dict.fromkeys(identifiers))
        if not asked:
            return set()
        found = self._kernel.read(asked)
        wrong: set[int] = set()
        for identifier in asked:
            protocol, content = found.get(identifier, (0, None))
            if identifier in found and (content is None or not is_ours(identifier, protocol)):
                self.foreign.add(identifier)
                wrong.add(identifier)
                content = None
            if self._contents.get(identifier) != content:
                self._set(identifier, content)
                wrong.add(identifier)
        lost = {i for i in wrong if i not in self._contents}
        if not lost:
            return wrong
        self._on_lost(lost)
        groups = sorted({group for i in lost for group in self.groups_of(i)}.difference(asked))
        return wrong | self.verify(groups)

    def verify_devices(self, indexes: Iterable[int]) -> set[int]:
        """Read the objects of devices again, and their groups; return what ``verify`` does.

        A device takes all its objects at once. So if the one that was made first is there, none
        has gone since: a link event costs one look, unless it was a flap.
        """
        oldest = {i: next(iter(self._by_device[i])) for i in set(indexes) if self._by_device.get(i)}
        gone = self.verify(oldest.values())
        flushed = [index for index, first in oldest.items() if first in gone]
        return gone | self.verify(i for index in flushed for i in self._by_device.get(index, ()))

    def devices(self) -> Collection[int]:
        """Return the indexes of the devices that objects lead to."""
        return [index for index, members in self._by_device.items() if members]

    def some_after(self, identifier: int, limit: int) -> list[int]:
        """Return the next ids after one in ascending order, beginning anew at the end."""
        ids = sorted(self._contents)
        after = [i for i in ids if i > identifier]
        return list(islice((*after, *ids), min(limit, len(ids))))

    def _set(self, identifier: int, content: Content | None) -> None:
        before = self._contents.pop(identifier, None)
        if isinstance(before, Member):
            self._by_device.get(before.oif, {}).pop(identifier, None)
        elif isinstance(before, Group):
            for member, _ in before.members:
                self._groups.get(member, set()).discard(identifier)
        if content is None:
            return
        self._contents[identifier] = content
        if isinstance(content, Member):
            self._by_device.setdefault(content.oif, {})[identifier] = None
        else:
            for member, _ in content.members:
                self._groups.setdefault(member, set()).add(identifier)
