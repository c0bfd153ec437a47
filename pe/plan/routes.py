"""The routes of all VRF tables: desired beside actual, and between them what is pending.

An incremental change touches the prefixes that it names and no others; a full comparison makes
pending what differs. Both end in the same batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from itertools import islice

from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Prefix

Tables = dict[int, dict[Prefix, NextHopKey]]
Resolve = Callable[[NextHopKey], int | None]


class RouteBook:
    """``desired`` is shared with whoever changes it, who then says what has ``changed``."""

    def __init__(self, desired: Tables) -> None:
        self._desired = desired
        self.actual: dict[int, dict[Prefix, int]] = {}
        self._pending: dict[int, dict[Prefix, None]] = {}
        self._waiting: dict[NextHopKey, set[tuple[int, Prefix]]] = {}
        self.uses: Counter[int] = Counter()

    def changed(self, table: int, prefixes: Iterable[Prefix]) -> None:
        """These may differ from the kernel now."""
        self._pending.setdefault(table, {}).update(dict.fromkeys(prefixes))

    def load(self, routes: Iterable[tuple[int, Prefix, int]]) -> None:
        """Take in what a full dump found: (table, prefix, next-hop id)."""
        self.actual = {}
        self.uses = Counter()
        for table, prefix, next_hop in routes:
            self.actual.setdefault(table, {})[prefix] = next_hop
            self.uses[next_hop] += 1

    def compare(self) -> None:
        """Make pending all that is desired: what is in place already costs a look each."""
        for table, routes in self._desired.items():
            self.changed(table, routes)

    def sweep(self) -> None:
        """Make pending all that is there and not desired."""
        for table, seen in self.actual.items():
            wanted = self._desired.get(table, {})
            self.changed(table, [prefix for prefix in seen if prefix not in wanted])

    def table_changed(self, table: int) -> None:
        """A VRF has come or gone: look at everything that is, or should be, in its table."""
        self.changed(table, self._desired.get(table, {}))
        self.changed(table, self.actual.get(table, {}))

    def installed(self, table: int, prefix: Prefix) -> int:
        """The id of the next hop that a route has in the kernel, 0 if there is no such route."""
        return self.actual.get(table, {}).get(prefix, 0)

    def __len__(self) -> int:
        """How many routes may still differ, without those that wait for their next hop."""
        return sum(map(len, self._pending.values()))

    def batch(
        self, limit: int, resolve: Resolve, wanted: Container[NextHopKey], ready: Mapping[int, bool]
    ) -> tuple[int, list[tuple[Prefix, int]]] | None:
        """Take the next changes of one table off the pending ones, as (prefix, next-hop id; 0
        removes); None if nothing is left that can be done.

        ``wanted`` are the next hops that are desired: a route by one whose object is not there
        yet waits for it, one by a next hop that nobody wants is removed. ``ready`` has the
        tables of VRFs: False holds their routes back, a table that is missing loses them.
        """
        for table, pending in self._pending.items():
            if pending and ready.get(table, True):
                taken = list(islice(pending, limit))
                for prefix in taken:
                    del pending[prefix]
                desired = self._desired.get(table, {}) if table in ready else {}
                return table, list(self._changes(table, taken, desired, resolve, wanted))
        return None

    def _changes(
        self,
        table: int,
        taken: list[Prefix],
        desired: Mapping[Prefix, NextHopKey],
        resolve: Resolve,
        wanted: Container[NextHopKey],
    ) -> Iterator[tuple[Prefix, int]]:
        actual = self.actual.get(table, {})
        for prefix in taken:
            key = desired.get(prefix)
            next_hop = 0
            if key is not None:
                next_hop = resolve(key) or 0
                if not next_hop:
                    self._waiting.setdefault(key, set()).add((table, prefix))
                    if key in wanted:
                        continue
            if actual.get(prefix, 0) != next_hop:
                yield prefix, next_hop

    def done(
        self, table: int, changes: Iterable[tuple[Prefix, int]], refused: Mapping[Prefix, object]
    ) -> None:
        """Note what the kernel has taken."""
        actual = self.actual.setdefault(table, {})
        uses = self.uses
        for prefix, next_hop in changes:
            if prefix in refused:
                continue
            before = actual.get(prefix)
            if before is not None:
                uses[before] -= 1
            if next_hop:
                actual[prefix] = next_hop
                uses[next_hop] += 1
            elif before is not None:
                del actual[prefix]
        if not actual:
            del self.actual[table]

    def next_hop_ready(self, key: NextHopKey) -> None:
        """The routes that waited for a next hop can go on."""
        for table, prefix in self._waiting.pop(key, ()):
            self.changed(table, (prefix,))

    def next_hops_lost(self, identifiers: Collection[int]) -> int:
        """Next hops vanished, and in the kernel all their routes with them; returns how many."""
        if not any(self.uses[i] > 0 for i in identifiers):
            return 0
        count = 0
        for table, actual in self.actual.items():
            lost = [prefix for prefix, next_hop in actual.items() if next_hop in identifiers]
            for prefix in lost:
                del actual[prefix]
            self.changed(table, lost)
            count += len(lost)
        for identifier in identifiers:
            del self.uses[identifier]
        return count

    def route_lost(self, table: int, prefix: Prefix) -> bool:
        """Somebody else removed or replaced a route of ours; True if that is news."""
        next_hop = self.actual.get(table, {}).pop(prefix, None)
        if next_hop is None:
            return False
        self.uses[next_hop] -= 1
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
