"""What follows a change, of any kind and in any order, leaves nothing for a full comparison."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any, cast

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Delta, Desired
from pe.devices.manager import DeviceManager
from pe.devices.ops import DeleteDevice
from pe.devices.plan import plan
from pe.filters.manager import FilterManager
from pe.model.guards import NONE
from pe.model.state import Failures, Structure
from tests.pe_fakes import FakeFilters, FakeStructure, FakeStructureKernel
from tests.property.test_diff_structure import PORTS, VRFS, _has_our_name, desired_states, kernels

TABLES = ("vrfs", "ce_ports", "core_ports", "labels")


class Rig:
    """A device manager over a fake kernel, driven as the reconciler drives it."""

    def __init__(self, state: Structure) -> None:
        self.desired = Desired()
        self.kernel = FakeStructureKernel(FakeStructure(copy.deepcopy(state)))
        filters = cast(FilterManager, FakeFilters())
        self.log: list[str] = []
        self.manager = DeviceManager(
            self.desired, self.kernel, filters, Failures(), self._log,
            disabled=NONE, spare_ports=frozenset(), neighbours=8,
        )  # fmt: skip
        self.now = 0.0

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.log.append(f"{level} {event} {fields}")

    def want(self, desired: Desired) -> None:
        """Submit the difference to this."""
        delta = Delta(node=desired.node)
        for name in TABLES:
            before, after = getattr(self.desired, name), getattr(desired, name)
            changes = {key: None for key in before if key not in after}
            changes |= {key: value for key, value in after.items() if before.get(key) != value}
            setattr(delta, name, changes)
        self.manager.changing(delta)
        self.desired.apply(delta)

    async def settle(self) -> None:
        """Iterate until there is nothing left to do."""
        for _ in range(60):
            self.now += 20.0  # what failed is due again
            if self.manager.is_due(self.now):
                await self.manager.up(self.now, sweep=True)
            elif self.manager.has_leftovers:
                await self.manager.down(self.now)
            else:
                return
            self.manager.dirty.add(self.kernel.notified)
            self.kernel.notified.devices.clear()
            self.kernel.notified.labels.clear()
        raise AssertionError("it does not settle")

    def meddle(self, what: str, name: str) -> None:
        """Another process changes a device, and the kernel notifies of it."""
        state = self.kernel.world.state
        link = state.links.get(name)
        if link is None:
            return
        match what:
            case "down":
                state.put_link(replace(link, up=False, carrier=False))
                self.manager.link_seen(replace(link, up=False, carrier=False))
            case "address":
                state.addresses[name] = frozenset()
            case "delete" if not any(state.links[n].up for n in state.members.get(name, ())):
                labels = set(state.labels)
                self.kernel.world.perform(DeleteDevice(name))
                self.manager.link_gone(name)
                self.manager.dirty.labels |= labels - state.labels.keys()
        self.manager.touch(name)


steps = st.lists(
    st.one_of(
        desired_states(),
        st.tuples(
            st.sampled_from(("down", "address", "delete")),
            st.sampled_from((*PORTS, *VRFS, "trunk")),
        ),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(kernels(), desired_states(), steps)
def test_following_changes_leaves_nothing_for_a_full_comparison(
    state: Structure, first: Desired, changes: list[Any]
) -> None:
    every = [first, *(c for c in changes if isinstance(c, Desired))]
    assume(not any(_has_our_name(port, state) for d in every for port in d.ce_ports.values()))

    async def run() -> None:
        rig = Rig(state)
        for change in [first, *changes]:
            if isinstance(change, Desired):
                rig.want(change)
            else:
                rig.meddle(*change)
            await rig.settle()
            left = plan(rig.desired, rig.kernel.world.state)
            assert not left, (left, change)
        assert rig.kernel.reads["all"] == 1

    asyncio.run(run())
