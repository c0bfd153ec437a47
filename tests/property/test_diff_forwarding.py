"""Routes and next hops: after any order of changes, the kernel ends where it should, and the
incremental way ends where a full comparison does."""

from __future__ import annotations

import copy
import errno
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Delta, Desired, NextHop, NextHopPath
from controlplane.model.prefix import Afi
from pe.fib.next_hop_wire import Member
from pe.netlink.ownership import BLACKHOLE, FIRST_NEXT_HOP, LAST_NEXT_HOP
from tests.property.forwarding_worlds import (
    CE,
    DEVICES,
    GATEWAY,
    KEYS,
    LINK,
    REMOTE,
    ROUTES,
    World,
    deltas,
    paths,
)

BUSY = [HealthCheck.too_slow]
"""A machine that runs other things draws slowly: that is no fault of the code."""


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
