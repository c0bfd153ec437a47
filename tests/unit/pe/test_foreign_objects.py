"""What other programs put before the VRFs' packets: followed, read again where notifications do not
show what is left, logged once for many, removed where the configuration asks for it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from controlplane.model.desired import Delta, Desired, VrfDevice
from pe.dataplane import foreign
from pe.dataplane.foreign import (
    AGAIN_SECONDS,
    CHECK_SECONDS,
    LOG_SECONDS,
    REFUSED_SECONDS,
    REMOVE_SECONDS,
    ForeignObjects,
    Found,
)
from pe.dataplane.foreign_table import ForeignTable
from pe.netlink import codec as nl
from pe.netlink import foreign as wire
from pe.netlink import rules
from pe.netlink.foreign import ForeignRoute
from tests.parts import LonePart
from tests.unit.pe.foreign_messages import TABLE, message, route_body, rule_body

BLUE = 1002
FIRST = nl.NLM_F_EXCL | nl.NLM_F_CREATE
RULE = rule_body(nl.attribute(3, b"red\0"), preference=100, table=77)
WORDS = "ipv4 100 from all iif red lookup 77"


class World:
    """The kernel's tables and rules, VRFs red and blue, and who follows them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel: dict[int, list[memoryview]] = {}
        self.rules: list[str] = []
        self.reads: list[list[int]] = []
        self.during: Callable[[], None] = lambda: None
        self.lines: list[tuple[str, dict[str, str | int]]] = []
        self.refused: dict[str, OSError] = {}
        self.asked: list[str] = []
        self.desired = Desired()
        self.now = 1000.0
        self.part = LonePart()
        self.found = ForeignObjects(self.desired, self._log, self.part)
        self.vrf(red=TABLE, blue=BLUE)
        monkeypatch.setattr(foreign, "_dump", self._dump)
        monkeypatch.setattr(wire, "delete_route", self._delete)

    def vrf(self, **tables: int) -> None:
        vrfs = {name: VrfDevice(name, table) if table else None for name, table in tables.items()}
        self.desired.apply(Delta(vrfs=vrfs))
        self.found.tables_changed()

    def _log(self, _level: str, event: str, fields: dict[str, str | int]) -> None:
        self.lines.append((event, fields))

    def _dump(self, tables: list[int], most: int) -> Found:
        self.reads.append(tables)
        found = Found({}, dict.fromkeys(self.rules), set())
        for table in tables:
            here = self.kernel.get(table, [])
            parsed = [r for body in here[:most] if (r := wire.parse_route(body, (table,)))]
            found.tables[table] = ForeignTable(parsed, max(len(here) - most, 0))
            most = max(most - len(here), 0)
        during, self.during = self.during, lambda: None
        during()
        return found

    def _delete(self, _sock: nl.NetlinkSocket, route: ForeignRoute) -> None:
        prefix = str(route.key.prefix)
        self.asked.append(prefix)
        if error := self.refused.get(prefix):
            raise error

    def event(self, kind: int, body: memoryview, flags: int = FIRST) -> None:
        self.found.route_event(message(kind, body, flags))

    def add(self, body: memoryview, *, table: int = TABLE) -> None:
        """A route in the kernel, with its notification."""
        self.kernel.setdefault(table, []).append(body)
        self.event(nl.RTM_NEWROUTE, body)

    def follow(self, seconds: float = 0.0) -> list[list[int]]:
        """So many seconds later; the tables of each reading."""

        async def run() -> None:
            loop = asyncio.get_running_loop()
            loop.time = lambda: self.now  # type: ignore[method-assign]
            self.found.follow(self.now)
            await asyncio.gather(*self.part.tasks)

        self.now += seconds
        self.reads = []
        asyncio.run(run())
        return self.reads

    def shown(self, table: int = TABLE) -> list[str]:
        return [str(view.prefix) for view in self.found.of(table, str)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(monkeypatch)
    assert made.follow() == [[TABLE, BLUE]]
    assert made.follow(AGAIN_SECONDS) == [], "nothing is doubtful"
    return made


def route(number: int, **more: Any) -> memoryview:
    return route_body(f"10.{number // 250}.{number % 250}.0/24", **more)


def test_one_line_for_many_and_one_when_they_are_gone(world: World) -> None:
    world.found.report(0.0)
    assert not world.lines
    world.add(route(1))
    world.found.rules["ipv4 100 from all lookup 77"] = None
    world.found.take_chains(("inet other c: ct mark set", "ip other c: log group 5"))
    world.found.report(1.0)
    assert world.lines == [
        ("foreign_routes", {"count": 1, "first": "red 10.0.1.0/24"}),
        ("foreign_rules", {"count": 1, "first": "ipv4 100 from all lookup 77"}),
        ("foreign_chains", {"count": 2, "first": "inet other c: ct mark set"}),
    ]
    assert world.found.shown(3) == (
        "chain inet other c: ct mark set", "chain ip other c: log group 5",
        "rule ipv4 100 from all lookup 77",
    )  # fmt: skip
    assert len(world.found) == 4
    for number in range(2, 50):
        world.add(route(number))
        world.found.report(1.0 + number / 100)
    assert len(world.lines) == 3, "not one for each"
    world.found.report(1.0 + LOG_SECONDS)
    assert world.lines[3:] == [("foreign_routes", {"count": 49, "first": "red 10.0.1.0/24"})]
    for number in range(1, 50):
        world.event(nl.RTM_DELROUTE, route(number), 0)
    world.found.rules.clear()
    world.found.take_chains(())
    world.found.report(1.0 + 2 * LOG_SECONDS)
    assert [event for event, _ in world.lines[4:]] == [
        "foreign_routes_gone", "foreign_rules_gone", "foreign_chains_gone",
    ]  # fmt: skip


# -- what vanishes without a notification -----------------------------------------------------


def test_routes_that_the_kernel_flushed_with_their_link_are_gone(world: World) -> None:
    world.add(route(1, device=7))
    world.add(route_body("10.9.0.0/16", table=BLUE, device=8), table=BLUE)
    world.follow(AGAIN_SECONDS)
    world.kernel[TABLE].clear()
    world.found.device_down(7)
    assert world.follow() == [[TABLE]], "not that of the other VRF"
    assert (world.shown(), world.shown(BLUE)) == ([], ["10.9.0.0/16"])


def test_links_that_go_one_after_the_other_make_two_readings(world: World) -> None:
    world.add(route(1, device=7))
    world.follow(AGAIN_SECONDS)
    made = []
    for _ in range(10):
        world.found.device_down(7)
        made += world.follow(AGAIN_SECONDS / 20)
    made += world.follow(AGAIN_SECONDS)
    assert made == [[TABLE]] * 2
    assert world.follow(AGAIN_SECONDS) == []


def test_without_foreign_routes_a_link_costs_nothing(world: World) -> None:
    world.found.device_down(7)
    world.found.address_gone(7)
    assert world.follow(AGAIN_SECONDS) == []
    assert world.found.due is None


def test_an_address_and_a_next_hop_object_take_their_routes_with_them(world: World) -> None:
    world.add(route(1, device=8, source="192.0.2.1"))
    world.found.address_gone(7)
    assert world.follow(AGAIN_SECONDS) == [[TABLE]]
    world.add(route(2, next_hop=5))
    gone = memoryview(bytes([2, 0, 4, 0, 0, 0, 0, 0]) + nl.u32(1, 5))
    world.found.object_gone(message(nl.RTM_DELNEXTHOP, gone))
    assert world.found.due is not None
    assert world.follow(AGAIN_SECONDS) == [[TABLE]]


def test_tables_with_foreign_routes_are_read_from_time_to_time(world: World) -> None:
    world.follow(CHECK_SECONDS)
    assert world.follow(CHECK_SECONDS) == [], "there are none"
    world.add(route(1))
    assert world.found.due is not None
    assert world.follow(CHECK_SECONDS) == [[TABLE]]


# -- changes during a reading -----------------------------------------------------------------


def test_a_route_that_changes_while_its_table_is_read_is_read_once_more(world: World) -> None:
    world.kernel[TABLE] = [route(1)]
    world.during = lambda: world.event(nl.RTM_DELROUTE, route(1), 0)
    world.found.read_anew()
    world.follow(AGAIN_SECONDS)
    world.kernel[TABLE] = []
    assert world.follow() == [], "not at once: more may follow"
    assert world.follow(AGAIN_SECONDS) == [[TABLE]]
    assert world.shown() == []


@pytest.mark.parametrize("kind", [nl.RTM_NEWRULE, nl.RTM_DELRULE])
def test_a_rule_that_changes_while_the_rules_are_read_is_read_once_more(
    world: World, kind: int
) -> None:
    there = kind == nl.RTM_NEWRULE
    world.rules = [] if there else [WORDS]  # as the dump under way has them
    world.during = lambda: world.found.rule_event(kind, rules.RawRule(RULE))
    world.found.read_anew()
    world.follow(AGAIN_SECONDS)
    assert [*world.found.rules] == world.rules, "the picture is wrong for now"
    world.rules = [WORDS] if there else []
    assert world.follow(AGAIN_SECONDS) == [[]], "the rules alone"
    assert [*world.found.rules] == world.rules
    assert world.follow(AGAIN_SECONDS) == []


def test_a_vrf_that_goes_while_its_table_is_read_leaves_no_routes(world: World) -> None:
    world.kernel = {TABLE: [route(1)], BLUE: [route_body("10.9.0.0/16", table=BLUE)]}

    def red_goes() -> None:
        world.vrf(red=0)
        world.found.follow(world.now)

    world.during = red_goes
    world.found.read_anew()
    world.follow(AGAIN_SECONDS)
    assert (world.shown(), world.shown(BLUE)) == ([], ["10.9.0.0/16"])
    assert len(world.found) == 1
    world.vrf(green=TABLE)
    world.kernel[TABLE] = [route(2)]
    world.follow(AGAIN_SECONDS)
    assert world.shown() == ["10.0.2.0/24"]


def test_what_cannot_be_read_is_read_later_and_logged_once(world: World) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOMEM, "no memory")

    for _ in range(2):
        world.during = refuse
        world.found.read_anew()
        world.follow(AGAIN_SECONDS)
    assert [event for event, _ in world.lines] == ["kernel_refused"]
    world.kernel[TABLE] = [route(1)]
    assert world.follow(AGAIN_SECONDS) == [[TABLE, BLUE]]
    assert world.shown() == ["10.0.1.0/24"]


