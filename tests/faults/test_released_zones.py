"""A zone's number is given to another VRF one day: its connections go with the VRF that had it."""

from __future__ import annotations

import errno

import msgspec
import pytest

from controlplane.model.desired import Delta, LabelBinding, VrfDevice
from controlplane.model.label import Label
from tests.faults import virtual_time
from tests.faults.adapters import Fault
from tests.faults.world import VRFS, World, built, without_blue


async def started(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.patch(monkeypatch)
    await world.plane.start()
    world.submit(built())
    world.plane.mark_in_sync()
    assert await world.follows(), world.differences()
    assert world.conntrack.flushed == []


def test_a_vrf_that_goes_takes_its_connections_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        await started(world, monkeypatch)
        world.submit(without_blue())
        assert await world.follows(), world.differences()
        assert world.conntrack.connections == {1: 7}, "those of the other VRF stay"
        assert world.conntrack.flushed == [2]
        assert "zone_flushed" in world.logged
        await world.plane.stop()

    virtual_time.run(story())


def test_connections_are_deleted_once_their_port_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a port that still forwards new ones would come."""

    async def story() -> None:
        world = World()
        await started(world, monkeypatch)
        flush, masters = world.conntrack.flush, list[str]()

        def noting(zones: frozenset[int]) -> int:
            masters.append(world.structure.links["ce-blue"].master)
            return flush(zones)

        world.conntrack.flush = noting  # type: ignore[method-assign,assignment]
        world.submit(without_blue())
        assert await world.follows(), world.differences()
        assert masters == [""]
        await world.plane.stop()

    virtual_time.run(story())


def test_a_port_that_moves_to_another_zone_leaves_none_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another label block: the VRF has another label, and so another zone."""

    async def story() -> None:
        world = World()
        await started(world, monkeypatch)
        port = built().ce_ports["ce-blue"]
        assert port is not None
        port = msgspec.structs.replace(port, zone=9)
        world.conntrack.connections[9] = 3
        world.submit(Delta(ce_ports={"ce-blue": port}))
        assert await world.follows(), world.differences()
        assert world.conntrack.connections == {1: 7, 9: 3}
        await world.plane.stop()

    virtual_time.run(story())


@pytest.mark.parametrize("port", ["ce-blue", "ce-green"])
@pytest.mark.parametrize("in_one", [True, False])
def test_a_zone_that_passes_to_another_vrf_has_none_of_the_former_ones(
    monkeypatch: pytest.MonkeyPatch, port: str, in_one: bool
) -> None:
    """With ``label-hold-down: 0`` a reload gives the label of a VRF that goes to one that comes."""

    async def story() -> None:
        world = World()
        await started(world, monkeypatch)
        table = VRFS["blue"]
        blue = built().ce_ports["ce-blue"]
        assert blue is not None
        green = Delta(vrfs={"green": VrfDevice("green", 1009)})
        green.ce_ports[port] = msgspec.structs.replace(blue, name=port, vrf="green")
        green.labels[Label(table)] = LabelBinding(Label(table), "green")
        former = without_blue()
        if in_one:
            former.merge(green)
            green = Delta()
        world.submit(former)
        world.submit(green)
        assert await world.follows(), world.differences()
        assert world.conntrack.connections == {1: 7}, "those of the other VRF stay"
        await world.plane.stop()

    virtual_time.run(story())


def test_a_flush_that_fails_is_repeated_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        await started(world, monkeypatch)
        fault = Fault(world.conntrack, "flush", OSError(errno.ENOBUFS, "injected"))
        fault.arm()
        world.submit(without_blue())
        assert await world.follows(), world.differences()
        assert fault.fired
        assert "kernel_refused" in world.logged
        assert world.conntrack.flushed == [2]
        assert not world.plane.failures()
        await world.plane.stop()

    virtual_time.run(story())
