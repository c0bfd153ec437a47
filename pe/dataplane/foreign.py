"""Report what other programs put in the way of the VRFs' packets: routes, rules, and chains that
set marks (``pe.dataplane.foreign_chains``). Routes are removed where the configuration asks for
it: whose they are, and what for, is the operator's to know."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from controlplane.model.desired import Desired
from controlplane.model.log import Log
from controlplane.model.prefix import Prefix
from controlplane.model.route_view import ForeignRouteView
from controlplane.model.supervision import Part
from pe.dataplane.foreign_table import ForeignTable
from pe.fib import next_hop_wire
from pe.netlink import codec as nl
from pe.netlink import foreign, rtnl, rules
from pe.netlink.foreign import ForeignRoute
from pe.netlink.main_routes import RawPath

LOG_SECONDS = 10.0
"""Between two lines about routes, rules or chains: programs may bring thousands one by one."""
AGAIN_SECONDS, AGAIN_SHARE, AGAIN_LATEST = 2.0, 10.0, 30.0
"""Before tables are read again of which events do not show what is left: so long, or so many times
as long as the last reading took, but no longer than the last of these."""
CHECK_SECONDS = 60.0
"""Before tables with foreign routes are read again in any case."""
REMOVE_SECONDS, REMOVED_AT_ONCE, REFUSED_SECONDS = 1.0, 200, 30.0
"""Routes are removed some at a time, some milliseconds' worth; one that the kernel refused to
remove is tried again later."""
MOST = 10_000
"""Routes that are kept by name."""
_PROTOCOLS = {3: "boot", 4: "static", 9: "ra", 11: "zebra", 12: "bird", 16: "dhcp",
              42: "babel", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip"}  # fmt: skip
_KINDS = {1: "", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast",
          6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}  # fmt: skip

_NO_HOP = RawPath(0, None, ())


class Found(NamedTuple):
    """What a reading found: routes by table, rules in words, and the tables that changed while
    they were read."""

    tables: dict[int, ForeignTable]
    rules: dict[str, None]
    changed: set[int]


class ForeignObjects:
    """The foreign routes in the VRFs' tables, and the foreign rules before them.

    They are followed by notifications. Tables that are new, and those of which notifications do
    not show what is left, are read, in a thread.
    """

    def __init__(self, desired: Desired, log: Log, part: Part) -> None:
        self._desired, self._log, self._part = desired, log, part
        self.rules: dict[str, None] = {}
        self._routes: dict[int, ForeignTable] = {}
        self._count = 0
        self.chains: tuple[str, ...] = ()
        """What chains of other programs do that may touch the node's marks and log groups."""
        self._tables: dict[int, str] = {}
        self._is_stale = True
        self._unread: set[int] = set()
        self._doubtful: set[int] = set()
        self._rules_doubtful = False
        self._reading: set[int] | None = None
        self._read_at = self._check_at = float("-inf")
        self._unreadable = False
        self._devices_down: set[int] = set()
        self._objects_gone: set[int] = set()
        self._address_gone = False
        self._logged: dict[str, tuple[int, float]] = {}
        self._remove_at = float("-inf")
        self._refused: dict[ForeignRoute, float] = {}

    # -- notifications ------------------------------------------------------------------------

    def route_event(self, message: nl.Message) -> None:
        """Take in a notification of a route that our writer did not cause."""
        route = foreign.parse_route(message.body, self._tables)
        if route is None:
            return
        number, key, way = route
        table = self._routes.get(number) or ForeignTable()
        before = table.count
        if not table.take(message, key, way, room=self._count < MOST):
            self._doubtful.add(number)
        self._count += table.count - before
        self._keep(number, table)
        if self._reading and number in self._reading:
            self._doubtful.add(number)  # the dump under way may have it or not

    def ours_written(self, number: int, changes: Sequence[tuple[Prefix, int]]) -> None:
        """Note that routes of ours were written, of which no notification comes: one with our
        metric that was there is gone, where ours took its place (``NLM_F_REPLACE``)."""
        table = self._routes.get(number)
        if table is None or not (shared := table.at_our_metric):
            return
        if any(prefix in shared for prefix, _ in changes):
            self._doubtful.add(number)

    def _keep(self, number: int, table: ForeignTable) -> None:
        if table.count or table.more:
            self._routes[number] = table
        else:
            self._routes.pop(number, None)

    def rule_event(self, kind: int, rule: rules.RawRule) -> None:
        """Take in a notification of a rule (``kind`` is the type of the message)."""
        words = rules.foreign(rule)
        if not words:
            return
        if kind == nl.RTM_NEWRULE:
            self.rules[words] = None
        else:
            self.rules.pop(words, None)
            self._rules_doubtful = True  # there may be another one of the same words
        self._rules_doubtful |= self._reading is not None  # the dump under way may have it or not

    def device_down(self, index: int) -> None:
        """Note that a device is down or gone: its routes may be gone without a notification."""
        if self._routes:
            self._devices_down.add(index)

    def address_gone(self, index: int) -> None:
        """Note that an address is gone: routes with that source are, and with the last one of a
        device the device's."""
        self.device_down(index)
        self._address_gone |= bool(self._routes)

    def object_gone(self, message: nl.Message) -> None:
        """Note that a next-hop object is gone: its routes are, without a notification."""
        if self._routes:
            self._objects_gone.add(next_hop_wire.parse(message.body)[0])

    # -- reading ------------------------------------------------------------------------------

    def take_chains(self, chains: tuple[str, ...]) -> None:
        """Take in what was read of other programs' chains."""
        self.chains = chains

    def read_anew(self) -> None:
        """Read everything: at start, and after notifications were lost."""
        self._tables, self._is_stale = {}, True

    def tables_changed(self) -> None:
        """Note that VRFs came, went or have other tables."""
        self._is_stale = True

    @property
    def due(self) -> float | None:
        """Return when there is something to read, on the loop's clock; None if there is nothing."""
        if self._reading is not None or not self._tables:
            return None
        if self._has_doubts:
            return self._read_at
        return self._check_at if self._routes else None

    @property
    def _has_doubts(self) -> bool:
        gone = self._devices_down or self._objects_gone or self._address_gone
        return bool(self._doubtful or self._rules_doubtful or gone or self._can_list_more)

    @property
    def _can_list_more(self) -> bool:
        return self._count < MOST and any(table.more for table in self._routes.values())

    def follow(self, now: float) -> None:
        """Follow the tables of the VRFs as they are; read those that are new, and in their time
        those that are doubtful."""
        if self._is_stale:
            self._is_stale = False
            wanted = {vrf.table: name for name, vrf in self._desired.vrfs.items()}
            self._unread |= wanted.keys() - self._tables.keys()
            self._tables = wanted
            self._routes = {n: table for n, table in self._routes.items() if n in wanted}
            self._count = sum(table.count for table in self._routes.values())
        if self._reading is not None or not self._tables:
            return
        again = now >= self._read_at and (self._has_doubts or now >= self._check_at)
        if again:
            self._unread |= self._doubtful | self._affected(now)
            self._doubtful.clear()
        self._unread &= self._tables.keys()
        if self._unread or (again and self._rules_doubtful):
            self._rules_doubtful = False
            self._reading, self._unread = self._unread, set()
            self._part.spawn(self._read(self._reading))

    def _affected(self, now: float) -> set[int]:
        """Return the tables of which routes may be gone, or have come, without a notification."""
        if now >= self._check_at:
            self._check_at = now + CHECK_SECONDS
            found = set(self._routes)
        else:
            room, sources = self._count < MOST, self._address_gone
            down, gone = self._devices_down, self._objects_gone
            asked = bool(down or gone or sources)
            found = {n for n, table in self._routes.items()
                     if (table.more and (room or asked))
                     or (asked and table.depends(down, gone, sources=sources))}  # fmt: skip
        self._devices_down, self._objects_gone, self._address_gone = set(), set(), False
        return found

    async def _read(self, tables: set[int]) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        others = sum(table.count for n, table in self._routes.items() if n not in tables)
        try:
            found = await asyncio.to_thread(_dump, sorted(tables), max(MOST - others, 0))
            self._unreadable = False
            self._take(tables, found)
        except Exception as error:
            self._doubtful |= tables
            self._rules_doubtful = True
            if not isinstance(error, OSError):
                raise
            if not self._unreadable:
                self._log_refusal("tables and rules", error)
            self._unreadable = True
        finally:
            self._reading = None
            pause = min(AGAIN_SHARE * (clock() - began), AGAIN_LATEST)
            self._read_at = clock() + max(pause, AGAIN_SECONDS)

    def _take(self, tables: set[int], found: Found) -> None:
        for number in tables & self._tables.keys():  # the VRF of another went meanwhile
            self._keep(number, found.tables.get(number) or ForeignTable())
        self._count = sum(table.count for table in self._routes.values())
        self._doubtful |= found.changed
        self.rules = found.rules

    # -- removal ------------------------------------------------------------------------------

    def remove(self, now: float) -> None:
        """Request the removal of some of the routes, as ``foreign-routes: remove`` has it, at most
        once a second: a program may put them back at once. A route is gone when the kernel notifies
        of it."""
        if not self._count or now < self._remove_at:
            return
        self._remove_at = now + REMOVE_SECONDS
        asked = (route for route in self._all() if self._refused.get(route, now) <= now)
        refusals: list[tuple[ForeignRoute, OSError]] = []
        with closing(nl.NetlinkSocket()) as sock:
            for route in (some := [*islice(asked, REMOVED_AT_ONCE)]):
                try:
                    foreign.delete_route(sock, route)
                except OSError as error:
                    refusals.append((route, error))
        if removed := len(some) - len(refusals):
            self._log("warning", "foreign_routes_removed", {"count": removed})
        self._not_removed(refusals, now)

    @property
    def remove_due(self) -> float | None:
        """Return when routes may be removed again, None if there are none."""
        return self._remove_at if self._count else None

    def _all(self) -> Iterator[ForeignRoute]:
        for number, table in self._routes.items():
            yield from (ForeignRoute(number, key, way) for key, way in table)

    def _not_removed(self, refusals: list[tuple[ForeignRoute, OSError]], now: float) -> None:
        """Read what is there: a route that the kernel does not find may be gone without a
        notification. If it is still there after that, the kernel refuses it."""
        known = {r: at for r, at in self._refused.items() if at > now - REFUSED_SECONDS}
        self._refused = {**known, **{route: now + REFUSED_SECONDS for route, _ in refusals}}
        self._doubtful |= {route.table for route, _ in refusals}
        news = [r for r in refusals if r[1].errno != errno.ESRCH or r[0] in known]
        if news:
            route, error = news[0]
            self._log_refusal(str(route.key.prefix), error, len(news))

    def _log_refusal(self, name: str, error: OSError, count: int = 1) -> None:
        fields = {"kind": "foreign-route", "name": name, "reason": error.strerror or str(error)}
        self._log("error", "kernel_refused", {**fields, "count": count})

    # -- reports and answers ------------------------------------------------------------------

    def __len__(self) -> int:
        return self._number_of_routes() + len(self.rules) + len(self.chains)

    def _number_of_routes(self) -> int:
        return sum(table.count + table.more for table in self._routes.values())

    def report(self, now: float) -> None:
        """Log what is new or gone, in one line for each kind."""
        if self._is_news("routes", count := self._number_of_routes(), now):
            if count:
                self._log("warning", "foreign_routes", {"count": count, "first": self._first()})
            else:
                self._log("info", "foreign_routes_gone", {})
        if self._is_news("rules", count := len(self.rules), now):
            if count:
                first = next(iter(self.rules))
                self._log("warning", "foreign_rules", {"count": count, "first": first})
            else:
                self._log("info", "foreign_rules_gone", {})
        if self._is_news("chains", count := len(self.chains), now):
            if count:
                self._log("warning", "foreign_chains", {"count": count, "first": self.chains[0]})
            else:
                self._log("info", "foreign_chains_gone", {})

    def _first(self) -> str:
        return next((f"{self._tables.get(r.table, '')} {r.key.prefix}" for r in self._all()), "")

    def _is_news(self, kind: str, count: int, now: float) -> bool:
        before, at = self._logged.get(kind, (0, float("-inf")))
        if count == before or now < at + LOG_SECONDS:
            return False
        self._logged[kind] = (count, now)
        return True

    def shown(self, most: int) -> tuple[str, ...]:
        """Return some of them in words: chains, rules, then routes by VRF."""
        by_vrf = sorted((self._tables.get(n, ""), table) for n, table in self._routes.items())
        routes = [
            f"{table.count + table.more} routes in VRF {vrf}: pe show routes"
            + (f" lists {table.count} of them" if table.more else "")
            for vrf, table in by_vrf
        ]
        chains = [f"chain {words}" for words in self.chains]
        return tuple([*chains, *(f"rule {words}" for words in self.rules), *routes][:most])

    def of(self, table: int, device: Callable[[int], str]) -> Iterator[ForeignRouteView]:
        """Yield the foreign routes of a table as it is now, one view per next hop; ``device`` names
        a device by its number."""
        followed = self._routes.get(table) or ForeignTable()
        for place, key, way in followed.in_order():
            maker = _PROTOCOLS.get(way.protocol, str(way.protocol))
            for hop in way.hops or (_NO_HOP,):
                gateway = f"nhid {way.next_hop}" if way.next_hop else str(hop.gateway or "")
                yield ForeignRouteView(
                    key.prefix, gateway, device(hop.oif) if hop.oif else "", maker, key.metric,
                    _KINDS.get(way.kind, str(way.kind)), key.tos, hop.labels or (),
                    str(key.source or ""), place,
                )  # fmt: skip


def _dump(tables: list[int], most: int) -> Found:
    """Read these tables, up to so many foreign routes, and the rules. Raises OSError."""
    found = Found({}, {}, set())
    with closing(nl.NetlinkSocket()) as sock:
        rtnl.wait_for_changes(sock)
        for table in tables:
            routes, more, is_whole = foreign.dump_routes(sock, table, most)
            most -= len(routes)
            found.tables[table] = ForeignTable(routes, more)
            if not is_whole:
                found.changed.add(table)
        words = map(rules.foreign, rules.dump(sock))
        found.rules.update(dict.fromkeys(sorted(filter(None, words))))
    return found