# -- more than are kept -----------------------------------------------------------------------


def test_a_list_that_is_cut_says_so_and_becomes_whole_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign, "MOST", 10)
    for number in range(15):
        world.add(route(number))
    assert (len(world.shown()), len(world.found)) == (10, 15)
    assert world.found.shown(5) == ("15 routes in VRF red: pe show routes lists 10 of them",)
    world.found.read_anew()
    world.follow(AGAIN_SECONDS)
    assert world.found.shown(5) == ("15 routes in VRF red: pe show routes lists 10 of them",)
    world.follow(AGAIN_SECONDS)
    gone, world.kernel[TABLE] = world.kernel[TABLE][:7], world.kernel[TABLE][7:]
    for body in gone:
        world.event(nl.RTM_DELROUTE, body, 0)
    assert world.follow(AGAIN_SECONDS) == [[TABLE]]
    assert world.shown() == [f"10.0.{n}.0/24" for n in range(7, 15)]
    assert world.found.shown(5) == ("8 routes in VRF red: pe show routes",)
    assert world.follow(AGAIN_SECONDS) == []


# -- removal ----------------------------------------------------------------------------------


def test_a_route_is_removed_when_the_kernel_says_so(world: World) -> None:
    world.add(route(1))
    world.found.remove(1.0)
    assert world.lines == [("foreign_routes_removed", {"count": 1})]
    assert world.shown() == ["10.0.1.0/24"]
    world.event(nl.RTM_DELROUTE, route(1), 0)
    assert world.shown() == []
    world.found.remove(2.0)
    assert world.asked == ["10.0.1.0/24"]


