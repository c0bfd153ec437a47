"""Next hops and routes: what is desired of them, and their way into the kernel.

Everything here is synchronous and short: one next hop, or one batch of routes, at a time. The
reconciler calls ``urgent`` between batches, so that a change of path never waits behind a bulk.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.model.desired import Desired, NextHop, NextHopKey
from controlplane.model.log import Log
from controlplane.model.prefix import Afi, Prefix
from pe.fib.next_hop_ids import NextHopIds
from pe.fib.next_hop_objects import NextHopKernel, NextHopObjects, Read
from pe.fib.next_hop_wire import Content
from pe.fib.next_hops import NextHopGroupTable
from pe.fib.route_batch import SEND_ROUTES, Change
from pe.fib.routes import RouteTables
from pe.model.state import NEXT_HOP, ROUTE, ROUTE_TABLE, Failures
from pe.netlink.ownership import BLACKHOLE

SHOWN_FAILURES = 1000
"""Routes whose failures are kept one by one; beyond that only their retry is."""

AUDITED_NEXT_HOPS = 256
"""Objects that one audit reads again: its cost does not grow with their number."""


class RouteKernel(Protocol):
    """The kernel's route tables. Every method raises OSError."""

    def write(self, table: int, changes: list[Change]) -> dict[Prefix, OSError]:
        """Put or remove a batch; returns what was refused."""

    def dump(self, table: int = 0) -> list[tuple[int, Prefix, int]]:
        """Return our routes of a table (0: of all) as (table, prefix, next-hop id)."""

    def forget(self, table: int) -> None:
        """Drop what is kept for a table that is no longer used."""


@dataclass(frozen=True, slots=True)
class NextHopView:
    """A desired next hop and its state: ``identifier`` 0 while the kernel has no object."""

    next_hop: NextHop
    identifier: int
    routes: int
    waiting: int


