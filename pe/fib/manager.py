"""Next hops and routes: the books of what should be, and their way into the kernel.

Everything here is synchronous and short: one next hop, or one slice of routes, at a time. The
agent calls ``urgent`` between slices, so that a change of path never waits behind a bulk.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.model.desired import Desired, NextHop, NextHopKey
from controlplane.model.prefix import Afi, Prefix
from pe.fib.next_hop_wire import Content, is_ours
from pe.fib.next_hops import NextHopGroupTable, NextHopKernel
from pe.fib.route_batch import SEND_ROUTES, Change
from pe.fib.routes import RouteBook
from pe.model.state import Failures
from pe.netlink.ownership import VOID

SHOWN_FAILURES = 1000
"""Routes whose failures are kept one by one; beyond that only their retry is."""


class RouteKernel(Protocol):
    """Where routes go."""

    def write(self, table: int, changes: list[Change]) -> dict[Prefix, OSError]:
        """Put or remove a slice; returns what was refused."""

    def forget(self, table: int) -> None:
        """The table is no longer used."""


@dataclass(frozen=True, slots=True)
class NextHopView:
    """A desired next hop as it stands: ``identifier`` 0 while the kernel has none."""

    next_hop: NextHop
    identifier: int
    routes: int
    waiting: int


class FibManager:
    """Holds both books. ``desired`` is shared with the agent, which applies changes to it."""

    def __init__(
        self,
        desired: Desired,
        next_hops: NextHopKernel,
        routes: RouteKernel,
        failures: Failures,
    ) -> None:
        self._desired, self._routes_kernel, self._failures = desired, routes, failures
        self.book = NextHopGroupTable(next_hops)
        self.routes = RouteBook(desired.routes)
        self._changed: dict[NextHopKey, None] = {}
        self._doomed: list[list[int]] = []
        self._undead: set[int] = set()
        self._retries: list[tuple[float, int, Prefix]] = []
        self._refused_next_hops: dict[NextHopKey, None] = {}
        self.written = self.refused = self.path_changes = 0

    def load(
        self,
        next_hops: Mapping[int, tuple[int, Content | None]],
        routes: Iterable[tuple[int, Prefix, int]],
    ) -> None:
        """Take in full dumps, at start and after lost events, and compare anew."""
        ours = {i: c for i, (protocol, c) in next_hops.items() if is_ours(i, protocol) and c}
        self.book.load(ours)
        self.routes.load(routes)
        self._changed.update(dict.fromkeys(self._desired.next_hops))
        self.routes.compare()

    def next_hops_changed(self, keys: Iterable[NextHopKey]) -> None:
        """These have another path, are new, or are wanted no more."""
        self._changed.update(dict.fromkeys(keys))

    def next_due(self) -> float | None:
        """When the first refused route is to be tried again."""
        return self._retries[0][0] if self._retries else None

    def urgent(self, devices: Mapping[str, int], now: float) -> int:
        """Change the paths of next hops that carry routes already; returns how many."""
        keys = [key for key in self._changed if self.book.id_of(key) is not None]
        for key in keys:
            self._converge(key, devices, now)
        self.path_changes += len(keys)
        return len(keys)

    def converge_all(self, devices: Mapping[str, int], now: float) -> None:
        """Bring every changed next hop to what it should be."""
        for afi in Afi:
            self._open_void(afi, devices, now)
        for key in list(self._changed):
            self._converge(key, devices, now)

    def _open_void(self, afi: Afi, devices: Mapping[str, int], now: float) -> None:
        name = f"{VOID} {afi.name.lower()}"
        if self._failures.waiting("next-hop", name, now):
            return
        try:
            if self.book.open_void(afi, devices):
                self._changed.update(dict.fromkeys(self._desired.next_hops))
            self._failures.cleared("next-hop", name)
        except OSError as error:
            self._failures.failed("next-hop", name, error, now)

    def retry(self, now: float) -> None:
        """Make pending what failed some time ago."""
        while self._retries and self._retries[0][0] <= now:
            _, table, prefix = self._retries.pop(0)
            self.routes.changed(table, (prefix,))
        for key in self._refused_next_hops:
            if self._failures.due("next-hop", str_key(key), now):
                self._changed[key] = None

    def _converge(self, key: NextHopKey, devices: Mapping[str, int], now: float) -> None:
        del self._changed[key]
        self._refused_next_hops.pop(key, None)
        next_hop = self._desired.next_hops.get(key)
        if next_hop is None:
            if ids := self.book.forget(key):
                self._doomed.append(ids)
            self._failures.cleared("next-hop", str_key(key))
            return
        before = self.book.id_of(key)
        try:
            self.book.converge(next_hop, devices)
            self._failures.cleared("next-hop", str_key(key))
        except OSError as error:
            self._failures.failed("next-hop", str_key(key), error, now)
            self._refused_next_hops[key] = None
        if before is None and self.book.id_of(key) is not None:
            self.routes.next_hop_ready(key)

    def slice(self, ready: Mapping[int, bool], now: float) -> int:
        """Write one slice of routes; returns how many prefixes were looked at, 0 at the end."""
        before = len(self.routes)
        batch = self.routes.batch(SEND_ROUTES, self.book.id_of, self._desired.next_hops, ready)
        if batch is None:
            return 0
        table, changes = batch
        if changes:
            refused = self._routes_kernel.write(table, changes)
            real = {prefix: e for prefix, e in refused.items() if not self._is_gone(e)}
            self.routes.done(table, changes, real)
            self.written += len(changes) - len(real)
            self.refused += len(real)
            self._note(table, changes, real, now)
        return before - len(self.routes)

    @staticmethod
    def _is_gone(error: OSError) -> bool:
        return error.errno == errno.ESRCH  # a removal of what is not there

    def _note(
        self, table: int, changes: list[Change], refused: Mapping[Prefix, OSError], now: float
    ) -> None:
        if self._failures.count("route"):
            for prefix, _ in changes:
                if prefix not in refused:
                    self._failures.cleared("route", f"{table} {prefix}")
        for prefix, error in refused.items():
            if self._failures.count("route") < SHOWN_FAILURES:
                self._failures.failed("route", f"{table} {prefix}", error, now)
            delay = self._failures.delay("route", f"{table} {prefix}")
            self._retries.append((now + delay, table, prefix))
        if refused:
            self._retries.sort(key=lambda entry: entry[0])

    def bury(self, now: float) -> bool:
        """Remove next hops that nothing uses any more. True if routes turned out to use a next
        hop that nobody wants: they are pending now."""
        uses = self.routes.uses
        ripe = [ids for ids in self._doomed if uses[ids[0]] == 0]
        self._doomed = [ids for ids in self._doomed if uses[ids[0]] > 0]
        for ids in ripe:
            for identifier, error in self.book.remove(ids):
                self._failures.failed("next-hop", f"id {identifier}", error, now)
        still = {ids[0] for ids in self._doomed}
        fresh, self._undead = still - self._undead, still
        if fresh:
            self.routes.users_changed(fresh)
        return bool(fresh)

    def release_table(self, table: int) -> bool:
        """Release what is kept for a table whose VRF is gone; False while it has routes."""
        if table in self.routes.actual:
            return False
        self._routes_kernel.forget(table)
        return True

    def sweep(self) -> None:
        """Everything left by a former run that is not desired goes."""
        self.routes.sweep()
        known = {ids[0] for ids in self._doomed}
        self._doomed += [ids for ids in self.book.unadopted() if ids[0] not in known]

    def object_seen(self, identifier: int, content: Content | None) -> int | None:
        """A next hop of ours changed without us. Returns how many routes went with it, None if
        that is no news."""
        if not self.book.seen(identifier, content):
            return None
        key = self.book.key_of(identifier)
        if key is not None and key in self._desired.next_hops:
            self._changed[key] = None
        return self.routes.next_hops_lost({identifier}) if content is None else 0

    def reread(self, next_hops: Mapping[int, tuple[int, Content | None]]) -> tuple[int, int]:
        """Compare with a dump: a device that goes down takes its next hops, their groups and
        their routes with it, and the kernel says nothing of it (nexthop_flush_dev). Returns how
        many next hops and how many routes were lost."""
        seen = {i: content for i, (_, content) in next_hops.items()}
        gone = self.book.objects.keys() - seen.keys()
        changed = [i for i, c in self.book.objects.items() if i in seen and seen[i] != c]
        # Routes first, while it is known who used what.
        routes = self.routes.next_hops_lost(gone)
        for identifier in (*gone, *changed):
            self.object_seen(identifier, seen.get(identifier))
        return len(gone), routes

    def views(self) -> list[NextHopView]:
        """Every desired next hop as it stands."""
        waiting = self.routes.waiting()
        return [
            NextHopView(
                next_hop,
                identifier := self.book.id_of(key) or 0,
                self.routes.uses[identifier] if identifier else 0,
                waiting.get(key, 0),
            )
            for key, next_hop in self._desired.next_hops.items()
        ]


def str_key(key: NextHopKey) -> str:
    """A next hop's name in logs and failures."""
    label = f" label {key.label}" if key.label >= 0 else ""
    device = f" dev {key.device}" if key.device else ""
    return f"{key.address or 'none'}{label}{device} {key.afi.name.lower()}"