def test_a_refused_removal_leaves_the_route_in_the_list(world: World) -> None:
    world.add(route(1))
    world.add(route(2))
    world.refused["10.0.1.0/24"] = OSError(errno.EPERM, "not permitted")
    world.found.remove(1.0)
    assert [event for event, _ in world.lines] == ["foreign_routes_removed", "kernel_refused"]
    assert world.lines[0][1] == {"count": 1}
    world.event(nl.RTM_DELROUTE, route(2), 0)
    assert world.shown() == ["10.0.1.0/24"]
    world.found.remove(2.0)
    assert len(world.asked) == 2, "later"
    del world.refused["10.0.1.0/24"]
    world.found.remove(1.0 + REFUSED_SECONDS)
    assert world.asked[2:] == ["10.0.1.0/24"]


def test_a_route_that_the_kernel_does_not_find_is_looked_for(world: World) -> None:
    world.add(route(1))
    world.refused["10.0.1.0/24"] = OSError(errno.ESRCH, "no such process")
    world.found.remove(1.0)
    assert world.lines == [], "it may just have gone"
    assert world.follow(AGAIN_SECONDS) == [[TABLE]]
    assert world.shown() == ["10.0.1.0/24"], "it is still there"
    world.found.remove(1.0 + REFUSED_SECONDS)
    assert [event for event, _ in world.lines] == ["kernel_refused"]
    world.kernel[TABLE] = []
    world.follow(AGAIN_SECONDS)
    assert world.shown() == []


