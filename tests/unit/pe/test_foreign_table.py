"""The foreign routes of a table follow the kernel's notifications by the kernel's own key."""

from __future__ import annotations

from typing import Any

import pytest

from pe.dataplane.foreign_table import ForeignTable
from pe.netlink import codec as nl
from pe.netlink.foreign import parse_route
from pe.netlink.ownership import PROTOCOL, ROUTE_METRIC
from tests.unit.pe.foreign_messages import BLACKHOLE, TABLE, message, route_body

FIRST = nl.NLM_F_EXCL | nl.NLM_F_CREATE
PREPEND, APPEND, REPLACE = nl.NLM_F_CREATE, nl.NLM_F_CREATE | nl.NLM_F_APPEND, nl.NLM_F_REPLACE
GONE = -1
FOUR, SIX = "10.66.0.0/24", "2001:db8:66::/48"
A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
A6, B6, C6 = "2001:db8::1", "2001:db8::2", "2001:db8::3"


class Followed:
    """A table with the routes of these events."""

    def __init__(self) -> None:
        self.table = ForeignTable()

    def __call__(self, flags: int, prefix: str, *, room: bool = True, **more: Any) -> bool:
        kind = nl.RTM_DELROUTE if flags == GONE else nl.RTM_NEWROUTE
        body = route_body(prefix, **more)
        route = parse_route(body, (TABLE,))
        assert route is not None
        seen = message(kind, body, max(flags, 0))
        return self.table.take(seen, route.key, route.way, room=room)

    @property
    def ways(self) -> list[str]:
        """Gateways or kind of the routes in their order."""
        found = [
            "+".join(str(hop.gateway) for hop in way.hops if hop.gateway) or str(way.kind)
            for _, way in self.table
        ]
        assert self.table.count == len(found)
        return found


@pytest.fixture
def event() -> Followed:
    return Followed()


def test_a_route_with_a_tos_is_another_one(event: Followed) -> None:
    assert event(FIRST, FOUR, via=(A,))
    assert event(FIRST, FOUR, tos=0x10, via=(B,))
    assert event(FIRST, FOUR, metric=5, via=(C,))
    assert event.ways == [A, B, C]
    assert event(GONE, FOUR, tos=0x10, via=(B,))
    assert event.ways == [A, C]


def test_a_replacement_leaves_no_old_one(event: Followed) -> None:
    event(FIRST, FOUR, metric=20, via=(A,))
    assert event(REPLACE, FOUR, metric=20, via=(B,))
    assert event.ways == [B]
    assert event(REPLACE, FOUR, metric=20, kind=BLACKHOLE, protocol=3)
    assert event.ways == [str(BLACKHOLE)]


def test_of_several_ipv4_routes_of_a_key_the_first_is_replaced(event: Followed) -> None:
    event(FIRST, FOUR, metric=20, via=(B,))
    event(APPEND, FOUR, metric=20, via=(C,))
    event(PREPEND, FOUR, metric=20, via=(A,))
    assert event.ways == [A, B, C]
    assert not event(REPLACE, FOUR, metric=20, via=("192.0.2.9",)), "the first may be another one"
    assert event.ways == ["192.0.2.9", B, C]
    assert event(GONE, FOUR, metric=20, via=(B,))
    assert event.ways == ["192.0.2.9", C]


@pytest.mark.parametrize("metric", [0, ROUTE_METRIC])
def test_what_was_replaced_beside_the_kernels_or_our_routes_is_read(
    event: Followed, metric: int
) -> None:
    event(FIRST, FOUR, metric=metric, via=(A,))
    assert not event(REPLACE, FOUR, metric=metric, via=(B,))


def test_what_comes_before_ours_of_our_metric_is_read_for_ours_takes_its_place(
    event: Followed,
) -> None:
    assert not event(PREPEND, FOUR, metric=ROUTE_METRIC, via=(A,))
    assert event(APPEND, FOUR, metric=ROUTE_METRIC, via=(B,)), "behind ours it stays"
    assert event(PREPEND, FOUR, metric=ROUTE_METRIC + 1, via=(C,))


