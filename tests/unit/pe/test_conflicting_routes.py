"""A route of another program in the place of one of ours, or before it, is found by its event."""

from __future__ import annotations

from typing import cast

import pytest

from controlplane.model.desired import Desired, NextHopKey
from controlplane.model.prefix import Afi, Prefix
from pe.dataplane.foreign import ForeignObjects
from pe.dataplane.netlink_events import NetlinkEventHandler
from pe.devices.manager import DeviceManager
from pe.fib.manager import FibManager
from pe.model.state import Failures
from pe.netlink import codec as nl
from pe.netlink.ownership import ROUTE_METRIC, UNREACHABLE_METRIC
from tests.parts import LonePart
from tests.pe_fakes import FakeNextHops, FakeRoutes
from tests.unit.controlplane.rig import prefix
from tests.unit.pe.foreign_messages import TABLE, message, route_body

FOUR, SIX = "10.1.0.0/16", "2001:db8:1::/48"
REPLACED, APPENDED, PREPENDED = nl.NLM_F_REPLACE, nl.NLM_F_CREATE | nl.NLM_F_APPEND, nl.NLM_F_CREATE
KEY = NextHopKey(Afi.IPV4, None, device="ce0")


class Devices:
    """Notes which tables are to be read."""

    def __init__(self) -> None:
        self.tables: list[int] = []

    def table_touched(self, table: int) -> None:
        self.tables.append(table)


class World:
    """A node with one route of each family in the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes, self.devices, self.desired = Writes(), Devices(), Desired()
        self.fib = FibManager(
            self.desired, FakeNextHops(), self.routes, Failures(), lambda *_: None
        )
        monkeypatch.setattr(self.fib.groups, "id_of", lambda _: 7)
        self.desired.routes[TABLE] = {prefix(FOUR): KEY, prefix(SIX): KEY}
        self.fib.routes.load([(TABLE, prefix(FOUR), 7), (TABLE, prefix(SIX), 7)])
        self.events = NetlinkEventHandler(
            cast(DeviceManager, self.devices), self.fib, lambda _: True, Failures(),
            lambda *_: None, ForeignObjects(self.desired, lambda *_: None, LonePart()),
        )  # fmt: skip

    def put(self, text: str, flags: int, metric: int = ROUTE_METRIC) -> list[tuple[str, int]]:
        """Another program's route; returns what is written on that."""
        self.events.handle(message(nl.RTM_NEWROUTE, route_body(text, metric=metric), flags))
        while self.fib.batch({TABLE: True}, 0.0):
            pass
        return [(str(p), i) for p, i in self.routes.written]


class Writes(FakeRoutes):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[Prefix, int]] = []

    def write(self, table: int, changes: list[tuple[Prefix, int]]) -> dict[Prefix, OSError]:
        self.written += changes
        return super().write(table, changes)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("text", [FOUR, SIX])
def test_a_route_that_took_the_place_of_ours_is_written_over(world: World, text: str) -> None:
    assert world.put(text, REPLACED) == [(text, 7)]
    assert world.events.repairs == 1


def test_one_before_ours_is_written_over_behind_the_removal_of_ours(world: World) -> None:
    """A write in the place of the first one leaves ours, of which nothing is known, behind it."""
    assert world.put(FOUR, PREPENDED) == [(FOUR, 0), (FOUR, 7)]
    assert world.events.repairs == 1


@pytest.mark.parametrize(("text", "flags", "metric"), [
    (FOUR, APPENDED, ROUTE_METRIC), (SIX, PREPENDED, ROUTE_METRIC), (SIX, APPENDED, ROUTE_METRIC),
    (FOUR, REPLACED, 50), (FOUR, PREPENDED, 50), ("10.2.0.0/16", PREPENDED, ROUTE_METRIC),
    ("10.2.0.0/16", REPLACED, ROUTE_METRIC),
])  # fmt: skip
def test_one_beside_ours_is_left(world: World, text: str, flags: int, metric: int) -> None:
    assert world.put(text, flags, metric) == []
    assert (world.events.repairs, world.devices.tables) == (0, [])


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0"])
def test_one_in_the_place_of_a_last_resort_has_it_read(world: World, text: str) -> None:
    """It was found at the next whole check, half a minute later."""
    world.put(text, REPLACED, UNREACHABLE_METRIC)
    assert world.devices.tables == [TABLE]
    world.put(text, REPLACED, 5)
    assert world.devices.tables == [TABLE]
