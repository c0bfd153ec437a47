"""What a turn keeps in order: identities before routes, VRF by VRF, and nothing else waits."""

from __future__ import annotations

import itertools

from controlplane.model.attributes import Nlri
from controlplane.model.desired import Desired
from controlplane.model.effects import Announce, Effects, ExpectVerdicts
from controlplane.model.events import (
    Event,
    IntentChanged,
    PolicyMapsHeld,
    PolicyMapsRefused,
    RoutesReceived,
    RoutesWithdrawn,
    StoreWritten,
    TimePassed,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import WorkloadIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.workload import Workload
from controlplane.policy.acknowledgements import SETTLE_SECONDS
from controlplane.policy.requests import DetachRequested, WorkloadAttachRequested
from controlplane.policy.state import HOLD_DOWN_SECONDS
from tests.turns import decide, saves_of
from tests.unit.controlplane.rig import PE2, VPN4, Rig, node, vpn_attributes, vrf

RD = parse_rd("65001:1")
FAR, FAR2, PLAIN = "10.9.0.1/32", "10.9.0.2/32", "10.8.0.0/16"


class Slow:
    """A router whose policy maps are acknowledged by hand; the store is quick."""

    def __init__(self) -> None:
        rig = Rig(vrf("red", 1), vrf("blue", 2)).ready()
        rig.underlay("10.0.0.3", to="10.255.0.3/32")
        rig.started()
        self.rig, self.router, self.kernel = rig, rig.router, rig.kernel
        self.now, self.boot, self.wall = rig.now, 1000.0, 5e8
        self.last = Effects()
        self._tickets = itertools.count(1)

    @property
    def instant(self) -> Instant:
        return Instant(self.now, self.wall, BootTime("b", self.boot))

    def do(self, *events: Event) -> Effects:
        self.last = self.router.handle(events, self.instant)
        self.kernel.apply(self.last.delta)
        if saves_of(self.last):
            self.do(StoreWritten())
        return self.last

    def wait(self, seconds: float) -> Effects:
        self.now += seconds
        self.boot += seconds
        return self.do(TimePassed())

    def remote(self, *prefixes: str, groups: tuple[int, ...] = (),
               rts: tuple[str, ...] = ("65000:1",), label: int = 300) -> Effects:  # fmt: skip
        large = tuple((65000, 1, group) for group in groups)
        attributes = vpn_attributes(*rts, large_communities=large)
        nlri = [Nlri(parse_prefix(p), RD, (label,)) for p in prefixes]
        return self.do(RoutesReceived(PE2, VPN4, PE2.address, attributes, nlri))

    def withdraw(self, *prefixes: str) -> Effects:
        nlri = [Nlri(parse_prefix(p), RD) for p in prefixes]
        return self.do(RoutesWithdrawn(PE2, VPN4, nlri))

    def routes(self, name: str = "red") -> set[str]:
        number = self.router.vrfs[name].number
        return {str(p) for p in self.kernel.routes.get(number, {})} & {FAR, FAR2, PLAIN}

    def hold(self) -> Effects:
        return self.do(PolicyMapsHeld(self.router.policy.maps.number))

    def attach(self, name: str = "web") -> Effects:
        address = parse_prefix("192.0.2.9")
        workload = Workload(name, "red", "red-ce", (address,), {"a": name})
        return self.do(WorkloadAttachRequested(next(self._tickets), workload, "ada"))


def test_a_remote_endpoint_s_route_waits_for_its_identity_and_no_other_does() -> None:
    pe = Slow()
    pe.remote(FAR, groups=(7,))
    pe.remote(PLAIN, rts=("65000:1", "65000:2"))
    assert pe.routes() == {PLAIN}
    assert pe.routes("blue") == {PLAIN}
    pe.hold()
    assert pe.routes() == {FAR, PLAIN}
    pe.wait(0)
    assert pe.router.policy.maps.is_waiting is False


def test_the_next_hop_of_the_route_that_is_replaced_stays_meanwhile() -> None:
    pe = Slow()
    pe.remote(FAR)
    (former,) = pe.kernel.next_hops
    pe.remote(FAR, groups=(0,), label=301)
    assert former in pe.kernel.next_hops, "the route in the kernel needs it"
    pe.hold()
    assert former not in pe.kernel.next_hops
    assert pe.routes() == {FAR}
    _consistent(pe.kernel)


def test_a_withdrawal_does_not_wait() -> None:
    pe = Slow()
    pe.remote(FAR, groups=(7,))
    pe.withdraw(FAR)
    pe.hold()
    assert pe.routes() == set()
    pe.remote(FAR, groups=(7,))
    pe.hold()
    assert pe.routes() == {FAR}, "the control"
    pe.withdraw(FAR)
    assert pe.routes() == set()
    _consistent(pe.kernel)


def test_maps_that_are_late_or_refused_hold_no_route_for_good() -> None:
    pe = Slow()
    pe.remote(FAR, groups=(7,))
    assert pe.router.next_deadline is not None
    assert pe.router.next_deadline <= pe.now + SETTLE_SECONDS
    pe.wait(SETTLE_SECONDS - 1)
    assert pe.routes() == set()
    pe.wait(1)
    assert pe.routes() == {FAR}
    pe.remote(FAR2, groups=(7,))
    assert pe.routes() == {FAR}
    pe.do(PolicyMapsRefused(pe.router.policy.maps.number, "no memory"))
    assert pe.routes() == {FAR, FAR2}


def test_a_workload_is_advertised_once_the_kernel_knows_it() -> None:
    pe = Slow()
    said = [*pe.attach().actions]
    assert not [a for a in said if isinstance(a, Announce)]
    said = pe.hold().actions
    assert [str(n.prefix) for a in said if isinstance(a, Announce) for n in a.nlri] == [
        "192.0.2.9/32"
    ]


def test_a_workload_that_left_meanwhile_is_not_advertised() -> None:
    pe = Slow()
    pe.attach()
    pe.do(DetachRequested(99, "web", "ada"))
    said = pe.hold().actions
    assert not [a for a in said if isinstance(a, Announce)]


def test_a_new_vrf_under_policy_is_expected_before_it_opens() -> None:
    pe = Slow()
    web = WorkloadIntent(name="web", port="green-ce", addresses=(parse_prefix("192.0.2.9"),))
    green = vrf("green", 3, workloads=(web,))
    effects = decide(pe.router, [IntentChanged(node(vrf("red", 1), green))], pe.instant)
    (expected,) = [a for a in effects.actions if isinstance(a, ExpectVerdicts)]
    assert expected.vrfs == {"green"}
    assert "green" in effects.delta.vrfs
    again = decide(pe.router, [IntentChanged(node(vrf("red", 1), green))], pe.instant)
    assert not [a for a in again.actions if isinstance(a, ExpectVerdicts)]


def test_a_step_of_the_wall_clock_changes_no_hold_down() -> None:
    pe = Slow()
    pe.attach()
    pe.hold()
    pe.do(DetachRequested(99, "web", "ada"))
    pe.hold()
    held_down = pe.router.policy.state.population.held_down
    assert held_down
    for step in (1e6, -2e6):
        pe.wall += step
        pe.wait(1)
        assert held_down, "a step forward must not end it"
    pe.wait(HOLD_DOWN_SECONDS - 3)
    assert held_down
    assert pe.router.next_deadline is not None
    assert pe.router.next_deadline <= pe.now + 1
    pe.wait(1)
    assert not held_down, "a step back must not make it longer"


def _consistent(kernel: Desired) -> None:
    """No route in the kernel is without its next hop."""
    used = {hop for routes in kernel.routes.values() for hop in routes.values()}
    assert used <= kernel.next_hops.keys()
