"""Routes and next hops: after any order of changes, the kernel ends where it should, and the
incremental way ends where a full comparison does."""

from __future__ import annotations

import copy
import errno
from ipaddress import ip_address
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Delta, Desired, NextHop, NextHopKey, NextHopPath
from controlplane.model.prefix import Afi, Prefix
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import BLACKHOLE_IDS, Group, Member
from pe.model.state import Failures
from pe.netlink.ownership import BLACKHOLE, FIRST_NEXT_HOP, LAST_NEXT_HOP
from tests.pe_fakes import FakeNextHops, FakeRoutes

BUSY = [HealthCheck.too_slow]
"""A machine that runs other things draws slowly: that is no fault of the code."""

DEVICES = {"core0": 1, "core1": 2, "ce0": 3, BLACKHOLE: 9}
GATEWAY = ip_address("10.0.1.2")
REMOTE = [NextHopKey(Afi.IPV4, ip_address(f"10.255.0.{n}"), 16000 + n) for n in (2, 3)]
LINK = NextHopKey(Afi.IPV4, None, device="ce0")
DISCARD = NextHopKey(Afi.IPV4, None)
CE = NextHopKey(Afi.IPV4, ip_address("192.0.2.2"), device="ce0")
KEYS = [*REMOTE, LINK, DISCARD, CE]
TABLES = (10, 11)
READY = dict.fromkeys(TABLES, True)
ROUTES = [Prefix(bytes((10, n, 0, 0)), 16) for n in range(6)]

PLAIN = {
    **{k: NextHop(k, (NextHopPath(GATEWAY, "core0", (17, k.label)),)) for k in REMOTE},
    LINK: NextHop(LINK, (NextHopPath(None, "ce0"),)),
    CE: NextHop(CE, (NextHopPath(CE.address, "ce0"),)),
    DISCARD: NextHop(DISCARD, ()),
}
"""Every key with the simplest way."""

paths = st.builds(
    NextHopPath, st.just(GATEWAY), st.sampled_from(("core0", "core1")),
    st.sampled_from(((17,), (18,))), st.sampled_from((1, 2)),
)  # fmt: skip