class FibManager:
    """Brings next hops and routes to ``desired``, which the reconciler applies changes to.

    ``wrote`` is called with each batch that the kernel has taken, or some of it.

    Every entry in ``failures`` of its kinds is one that ``retry`` tries again, and that goes once
    it is done or no longer desired.
    """

    def __init__(
        self,
        desired: Desired,
        next_hops: NextHopKernel,
        routes: RouteKernel,
        failures: Failures,
        log: Log,
        wrote: Callable[[int, list[Change]], None] = lambda *_: None,
    ) -> None:
        self._desired, self._routes_kernel, self._failures = desired, routes, failures
        self._log, self._wrote = log, wrote
        self.routes = RouteTables(desired.routes)
        self._objects = NextHopObjects(next_hops, self._next_hops_lost)
        self._ids = NextHopIds(self._is_referenced)
        self.groups = NextHopGroupTable(self._objects, self._ids)
        self._changed: dict[NextHopKey, None] = {}
        self._still_referenced: set[int] = set()
        self._retries: list[tuple[float, int, Prefix]] = []
        self._retry_at: dict[tuple[int, Prefix], float] = {}
        self._refused_next_hops: dict[NextHopKey, None] = {}
        self._unread: dict[int, None] = {}
        self._hidden: dict[tuple[int, Prefix], None] = {}
        self._swept = False
        self._audited = 0
        self.written = self.refused = self.path_changes = 0
        self.lost = [0, 0]
        """Next hops and routes that went with a device since ``report_lost``."""

    def _is_referenced(self, identifier: int) -> bool:
        objects = self._objects
        known = identifier in objects or identifier in objects.foreign
        return known or self.routes.uses[identifier] > 0

    def load(self, next_hops: Read, routes: Iterable[tuple[int, Prefix, int]]) -> None:
        """Take in full dumps, at start and after lost events, and compare with them alone."""
        self.groups.load(next_hops)
        self.routes.load(routes)
        for table in list(self._unread):
            self._table_read(table)
        self._changed.update(dict.fromkeys(self._desired.next_hops))
        self.routes.compare()
        if self._swept:
            self._sweep()

    def next_hops_changed(self, keys: Iterable[NextHopKey]) -> None:
        """Make pending the next hops that are new, have other paths, or are no longer desired."""
        self._changed.update(dict.fromkeys(keys))

    def next_due(self) -> float | None:
        """Return when the first refused route is to be tried again."""
        return self._retries[0][0] if self._retries else None

    # -- next hops ----------------------------------------------------------------------------

    def urgent(self, devices: Mapping[str, int], now: float) -> int:
        """Change the paths of next hops that carry routes already; returns how many."""
        keys = [key for key in self._changed if self.groups.id_of(key) is not None]
        for key in keys:
            self._converge(key, devices, now)
        self.path_changes += len(keys)
        return len(keys)

    def converge_all(self, devices: Mapping[str, int], now: float) -> None:
        """Bring every changed next hop to what is desired."""
        for afi in Afi:
            self._create_blackhole(afi, devices, now)
        for key in list(self._changed):
            self._converge(key, devices, now)

    def _create_blackhole(self, afi: Afi, devices: Mapping[str, int], now: float) -> None:
        name = f"{BLACKHOLE} {afi.name.lower()}"
        if self._failures.waiting(NEXT_HOP, name, now):
            return
        try:
            if self.groups.create_blackhole(afi, devices):
                self._changed.update(dict.fromkeys(self._desired.next_hops))
            self._failures.cleared(NEXT_HOP, name)
        except OSError as error:
            self._failures.failed(NEXT_HOP, name, error, now)
            self._verify(self.groups.blackhole_ids())

    def retry(self, now: float) -> None:
        """Make pending what failed some time ago."""
        while self._retries and self._retries[0][0] <= now:
            due, table, prefix = heapq.heappop(self._retries)
            if self._retry_at.get((table, prefix)) == due:  # else it was refused again since
                self.routes.changed(table, (prefix,))
        for key in self._refused_next_hops:
            if self._failures.due(NEXT_HOP, str_key(key), now):
                self._changed[key] = None
        for table in list(self._unread):
            if not self._failures.waiting(ROUTE_TABLE, str(table), now):
                self._read_table(table, now)

    def _converge(self, key: NextHopKey, devices: Mapping[str, int], now: float) -> None:
        del self._changed[key]
        self._refused_next_hops.pop(key, None)
        next_hop = self._desired.next_hops.get(key)
        if next_hop is None:
            self._ids.release(key)
            self._failures.cleared(NEXT_HOP, str_key(key))
            return
        before = self.groups.id_of(key)
        try:
            self._try(next_hop, devices)
            self._failures.cleared(NEXT_HOP, str_key(key))
        except OSError as error:
            self._fail(NEXT_HOP, str_key(key), error, now)
            self._refused_next_hops[key] = None
        self._changed.pop(key, None)  # a loss that was found above is made good already
        if before is None and self.groups.id_of(key) is not None:
            self.routes.next_hop_ready(key)

    def _try(self, next_hop: NextHop, devices: Mapping[str, int]) -> None:
        """Write a next hop; once more if the kernel turns out to have other objects."""
        try:
            self.groups.converge(next_hop, devices)
        except OSError:
            if not self._verify([*self._ids.of(next_hop.key), *self.groups.blackhole_ids()]):
                raise
            self.groups.converge(next_hop, devices)

    # -- verification against the kernel --------------------------------------------------------

    def _verify(self, identifiers: Iterable[int]) -> set[int]:
        return self._take_wrong(self._objects.verify(identifiers))

    def verify_devices(self, indexes: Iterable[int]) -> None:
        """Compare the next hops that lead to devices with the kernel: a device that goes down
        takes them, their groups and their routes with it, and no notification is sent."""
        self._take_wrong(self._objects.verify_devices(indexes))

    def audit(self) -> None:
        """Compare the next ``AUDITED_NEXT_HOPS`` objects with the kernel, round robin."""
        some = self._objects.some_after(self._audited, AUDITED_NEXT_HOPS)
        self._audited = some[-1] if some else 0
        self._verify(some)

    def devices(self) -> Iterable[int]:
        """Return the indexes of the devices that next hops lead to."""
        return self._objects.devices()

    def _take_wrong(self, wrong: set[int]) -> set[int]:
        for identifier in wrong:
            key = self._ids.owner(identifier)
            if key is not None and key in self._desired.next_hops:
                self._changed[key] = None
            if identifier in self._objects.foreign:
                self._ids.disown(identifier)
        return wrong

    def _next_hops_lost(self, identifiers: set[int]) -> None:
        self.lost[0] += len(identifiers)
        self.lost[1] += self.routes.next_hops_lost(identifiers)

    def report_lost(self) -> None:
        """Log the next hops lost with devices since the last call: one line for all of them."""
        count, routes = self.lost
        if count:
            self._log("info", "next_hops_lost", {"count": count, "routes": routes})
            self.lost = [0, 0]

    def object_seen(self, identifier: int, content: Content | None) -> int | None:
        """Take in another program's change of one of our next hops. Returns how many routes were
        lost with it, None if the notification has nothing new."""
        before = list(self.lost)
        if not self._objects.seen(identifier, content):
            return None
        self._take_wrong({identifier})
        routes, self.lost = self.lost[1] - before[1], before
        return routes

    # -- routes -------------------------------------------------------------------------------

    def batch(self, ready: Mapping[int, bool], now: float) -> int:
        """Write one batch of routes; returns how many prefixes were looked at, 0 at the end."""
        self._delete_hidden(now)
        if self._unread:
            ready = {**ready, **dict.fromkeys(self._unread, False)}
        batch = self.routes.batch(SEND_ROUTES, self.groups.id_of, self._desired.next_hops, ready)
        if batch is None:
            return 0
        table, taken, changes = batch
        refused = self._write(table, changes, now) if changes else {}
        self._clear_failures(table, taken, refused)
        return len(taken)

    def route_hidden(self, table: int, prefix: Prefix) -> bool:
        """Note that another program's route precedes one of ours in the kernel; False if we have
        none there."""
        if not self.routes.installed(table, prefix):
            return False
        self._hidden[table, prefix] = None
        return True

    def _delete_hidden(self, now: float) -> None:
        """Delete routes that others precede, to write them anew: written as they are, they would
        take the place of the other one, and their old one would stay behind them."""
        hidden, self._hidden = self._hidden, {}
        for table, prefix in hidden:
            self._write(table, [(prefix, 0)], now)
            self.routes.changed(table, (prefix,))

    def _write(self, table: int, changes: list[Change], now: float) -> Mapping[Prefix, object]:
        """Write a batch; returns those of its prefixes that have to be looked at again."""
        try:
            refused = self._routes_kernel.write(table, changes)
        except OSError as error:
            # How much of it the kernel took is unknown. What was desired is not the measure: a
            # route that was to be withdrawn stayed for good.
            self.routes.changed(table, [prefix for prefix, _ in changes])
            self._unread[table] = None
            self._fail(ROUTE_TABLE, str(table), error, now)
            return dict(changes)
        self._wrote(table, changes)
        real = {prefix: e for prefix, e in refused.items() if not _is_gone(e)}
        self.routes.done(table, changes, real)
        self.written += len(changes) - len(real)
        self.refused += len(real)
        if real:
            self._note_refused(table, real, now)
            self._verify({next_hop for prefix, next_hop in changes if next_hop and prefix in real})
        return real

    def _note_refused(self, table: int, refused: Mapping[Prefix, OSError], now: float) -> None:
        fresh = 0
        for prefix, error in refused.items():
            if self._failures.count(ROUTE) < SHOWN_FAILURES:
                fresh += self._failures.failed(ROUTE, f"{table} {prefix}", error, now)
            due = now + self._failures.delay(ROUTE, f"{table} {prefix}")
            self._retry_at[table, prefix] = due
            heapq.heappush(self._retries, (due, table, prefix))
        if fresh:
            prefix, error = next(iter(refused.items()))
            words = error.strerror or str(error)
            fields = {"kind": ROUTE, "name": f"{table} {prefix}", "reason": words}
            self._log("error", "kernel_refused", {**fields, "count": len(refused)})

    def _clear_failures(
        self, table: int, taken: Iterable[Prefix], refused: Container[Prefix]
    ) -> None:
        """Clear the failures of routes that are now installed as desired, or no longer desired."""
        if self._retry_at:
            for prefix in taken:
                if prefix not in refused and (table, prefix) in self._retry_at:
                    del self._retry_at[table, prefix]
                    self._failures.cleared(ROUTE, f"{table} {prefix}")

    def _read_table(self, table: int, now: float) -> None:
        """Compare one table with the kernel, after a write that failed."""
        try:
            found = self._routes_kernel.dump(table)
        except OSError as error:
            self._fail(ROUTE_TABLE, str(table), error, now)
            return
        self.routes.load_table(table, found)
        self._table_read(table)
        self.routes.table_changed(table, sweep=self._swept)

    def _table_read(self, table: int) -> None:
        self._unread.pop(table, None)
        self._failures.cleared(ROUTE_TABLE, str(table))

    # -- deletion -------------------------------------------------------------------------------

    def collect(self, now: float) -> bool:
        """Remove next hops that nothing uses any more. True if routes turned out to use a next
        hop that is not desired: they are pending now."""
        still = set()
        for bundle in self._ids.pending():
            if self.routes.uses[bundle[0]] > 0:
                still.add(bundle[0])
            elif self._delete(bundle, now):
                self._ids.deleted(bundle)
        fresh, self._still_referenced = still - self._still_referenced, still
        if fresh:
            self.routes.users_changed(fresh)
        return bool(fresh)

    def release_table(self, table: int) -> bool:
        """Release what is kept for a table whose VRF is gone; False while it has routes."""
        if table in self.routes.actual or table in self._unread:
            return False
        self._routes_kernel.forget(table)
        return True

    def _delete(self, bundle: tuple[int, ...], now: float) -> bool:
        if any(self._failures.waiting(NEXT_HOP, f"id {i}", now) for i in bundle):
            return False
        for identifier, error in self.groups.delete(bundle):
            if error is not None:
                self._fail(NEXT_HOP, f"id {identifier}", error, now)
                return False
            self._failures.cleared(NEXT_HOP, f"id {identifier}")
        return True

    def sweep(self) -> None:
        """Delete, from now on, every object of ours in the kernel that is not desired."""
        self._swept = True
        self._sweep()

    def _sweep(self) -> None:
        self.routes.sweep()
        self.groups.delete_orphans()

    def _fail(self, kind: str, key: str, error: OSError, now: float) -> None:
        self._failures.report(self._log, kind, key, error, now)

    def views(self) -> list[NextHopView]:
        """Return every desired next hop with its state."""
        waiting = self.routes.waiting()
        return [
            NextHopView(
                next_hop,
                identifier := self.groups.id_of(key) or 0,
                self.routes.uses[identifier] if identifier else 0,
                waiting.get(key, 0),
            )
            for key, next_hop in self._desired.next_hops.items()
        ]


def _is_gone(error: OSError) -> bool:
    return error.errno == errno.ESRCH  # a removal of what is not there


def str_key(key: NextHopKey) -> str:
    """Return a next hop's name in logs and failures."""
    label = f" label {key.label}" if key.label >= 0 else ""
    device = f" dev {key.device}" if key.device else ""
    return f"{key.address or 'none'}{label}{device} {key.afi.name.lower()}"