def test_a_route_of_no_maker_is_not_removed_for_the_kernel_would_take_any() -> None:
    found = wire.parse_route(route(1, protocol=0), (TABLE,))
    assert found is not None
    with closing(nl.NetlinkSocket()) as sock, pytest.raises(OSError, match="by hand"):
        wire.delete_route(sock, found)


def test_a_removal_is_due_again_while_there_are_routes(world: World) -> None:
    """Without it the next ones waited for the next event."""
    assert world.found.remove_due is None
    world.add(route(1))
    world.found.remove(1.0)
    assert world.found.remove_due == 1.0 + REMOVE_SECONDS
    world.event(nl.RTM_DELROUTE, route(1), 0)
    assert world.found.remove_due is None


def test_a_route_shows_its_key_and_its_place(world: World) -> None:
    world.add(route_body("10.0.1.0/24", tos=0x10, metric=5))
    world.add(route_body("2001:db8::/48", via=("2001:db8::1",), sources="2001:db8:7::/48"))
    for gateway, flags in (("192.0.2.1", FIRST), ("192.0.2.2", nl.NLM_F_CREATE)):
        world.event(nl.RTM_NEWROUTE, route(2, via=(gateway,)), flags)
    shown = [(v.gateway, v.tos, v.metric, v.from_prefix, v.place)
             for v in world.found.of(TABLE, str)]  # fmt: skip
    assert shown == [
        ("", 0x10, 5, "", 0),
        ("2001:db8::1", 0, 0, "2001:db8:7::/48", 0),
        ("192.0.2.2", 0, 0, "", 0),
        ("192.0.2.1", 0, 0, "", 1),
    ]


def test_a_route_shows_where_it_leads(world: World) -> None:
    world.add(route(1, via=("192.0.2.1",), metric=20))
    world.add(route(2, via=("192.0.2.1", "192.0.2.2")))
    world.add(route(3, next_hop=5))
    world.add(route(4, kind=2, device=0))
    shown = [(v.gateway, v.port, v.protocol, v.metric, v.kind) for v in world.found.of(TABLE, str)]
    assert shown == [
        ("192.0.2.1", "7", "static", 20, ""),
        ("192.0.2.1", "7", "static", 0, ""),
        ("192.0.2.2", "7", "static", 0, ""),
        ("nhid 5", "", "static", 0, ""),
        ("", "", "static", 0, "local"),
    ]
