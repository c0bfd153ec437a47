"""The data plane: the work for one change does not grow with the ports and VRFs that there are.

Each kind of change is made in a node with 10 VRFs of one port each and in one with 1,000. Lines of
code, objects read and operations are counted. The packet filters are rendered elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address, ip_interface
from typing import cast

import pytest

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    Desired,
    LabelBinding,
    Node,
    Session,
    VrfDevice,
)
from controlplane.model.label import Label
from controlplane.model.peer import PeerId
from pe.dataplane.foreign import ForeignObjects
from pe.dataplane.netlink_events import NetlinkEventHandler
from pe.devices.drift import DriftCheck
from pe.devices.manager import DeviceManager
from pe.fib.manager import FibManager
from pe.filters.manager import FilterManager
from pe.model.guards import NONE
from pe.model.state import Failures, Link, PortAddress, Rule, Structure
from pe.netlink.main_routes import MainRoute
from tests.parts import LonePart
from tests.pe_fakes import FakeFilters, FakeStructure, FakeStructureKernel
from tests.scale.work import assert_flat, by_function

SMALL, LARGE = 10, 1000
FILTERS = ("pe/filters", "pe/nft")


def vrf(n: int) -> VrfDevice:
    return VrfDevice(f"vrf{n}", 20000 + n)


def port(n: int, mtu: int = 0) -> CePort:
    own = ip_interface(f"10.{n >> 8}.{n & 255}.1/30")
    return CePort(f"v{n}", f"vrf{n}", n, (own,), None, parent="trunk", vlan=n % 4000 + 1, mtu=mtu)


def session(n: int) -> Session:
    return Session(PeerId(f"vrf{n}", ip_address("10.0.0.2")), ip_address("10.0.0.1"), f"v{n}", 255)


def layout(size: int) -> Delta:
    """The desired state of a node of this size, as one change."""
    return Delta(
        node=Node("pe1", (ip_address("10.255.0.1"),), 40000),
        vrfs={f"vrf{n}": vrf(n) for n in range(size)},
        ce_ports={f"v{n}": port(n) for n in range(size)},
        core_ports={"core0": CorePort("core0", (ip_interface("192.0.2.1/31"),))},
        sessions={session(n).peer: session(n) for n in range(size)},
        labels={Label(20000 + n): LabelBinding(Label(20000 + n), f"vrf{n}") for n in range(size)},
    )


class World:
    """A node at rest, every object in place."""

    def __init__(self, size: int) -> None:
        links = {name: Link(i, name, up=True, carrier=True, mtu=1500)
                 for i, name in enumerate(("lo", "trunk", "core0", "veth9"), 1)}  # fmt: skip
        self.kernel = FakeStructureKernel(FakeStructure(Structure(links)))
        self.desired, self.filters, failures = Desired(), FakeFilters(), Failures()
        self.manager = DeviceManager(
            self.desired, self.kernel, cast(FilterManager, self.filters), failures,
            lambda *_: None, disabled=NONE, spare_ports=frozenset(), neighbours=8,
        )  # fmt: skip
        fib = cast(FibManager, None)  # no event here is about routes
        self.events = NetlinkEventHandler(
            self.manager, fib, self.desired.ce_ports.__contains__, failures, lambda *_: None,
            ForeignObjects(self.desired, lambda *_: None, LonePart()),
        )  # fmt: skip
        self.now = 0.0
        self.submit(layout(size))
        asyncio.run(self.settle())

    def submit(self, delta: Delta) -> None:
        self.manager.changing(delta)
        self.desired.apply(delta)

    async def settle(self) -> None:
        for _ in range(20):
            self.now += 20.0
            if self.manager.is_due(self.now):
                await self.manager.up(self.now, sweep=True)
            elif self.manager.has_leftovers:
                await self.manager.down(self.now)
            else:
                return
            self.events.news(no_routes)
            # The kernel notifies of what was done.
            seen = self.kernel.notified
            self.manager.dirty.add(seen)
            seen.devices.clear()
            seen.labels.clear()
        raise AssertionError("it does not settle")


def no_routes(_device: int) -> list[MainRoute]:
    return []


@dataclass(frozen=True)
class Change:
    """A change, made in a settled world and taken back after it was measured."""

    make: Callable[[World], None]
    back: Callable[[World], None]


def deltas(make: Delta, back: Delta) -> Change:
    return Change(lambda world: world.submit(make), lambda world: world.submit(back))


def carrier(world: World, *, up: bool) -> None:
    """The link of a port loses its carrier, or has it again."""
    link = replace(world.kernel.world.state.links["v5"], carrier=up)
    world.kernel.world.state.put_link(link)
    world.manager.touch("v5")
    world.manager.link_seen(link)


def foreign_device(world: World) -> None:
    link = world.kernel.world.state.links["veth9"]
    world.manager.touch("veth9")
    world.manager.link_seen(link)


def address_lost(world: World) -> None:
    """Another process deletes the address of a port."""
    world.kernel.world.state.addresses["v5"] = frozenset[PortAddress]()
    world.manager.touch("v5")


def rule_lost(world: World) -> None:
    rule: Rule = next(r for r in world.kernel.world.state.rules if r.mark == 20005)
    del world.kernel.world.state.rules[rule]
    world.manager.seen.rules.pop(rule)
    world.manager.table_touched(20005)


def setting_changed(world: World) -> None:
    world.kernel.world.state.sysctls["ipv4/conf/v5/rp_filter"] = "1"
    world.manager.check_devices(["v5"], whole=False)


def drift_portion(world: World) -> None:
    check = DriftCheck(3.0)
    check.begin([f"v{n % 10}" for n in range(16)], 0.0)
    world.manager.check_devices(check.take(0.0), whole=True)


def nothing(_: World) -> None:
    pass


CHANGES = {
    "a port's MTU": deltas(Delta(ce_ports={"v5": port(5, 1400)}), Delta(ce_ports={"v5": port(5)})),
    "a port goes": deltas(Delta(ce_ports={"v5": None}), Delta(ce_ports={"v5": port(5)})),
    "a VRF goes": deltas(
        Delta(vrfs={"vrf5": None}, ce_ports={"v5": None}, labels={Label(20005): None}),
        Delta(
            vrfs={"vrf5": vrf(5)},
            ce_ports={"v5": port(5)},
            labels={Label(20005): LabelBinding(Label(20005), "vrf5")},
        ),
    ),
    "a session goes": deltas(
        Delta(sessions={session(5).peer: None}), Delta(sessions={session(5).peer: session(5)})
    ),
    "a label goes": deltas(
        Delta(labels={Label(20005): None}),
        Delta(labels={Label(20005): LabelBinding(Label(20005), "vrf5")}),
    ),
    "a carrier is lost": Change(lambda w: carrier(w, up=False), lambda w: carrier(w, up=True)),
    "a foreign device's event": Change(foreign_device, nothing),
    "an address is lost": Change(address_lost, nothing),
    "a rule is lost": Change(rule_lost, nothing),
    "a setting is changed": Change(setting_changed, nothing),
    "a portion of the drift check": Change(drift_portion, nothing),
    "nothing": Change(nothing, nothing),
}


@pytest.fixture(autouse=True, scope="module")
def _no_filters() -> Iterator[None]:
    """Rendering is not measured here, and takes the longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pe.devices.manager.ruleset", lambda _: {}, raising=False)
        yield


