"""The routes of all VRF tables: desired beside actual, and between them what is pending.

An incremental change touches the prefixes that it names and no others; a full comparison makes
pending what differs. Both end in the same batches. A million prefixes pass through here, so
what is pending is a queue of names and no set: a name that comes twice is looked at twice, and
the second look finds nothing to do.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Prefix

Tables = dict[int, dict[Prefix, NextHopKey]]
Resolve = Callable[[NextHopKey], int | None]
Changes = list[tuple[Prefix, int]]


class Backlog:
    """A queue of prefixes that takes and gives them by the thousand."""

    def __init__(self) -> None:
        self._chunks: deque[list[Prefix]] = deque()
        self._length = 0
        self._compact_at = 1000

    def add(self, prefixes: Iterable[Prefix]) -> None:
        """Append these."""
        chunk = list(prefixes)
        if chunk:
            self._chunks.append(chunk)
            self._length += len(chunk)
            if self._length > self._compact_at:
                self._compact()

    def _compact(self) -> None:
        """Drop duplicates: nothing is taken while a table is held back, and names that repeat
        must not accumulate."""
        unique = list(dict.fromkeys(prefix for chunk in self._chunks for prefix in chunk))
        self._chunks = deque([unique])
        self._length = len(unique)
        self._compact_at = max(1000, 2 * self._length)

    def take(self, limit: int) -> list[Prefix]:
        """Remove up to ``limit`` of them from the front."""
        chunk = self._chunks.popleft()
        if len(chunk) > limit:
            # Cut once for all: what is left of a large chunk is not copied at every turn.
            parts = [chunk[i : i + limit] for i in range(0, len(chunk), limit)]
            self._chunks.extendleft(reversed(parts[1:]))
            chunk = parts[0]
        self._length -= len(chunk)
        return chunk

    def __len__(self) -> int:
        return self._length


class RouteTables:
    """The reconciler changes ``desired``, which is shared with it, and then calls ``changed``."""

    def __init__(self, desired: Tables) -> None:
        self._desired = desired
        self.actual: dict[int, dict[Prefix, int]] = {}
        self._pending: dict[int, Backlog] = {}
        self._waiting: dict[NextHopKey, set[tuple[int, Prefix]]] = {}
        self.uses: Counter[int] = Counter()
        """How many routes a next-hop id has in all tables."""
        self._uses: dict[int, Counter[int]] = {}  # table -> the same: what is lost is found by it

    def changed(self, table: int, prefixes: Iterable[Prefix]) -> None:
        """These may differ from the kernel now."""
        backlog = self._pending.get(table)
        if backlog is None:
            backlog = self._pending[table] = Backlog()
        backlog.add(prefixes)

    def load(self, routes: Iterable[tuple[int, Prefix, int]]) -> None:
        """Take in what a full dump found: (table, prefix, next-hop id)."""
        self.actual, self._uses, self.uses = {}, {}, Counter()
        self._add(routes)

    def load_table(self, table: int, routes: Iterable[tuple[int, Prefix, int]]) -> None:
        """Take in what a dump of one table found, in the place of what was believed of it."""
        self.actual.pop(table, None)
        self.uses.subtract(self._uses.pop(table, {}))
        self._add(routes)

    def _add(self, routes: Iterable[tuple[int, Prefix, int]]) -> None:
        for table, prefix, next_hop in routes:
            self._note(table, prefix, next_hop)

    def compare(self) -> None:
        """Make pending all that is desired; a route that is in place costs one look-up."""
        for table, routes in self._desired.items():
            self.changed(table, routes)

    def sweep(self) -> None:
        """Make pending all that is installed and not desired."""
        for table, seen in self.actual.items():
            wanted = self._desired.get(table, {})
            self.changed(table, [prefix for prefix in seen if prefix not in wanted])

    def table_changed(self, table: int, *, sweep: bool) -> None:
        """A VRF has come or gone: look at all that should be in its table, and with ``sweep`` at
        all that is."""
        self.changed(table, self._desired.get(table, {}))
        if sweep:
            self.changed(table, self.actual.get(table, {}))

    def installed(self, table: int, prefix: Prefix) -> int:
        """The id of the next hop that a route has in the kernel, 0 if there is no such route."""
        return self.actual.get(table, {}).get(prefix, 0)

    def __len__(self) -> int:
        """How many routes may still differ, without those that wait for their next hop."""
        return sum(map(len, self._pending.values()))

    def batch(
        self, limit: int, resolve: Resolve, wanted: Container[NextHopKey], ready: Mapping[int, bool]
    ) -> tuple[int, list[Prefix], Changes] | None:
        """Take the next prefixes of one table off the pending ones, and the changes that they
        need, as (prefix, next-hop id; 0 removes); None if nothing is left that can be done.

        ``wanted`` are the next hops that are desired: a route by one whose object is not there
        yet waits for it, one by a next hop that is not desired is removed. ``ready`` has the
        tables of VRFs: False holds their routes back, a table that is missing loses them.
        """
        for table, pending in self._pending.items():
            if len(pending) and ready.get(table, True):
                taken = pending.take(limit)
                desired = self._desired.get(table, {}) if table in ready else {}
                return table, taken, list(self._changes(table, taken, desired, resolve, wanted))
        return None

    def _changes(
        self,
        table: int,
        taken: list[Prefix],
        desired: Mapping[Prefix, NextHopKey],
        resolve: Resolve,
        wanted: Container[NextHopKey],
    ) -> Iterator[tuple[Prefix, int]]:
        have = self.actual.get(table, {}).get
        want = desired.get
        # Routes that share a next hop share its key as an object, and addresses hash slowly.
        ids: dict[int, int] = {}
        for prefix in taken:
            key = want(prefix)
            next_hop = 0
            if key is not None:
                next_hop = ids.get(id(key)) or ids.setdefault(id(key), resolve(key) or 0)
                if not next_hop:
                    self._waiting.setdefault(key, set()).add((table, prefix))
                    if key in wanted:
                        continue
            if have(prefix, 0) != next_hop:
                yield prefix, next_hop

    def done(
        self, table: int, changes: Changes, refused: Mapping[Prefix, object] | None = None
    ) -> None:
        """Note what the kernel has taken."""
        if refused:
            changes = [change for change in changes if change[0] not in refused]
        if not all(next_hop for _, next_hop in changes):
            for prefix, next_hop in changes:
                self._note(table, prefix, next_hop)
            return
        actual = self.actual.setdefault(table, {})
        added = Counter(next_hop for _, next_hop in changes)
        if actual:
            added.subtract(actual[prefix] for prefix, _ in changes if prefix in actual)
        for uses in (self.uses, self._uses.setdefault(table, Counter())):
            uses.update(added)
            _forget_unused(uses, added)
        actual.update(changes)

    def _note(self, table: int, prefix: Prefix, next_hop: int) -> int:
        """Note one route (0: none any more); returns the next hop that it had."""
        actual = self.actual.setdefault(table, {})
        uses = self._uses.setdefault(table, Counter())
        before = actual.pop(prefix, 0)
        if before:
            for counter in (self.uses, uses):
                counter[before] -= 1
                _forget_unused(counter, (before,))
        if next_hop:
            actual[prefix] = next_hop
            self.uses[next_hop] += 1
            uses[next_hop] += 1
        if not actual:
            del self.actual[table], self._uses[table]
        return before

    def next_hop_ready(self, key: NextHopKey) -> None:
        """The routes that waited for a next hop can go on."""
        tables: dict[int, list[Prefix]] = {}
        for table, prefix in self._waiting.pop(key, ()):
            tables.setdefault(table, []).append(prefix)
        for table, prefixes in tables.items():
            self.changed(table, prefixes)

    def next_hops_lost(self, identifiers: Collection[int]) -> int:
        """Next hops vanished, and in the kernel all their routes with them; returns how many."""
        count = 0
        for table, lost in self._users(identifiers):
            for prefix in lost:
                self._note(table, prefix, 0)
            self.changed(table, lost)
            count += len(lost)
        return count

    def users_changed(self, identifiers: Collection[int]) -> None:
        """Look again at every route that uses one of these next hops."""
        for table, users in self._users(identifiers):
            self.changed(table, users)

    def _users(self, identifiers: Collection[int]) -> list[tuple[int, list[Prefix]]]:
        """The routes of next hops by table; only tables that have such routes are searched."""
        if not any(self.uses[i] > 0 for i in identifiers):
            return []
        return [
            (table, [p for p, next_hop in self.actual[table].items() if next_hop in identifiers])
            for table, uses in self._uses.items()
            if any(uses[i] > 0 for i in identifiers)
        ]

    def route_lost(self, table: int, prefix: Prefix) -> bool:
        """Another program removed or replaced a route of ours; False if we had none there."""
        if not self._note(table, prefix, 0):
            return False
        self.changed(table, (prefix,))
        return True

    def waiting(self) -> dict[NextHopKey, int]:
        """How many routes wait, by next hop."""
        counts: dict[NextHopKey, int] = {}
        for key, routes in self._waiting.items():
            still = sum(self._desired.get(t, {}).get(prefix) == key for t, prefix in routes)
            if still:
                counts[key] = still
        return counts


def _forget_unused(uses: Counter[int], identifiers: Iterable[int]) -> None:
    """Drop counters at zero: next-hop ids are not reused, and would accumulate."""
    for identifier in identifiers:
        if not uses[identifier]:
            del uses[identifier]