def test_a_route_that_another_program_replaces_in_our_name_is_read(event: Followed) -> None:
    event(FIRST, FOUR, metric=20, via=(A,))
    assert event(FIRST, "10.67.0.0/24", metric=20, protocol=PROTOCOL), "has nothing to do with it"
    assert not event(REPLACE, FOUR, metric=20, protocol=PROTOCOL, next_hop=5)


def test_a_deletion_of_what_is_not_known_under_a_known_key_is_read(event: Followed) -> None:
    event(FIRST, FOUR, via=(A,))
    assert not event(GONE, FOUR, via=(B,))
    assert event.ways == [A]
    assert event(GONE, "10.67.0.0/24", via=(A,)), "an unknown key: it is not there, as before"


def test_a_next_hop_that_is_added_to_an_ipv6_route_is_no_other_route(event: Followed) -> None:
    event(FIRST, SIX, metric=1024, via=(A6,))
    assert event(APPEND, SIX, metric=1024, via=(B6, A6))
    assert event.ways == [f"{A6}+{B6}"]
    assert not event(GONE, SIX, metric=1024, via=(A6,)), "its maker may have been that of all"
    assert event.ways == [B6]
    event(FIRST, SIX, metric=7, via=(A6,))
    assert event.ways == [B6, A6], "another metric, another route"


def test_an_ipv6_route_that_joins_none_stands_beside(event: Followed) -> None:
    event(FIRST, SIX, metric=1024, via=(A6,))
    assert event(APPEND, SIX, metric=1024, device=8)
    assert event.ways == [A6, "1"]
    assert event(GONE, SIX, metric=1024, via=(A6,))
    assert event.ways == ["1"]


def test_what_a_dump_may_have_left_out_is_read(event: Followed) -> None:
    event(FIRST, SIX, metric=1024, via=(A6, B6))
    assert not event(GONE, SIX, metric=1024, via=(A6, B6))
    assert event.ways == []
    event(FIRST, SIX, metric=1024, via=(A6,))
    assert event(GONE, SIX, metric=1024, via=(A6,)), "one next hop hides nothing"


def test_routes_without_room_are_counted(event: Followed) -> None:
    event(FIRST, FOUR, via=(A,))
    event(FIRST, "10.67.0.0/24", room=False)
    event(FIRST, "10.68.0.0/24", room=False)
    event(GONE, "10.67.0.0/24")
    assert (event.table.count, event.table.more) == (1, 1)


@pytest.mark.parametrize(("depends", "devices", "objects", "sources", "route"), [
    (True, {7}, set(), False, {}),
    (False, {8}, set(), False, {}),
    (True, {7}, set(), False, {"via": (A, B)}),
    (False, {7}, set(), False, {"kind": BLACKHOLE}),
    (True, {8}, set(), False, {"next_hop": 5}),
    (True, set(), {5}, False, {"next_hop": 5}),
    (False, set(), {6}, False, {"next_hop": 5}),
    (True, set(), set(), True, {"source": A}),
    (False, set(), set(), True, {}),
    (False, set(), set(), False, {"source": A}),
])  # fmt: skip
def test_what_goes_without_a_notification(
    event: Followed, depends: bool, devices: set[int], objects: set[int], sources: bool,
    route: dict[str, Any],
) -> None:  # fmt: skip
    event(FIRST, FOUR, **route)
    assert event.table.depends(devices, objects, sources=sources) is depends


def test_an_ipv6_route_for_some_sources_is_another_one(event: Followed) -> None:
    event(FIRST, SIX, metric=1024, via=(A6,))
    event(FIRST, SIX, metric=1024, via=(B6,), sources="2001:db8:7::/48")
    assert event.ways == [A6, B6]
    event(GONE, SIX, metric=1024, via=(A6,))
    assert [str(key.source) for key, _ in event.table] == ["2001:db8:7::/48"]


def test_one_with_our_metric_is_followed_apart(event: Followed) -> None:
    """Ours may take its place at any time, without a notification to us."""
    assert not event(FIRST, FOUR, metric=ROUTE_METRIC, via=(A,))
    assert event(FIRST, SIX, metric=5, via=(A6,))
    assert [str(prefix) for prefix in event.table.at_our_metric] == [FOUR]
    event(GONE, FOUR, metric=ROUTE_METRIC, via=(A,))
    assert event.table.at_our_metric == set()
