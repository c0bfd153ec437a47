"""Routes and next hops: whatever the order of changes, the kernel ends where it should, and the
incremental way ends where a full comparison does."""

from __future__ import annotations

import copy
from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Delta, Desired, NextHop, NextHopKey, NextHopPath
from controlplane.model.prefix import Afi, Prefix
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import VOID_LEGS, Group, Member
from pe.model.state import Failures
from pe.netlink.ownership import PROTOCOL, VOID
from tests.pe_fakes import FakeNextHops, FakeRoutes

DEVICES = {"core0": 1, "core1": 2, "ce0": 3, VOID: 9}
GATEWAY = ip_address("10.0.1.2")
REMOTE = [NextHopKey(Afi.IPV4, ip_address(f"10.255.0.{n}"), 16000 + n) for n in (2, 3)]
LINK = NextHopKey(Afi.IPV4, None, device="ce0")
DISCARD = NextHopKey(Afi.IPV4, None)
KEYS = [*REMOTE, LINK, DISCARD]
TABLES = (10, 11)
READY = dict.fromkeys(TABLES, True)
ROUTES = [Prefix(bytes((10, n, 0, 0)), 16) for n in range(6)]

paths = st.builds(
    NextHopPath, st.just(GATEWAY), st.sampled_from(("core0", "core1")),
    st.sampled_from(((17,), (18,))), st.sampled_from((1, 2)),
)  # fmt: skip


@st.composite
def next_hops(draw: Any, key: NextHopKey) -> NextHop:
    if key == LINK:
        return NextHop(key, (NextHopPath(None, "ce0"),))
    if key == DISCARD:
        return NextHop(key, ())
    found = draw(st.lists(paths, min_size=1, max_size=3, unique_by=lambda p: (p.device, p.labels)))
    return NextHop(
        key,
        tuple(NextHopPath(p.gateway, p.device, (*p.labels, key.label), p.weight) for p in found),
    )


@st.composite
def deltas(draw: Any) -> Delta:
    delta = Delta()
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        delta.next_hops[key] = draw(st.none() | next_hops(key))
    for table in draw(st.lists(st.sampled_from(TABLES), unique=True)):
        routes = st.dictionaries(st.sampled_from(ROUTES), st.none() | st.sampled_from(KEYS))
        delta.routes[table] = draw(routes)
    return delta