@st.composite
def next_hops(draw: Any, key: NextHopKey) -> NextHop:
    if key == LINK:
        return NextHop(key, (NextHopPath(None, "ce0"),))
    if key == CE:
        return NextHop(key, (NextHopPath(CE.address, "ce0"),))
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
        self.next_hops.routes, self.routes.next_hops = self.routes, self.next_hops
        self.desired = Desired()
        self.now, self.resyncs = 0.0, False
        self.start()

    def start(self) -> None:
        self.failures = Failures()
        self.forwarding = FibManager(
            self.desired, self.next_hops, self.routes, self.failures, lambda *_: None
        )
        self.resync()

    def resync(self) -> None:
        self.forwarding.load(self.next_hops.dump(), self.routes.dump())

    def submit(self, delta: Delta) -> None:
        self.desired.apply(delta)
        self.forwarding.next_hops_changed(delta.next_hops)
        for table, routes in delta.routes.items():
            self.forwarding.routes.changed(table, routes)

    def act(self) -> None:
        self.forwarding.urgent(DEVICES, self.now)
        self.forwarding.converge_all(DEVICES, self.now)
        while self.forwarding.batch(READY, self.now) or self.forwarding.collect(self.now):
            self.routes_name_what_exists()

    def reread(self) -> None:
        self.forwarding.verify_devices(DEVICES.values())

    def take(self, step: Any) -> None:
        """A flap, a call that will fail, or a route that moves."""
        if isinstance(step, str):
            self.flap(*step.split())
        elif step[0] == "fail":
            _, (call, code), taken = step
            error = OSError(code, "injected")
            if call == "write":
                self.routes.fails.append((taken, error))
            elif call == "routes":
                self.routes.dump_fails = error
            else:
                self.next_hops.fails[call] = error
        else:
            self.submit(self.moved(*step))

    def turn(self) -> None:
        """One turn of the reconciler: what fails as a whole is read anew at the next one."""
        self.now += 1
        try:
            if self.resyncs:
                self.resync()
                self.resyncs = False
            self.reread()
            self.forwarding.urgent(DEVICES, self.now)
            self.forwarding.retry(self.now)
            self.act()
        except OSError:
            self.resyncs = True

    def calm_down(self) -> None:
        """Nothing fails any more, the ports are up, and time passes."""
        self.next_hops.fails.clear()
        self.routes.fails.clear()
        self.routes.dump_fails = None
        for device in ("ce0", "core0"):
            self.flap("up", device)
        self.failures.hurry()
        for _ in range(3):
            self.now += 20
            self.turn()

    def moved(self, prefix: Prefix, key: NextHopKey | None) -> Delta:
        """One route goes another way; a next hop is desired for as long as a route uses it."""
        routes = {**self.desired.routes.get(10, {}), prefix: key}
        used = {k for k in routes.values() if k}
        delta = Delta(routes={10: {prefix: key}})
        delta.next_hops.update(dict.fromkeys(self.desired.next_hops.keys() - used))
        delta.next_hops.update({k: PLAIN[k] for k in used - self.desired.next_hops.keys()})
        return delta

    def flap(self, way: str, device: str) -> None:
        """A port loses its carrier, and with it what leads there, or has it again."""
        if way == "down":
            self.next_hops.flush(DEVICES[device])
            self.next_hops.broken.add(DEVICES[device])
        else:
            self.next_hops.broken.discard(DEVICES[device])

    def routes_name_what_exists(self) -> None:
        for routes in self.routes.tables.values():
            assert set(routes.values()) <= self.next_hops.objects.keys()

    def meaning(self) -> dict[tuple[int, Prefix], object]:
        """Return what every route in the kernel does, without the ids."""
        return {
            (table, prefix): self.content(identifier)
            for table, routes in self.routes.tables.items()
            for prefix, identifier in routes.items()
        }

    def content(self, identifier: int) -> object:
        content = self.next_hops.objects[identifier]
        if isinstance(content, Group):
            members = [(i, w) for i, w in content.members if i not in BLACKHOLE_IDS]
            smallest = min((w for _, w in members), default=1)
            return frozenset((self.next_hops.objects[i], w // smallest) for i, w in members)
        return content

    def unexplained(self) -> set[int]:
        """Objects in the kernel that stand for nothing desired."""
        return (
            self.next_hops.objects.keys()
            - set(self.forwarding.groups.ids.owned())
            - BLACKHOLE_IDS.keys()
        )

    def wanted(self) -> dict[tuple[int, Prefix], object]:
        return {
            (table, prefix): meaning(self.desired.next_hops[key])
            for table, routes in self.desired.routes.items()
            for prefix, key in routes.items()
            if key in self.desired.next_hops
        }


def meaning(next_hop: NextHop) -> object:
    smallest = min((p.weight for p in next_hop.paths), default=1)
    members = frozenset(
        (Member(Afi.IPV4, DEVICES[p.device], p.gateway, p.labels), p.weight // smallest)
        for p in next_hop.paths
    ) or frozenset({(Member(Afi.IPV4, 0), 1)})
    return members if next_hop.key.address else next(iter(members))[0]


@settings(max_examples=30, suppress_health_check=BUSY)
@given(st.lists(deltas(), max_size=6))
def test_any_sequence_of_changes_ends_in_what_is_desired(changes: list[Delta]) -> None:
    world = World()
    for delta in changes:
        world.submit(delta)
        world.act()
    assert world.meaning() == world.wanted()


@settings(max_examples=30, suppress_health_check=BUSY)
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


@settings(max_examples=30, suppress_health_check=BUSY)
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
    assert world.unexplained() == set()


@settings(max_examples=30, suppress_health_check=BUSY)
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


@settings(max_examples=30, suppress_health_check=BUSY)
@given(st.lists(paths, max_size=3, unique_by=lambda p: (p.device, p.labels)))
def test_the_id_of_a_remote_pe_outlives_every_change_of_its_path(found: list[NextHopPath]) -> None:
    world, key = World(), REMOTE[0]
    first = NextHop(key, (NextHopPath(GATEWAY, "core0", (17,)),))
    world.submit(Delta(next_hops={key: first}, routes={10: {ROUTES[0]: key}}))
    world.act()
    before, world.routes.writes = world.forwarding.groups.id_of(key), 0
    world.submit(Delta(next_hops={key: NextHop(key, tuple(found))}))
    world.act()
    assert world.forwarding.groups.id_of(key) == before
    assert world.routes.writes == 0
    assert world.meaning() == world.wanted()


@settings(max_examples=50, suppress_health_check=BUSY)
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


@settings(max_examples=30, suppress_health_check=BUSY)
@given(st.lists(deltas(), min_size=1, max_size=3))
def test_the_blackhole_comes_back_into_every_group(changes: list[Delta]) -> None:
    world = World()
    for delta in changes:
        world.submit(delta)
        world.act()
    with_blackhole = copy.deepcopy(world.next_hops.objects)
    world.next_hops.flush(DEVICES[BLACKHOLE])
    world.reread()
    world.act()
    assert world.next_hops.objects == with_blackhole


moves = st.tuples(st.sampled_from(ROUTES[:3]), st.none() | st.sampled_from(KEYS))
flaps = st.sampled_from(("down ce0", "up ce0", "down core0", "up core0"))


@settings(max_examples=200, suppress_health_check=BUSY)
@given(st.lists(st.lists(st.one_of(moves, flaps), min_size=1, max_size=3), max_size=8))
def test_flaps_between_changes_leave_what_is_desired(turns: list[list[Any]]) -> None:
    world = after(turns)
    assert world.meaning() == world.wanted()
    assert world.unexplained() == set()


def after(turns: list[list[Any]]) -> World:
    """Return a world that went through these steps, in iterations, and then came to rest."""
    world = World()
    world.forwarding.sweep()
    for turn in turns:
        for step in turn:
            world.take(step)
        world.turn()
    world.calm_down()
    return world


FAULTS = (
    ("create", errno.ENOBUFS), ("create", errno.ENOMEM), ("replace", errno.ENOMEM),
    ("replace", errno.ENOBUFS), ("remove", errno.ENOMEM), ("remove", errno.EBUSY),
    ("read", errno.ENOBUFS), ("dump", errno.ENOMEM),
    ("write", errno.ENOBUFS), ("write", errno.ENOMEM), ("routes", errno.ENOBUFS),
)  # fmt: skip
faults = st.tuples(st.just("fail"), st.sampled_from(FAULTS), st.integers(0, 3))


@settings(max_examples=300, suppress_health_check=BUSY)
@given(st.lists(st.lists(st.one_of(moves, flaps, faults), min_size=1, max_size=4), max_size=8))
def test_calls_that_fail_leave_what_is_desired_and_no_failure(turns: list[list[Any]]) -> None:
    world = after(turns)
    assert world.meaning() == world.wanted()
    assert world.unexplained() == set()
    assert world.failures.all() == ()


def test_a_withdrawn_route_leaves_the_kernel_though_its_send_failed() -> None:
    world = World()
    world.forwarding.sweep()
    world.take((ROUTES[0], REMOTE[0]))
    world.take((ROUTES[1], REMOTE[0]))
    world.turn()
    world.take((ROUTES[0], None))
    world.routes.fails.append((0, OSError(errno.ENOBUFS, "no buffer space")))
    world.turn()
    assert len(world.meaning()) == 2, "the fault was not injected"
    assert [f.kind for f in world.failures.all()] == ["route-table"]
    world.calm_down()
    assert world.meaning() == world.wanted()
    assert world.failures.all() == ()


def test_a_full_comparison_after_a_failure_removes_what_is_not_desired() -> None:
    world = World()
    world.forwarding.sweep()
    for number in range(2):
        world.take((ROUTES[number], REMOTE[0]))
    world.turn()
    world.submit(world.moved(ROUTES[0], None))
    world.start()  # as the reconciler does: everything pending is lost
    world.forwarding.sweep()
    world.turn()
    assert world.meaning() == world.wanted()


def test_a_next_hop_that_the_kernel_removed_first_is_no_failure() -> None:
    world = World()
    world.take((ROUTES[0], CE))
    world.turn()
    world.take((ROUTES[0], None))
    world.next_hops.flush(DEVICES["ce0"])
    world.act()  # no event of it has come yet
    assert world.failures.all() == ()
    assert world.unexplained() == set()


def test_a_refused_route_that_is_no_longer_desired_does_not_fail_for_ever() -> None:
    world = World()
    world.routes.refuse = {ROUTES[0]}
    world.take((ROUTES[0], REMOTE[0]))
    world.turn()
    assert [f.kind for f in world.failures.all()] == ["route"]
    world.take((ROUTES[0], None))
    world.turn()
    assert world.failures.all() == ()
    assert world.forwarding.next_due() is None


def test_no_id_is_used_twice() -> None:
    world = World()
    seen: set[int] = set()
    for number in range(20):
        world.take((ROUTES[number % 3], REMOTE[number % 2]))
        world.take((ROUTES[(number + 1) % 3], None))
        before = set(world.next_hops.objects)
        world.turn()
        fresh = world.next_hops.objects.keys() - before
        assert not fresh & seen
        seen |= fresh


def test_ids_wrap_past_those_in_use() -> None:
    world = World()
    world.take((ROUTES[0], REMOTE[0]))
    world.turn()
    used = set(world.next_hops.objects)
    world.forwarding.groups.ids._next = LAST_NEXT_HOP
    world.take((ROUTES[1], REMOTE[1]))
    world.turn()
    assert used < set(world.next_hops.objects)
    assert LAST_NEXT_HOP in world.next_hops.objects
    assert world.meaning() == world.wanted()


def test_a_foreign_object_in_our_range_is_left_alone() -> None:
    world = World()
    foreign = Member(Afi.IPV4, 7)
    world.next_hops.foreign.add(FIRST_NEXT_HOP)
    world.next_hops.objects[FIRST_NEXT_HOP] = foreign
    world.take((ROUTES[0], CE))
    world.turn()
    world.turn()
    assert world.next_hops.objects[FIRST_NEXT_HOP] == foreign
    assert world.meaning() == world.wanted()
    assert world.failures.all() == ()


def test_a_link_event_looks_at_one_object_unless_it_was_a_flap() -> None:
    looked_at = []
    for size in (1, 3):
        world = World()
        for number in range(size):
            world.take((ROUTES[number], [*REMOTE, LINK][number]))
        world.turn()
        world.next_hops.looked_at = 0
        world.reread()
        looked_at.append(world.next_hops.looked_at)
    assert looked_at == [2, 3]  # one of each device: core0 and the blackhole; then ce0 as well
