"""The data plane reports each VRF when the kernel holds it, in any state of the other VRFs."""

from __future__ import annotations

import asyncio
import errno

import pytest

from controlplane.model.desired import Delta
from controlplane.model.events import Event, VrfsHeld
from pe.devices.ops import AddAddress
from tests.faults import virtual_time
from tests.faults.world import World, built


class Reported:
    """The VRFs that were reported, in order; ``names`` waits for one."""

    def __init__(self, world: World) -> None:
        self.found: list[dict[str, int]] = []
        world.plane._emit = self._take

    def _take(self, events: list[Event]) -> None:
        self.found += [event.numbers for event in events if isinstance(event, VrfsHeld)]

    async def names(self, vrf: str, number: int) -> bool:
        """Wait up to 20 s (virtual); False if it is not reported."""
        for _ in range(200):
            if any(numbers.get(vrf) == number for numbers in self.found):
                return True
            await asyncio.sleep(0.1)
        return False


async def started(world: World, monkeypatch: pytest.MonkeyPatch) -> Reported:
    world.patch(monkeypatch)
    reported = Reported(world)
    await world.plane.start()
    return reported


def test_a_vrf_is_reported_once_the_kernel_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        reported = await started(world, monkeypatch)
        world.plane.submit(built(), 1)
        assert reported.found == []
        for vrf in ("red", "blue", ""):
            assert await reported.names(vrf, 1), vrf
        assert {"red", "blue"} <= world.structure.links.keys()
        await world.plane.stop()

    virtual_time.run(story())


def test_a_vrf_that_changes_without_end_holds_no_other_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        world = World()
        reported = await started(world, monkeypatch)
        world.plane.submit(built(), 1)
        assert await reported.names("red", 1)
        iterate = world.plane._iterate

        async def churning() -> None:
            await iterate()
            world.plane._structure.touch("ce-blue")

        world.plane._iterate = churning  # type: ignore[method-assign]
        ports = built().ce_ports
        world.plane.submit(Delta(ce_ports={"ce-blue": None}), 2)
        world.plane.submit(Delta(ce_ports={"ce-blue": ports["ce-blue"]}), 3)
        world.plane.submit(Delta(ce_ports={"ce-red": None}), 4)
        assert await reported.names("red", 4)
        assert not await reported.names("blue", 3)
        assert not world.plane.is_settled
        world.plane._iterate = iterate  # type: ignore[method-assign]
        assert await reported.names("blue", 3), "the control"
        await world.plane.stop()

    virtual_time.run(story())


def test_what_the_kernel_refuses_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        world = World()
        reported = await started(world, monkeypatch)
        perform = world.devices.perform

        async def refusing(op: object) -> None:
            if isinstance(op, AddAddress) and "red" in repr(op):
                raise OSError(errno.EINVAL, "refused")
            await perform(op)  # type: ignore[arg-type]

        world.devices.perform = refusing  # type: ignore[method-assign]
        world.plane.submit(built(), 1)
        assert await reported.names("red", 1)
        assert world.plane.failures()
        await world.plane.stop()

    virtual_time.run(story())