class World:
    """A kernel, and a program that acts on it and may be restarted."""

    def __init__(self) -> None:
        self.next_hops, self.routes = FakeNextHops(), FakeRoutes()
        self.desired = Desired()
        self.start()

    def start(self) -> None:
        self.forwarding = FibManager(self.desired, self.next_hops, self.routes, Failures())
        self.forwarding.load(
            {i: (PROTOCOL, content) for i, content in self.next_hops.objects.items()},
            [(t, p, i) for t, routes in self.routes.tables.items() for p, i in routes.items()],
        )

    def submit(self, delta: Delta) -> None:
        self.desired.apply(delta)
        self.forwarding.next_hops_changed(delta.next_hops)
        for table, routes in delta.routes.items():
            self.forwarding.routes.changed(table, routes)

    def act(self) -> None:
        self.forwarding.urgent(DEVICES, 0)
        self.forwarding.converge_all(DEVICES, 0)
        while self.forwarding.slice(READY, 0) or self.forwarding.bury(0):
            self.routes_name_what_exists()

    def reread(self) -> None:
        objects = self.next_hops.objects.items()
        self.forwarding.reread({i: (PROTOCOL, content) for i, content in objects})

    def routes_name_what_exists(self) -> None:
        for routes in self.routes.tables.values():
            assert set(routes.values()) <= self.next_hops.objects.keys()

    def meaning(self) -> dict[tuple[int, Prefix], object]:
        """What every route in the kernel does, whatever the ids."""
        return {
            (table, prefix): self.content(identifier)
            for table, routes in self.routes.tables.items()
            for prefix, identifier in routes.items()
        }

    def content(self, identifier: int) -> object:
        content = self.next_hops.objects[identifier]
        if isinstance(content, Group):
            legs = [(i, w) for i, w in content.members if i not in VOID_LEGS]
            smallest = min((w for _, w in legs), default=1)
            return frozenset((self.next_hops.objects[i], w // smallest) for i, w in legs)
        return content

    def wanted(self) -> dict[tuple[int, Prefix], object]:
        return {
            (table, prefix): meaning(self.desired.next_hops[key])
            for table, routes in self.desired.routes.items()
            for prefix, key in routes.items()
            if key in self.desired.next_hops
        }


def meaning(next_hop: NextHop) -> object:
    smallest = min((p.weight for p in next_hop.paths), default=1)
    legs = frozenset(
        (Member(Afi.IPV4, DEVICES[p.device], p.gateway, p.labels), p.weight // smallest)
        for p in next_hop.paths
    ) or frozenset({(Member(Afi.IPV4, 0), 1)})
    return legs if next_hop.key.address else next(iter(legs))[0]


@settings(max_examples=30)
@given(st.lists(deltas(), max_size=6))
def test_any_sequence_of_changes_ends_in_what_is_desired(changes: list[Delta]) -> None:
    world = World()
    for delta in changes:
        world.submit(delta)
        world.act()
    assert world.meaning() == world.wanted()


@settings(max_examples=30)
@given(st.lists(deltas(), max_size=5))
def test_incremental_equals_full_comparison(changes: list[Delta]) -> None:
    step_by_step, at_once = World(), World()
    for delta in changes:
        step_by_step.submit(delta)
        step_by_step.act()
        at_once.desired.apply(delta)
    at_once.start()
    at_once.act()
    assert step_by_step.meaning() == at_once.meaning()


@settings(max_examples=30)
@given(st.lists(deltas(), min_size=1, max_size=4), st.lists(deltas(), max_size=3))
def test_a_restart_adopts_and_sweeps_what_a_former_run_left(
    before: list[Delta], after: list[Delta]
) -> None:
    world = World()
    for delta in before:
        world.submit(delta)
        world.act()
    world.desired = Desired()
    world.start()
    for delta in after:
        world.submit(delta)
    world.act()
    world.forwarding.sweep()
    world.act()
    assert world.meaning() == world.wanted()
    # No next hop is left that nothing desired stands for.
    assert world.forwarding.book.unadopted() == []


@settings(max_examples=30)
@given(st.lists(deltas(), min_size=1, max_size=4))
def test_a_restart_with_the_same_desire_touches_nothing(changes: list[Delta]) -> None:
    world = World()
    for delta in changes:
        world.submit(delta)
        world.act()
    world.next_hops.calls.clear()
    world.routes.writes = 0
    world.start()
    world.act()
    world.forwarding.sweep()
    world.act()
    assert world.next_hops.calls == []
    assert world.routes.writes == 0


@settings(max_examples=30)
@given(st.lists(paths, max_size=3, unique_by=lambda p: (p.device, p.labels)))
def test_the_id_of_a_remote_pe_outlives_every_change_of_its_path(found: list[NextHopPath]) -> None:
    world, key = World(), REMOTE[0]
    first = NextHop(key, (NextHopPath(GATEWAY, "core0", (17,)),))
    world.submit(Delta(next_hops={key: first}, routes={10: {ROUTES[0]: key}}))
    world.act()
    before, world.routes.writes = world.forwarding.book.id_of(key), 0
    world.submit(Delta(next_hops={key: NextHop(key, tuple(found))}))
    world.act()
    assert world.forwarding.book.id_of(key) == before
    assert world.routes.writes == 0
    assert world.meaning() == world.wanted()


@settings(max_examples=50)
@given(
    st.lists(deltas(), min_size=1, max_size=3),
    st.sampled_from(("core0", "core1")),
    st.lists(deltas(), max_size=2),
)
def test_a_lost_carrier_takes_no_route_through_the_core(
    before: list[Delta], lost: str, after: list[Delta]
) -> None:
    world = World()
    for delta in before:
        world.submit(delta)
        world.act()
    routes, writes = copy.deepcopy(world.routes.tables), world.routes.writes
    world.next_hops.flush(DEVICES[lost])
    world.next_hops.broken.add(DEVICES[lost])
    world.routes_name_what_exists()
    world.reread()
    world.act()
    assert (world.routes.tables, world.routes.writes) == (routes, writes)
    for delta in after:
        world.submit(delta)
        world.act()
    world.next_hops.broken.clear()
    world.forwarding.next_hops_changed(world.desired.next_hops)
    world.act()
    assert world.meaning() == world.wanted()


@settings(max_examples=30)
@given(st.lists(deltas(), min_size=1, max_size=3))
def test_the_void_comes_back_into_every_group(changes: list[Delta]) -> None:
    world = World()
    for delta in changes:
        world.submit(delta)
        world.act()
    with_void = copy.deepcopy(world.next_hops.objects)
    world.next_hops.flush(DEVICES[VOID])
    world.reread()
    world.act()
    assert world.next_hops.objects == with_void