@cache
def world(size: int) -> World:
    return World(size)


def measured(size: int, change: Change) -> tuple[Counter[str], Counter[str]]:
    """Lines by function; and objects read, operations and loads of the filters."""
    there = world(size)
    kernel, before = there.kernel, there.filters.brought
    kernel.reads.clear()
    kernel.ops.clear()

    def do() -> None:
        change.make(there)
        asyncio.run(there.settle())

    lines = by_function(do, but=FILTERS)
    counted = Counter(kernel.reads)
    counted["operation"], counted["load"] = len(kernel.ops), there.filters.brought - before
    change.back(there)
    asyncio.run(there.settle())
    return lines, counted


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_costs_the_same_with_10_ports_and_with_1000(name: str) -> None:
    small, large = (measured(size, CHANGES[name]) for size in (SMALL, LARGE))
    assert large[1] == small[1]
    assert_flat(small[0], large[0], slack=1.2)


def test_the_count_sees_a_scan() -> None:
    """The control: one comparison of everything, as each change used to ask for, is found."""
    scan = Change(lambda world: world.manager.resync(), nothing)
    small, large = (measured(size, scan) for size in (SMALL, LARGE))
    with pytest.raises(AssertionError, match="grew"):
        assert_flat(small[0], large[0], slack=1.2)


def test_the_first_start_costs_the_same_for_each_port() -> None:
    def lines_per_port(size: int) -> float:
        return by_function(lambda: World(size), but=FILTERS).total() / size

    assert lines_per_port(200) <= 1.2 * lines_per_port(50)
