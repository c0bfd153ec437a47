"""Drift is logged per object; what the kernel refuses of one object hides no other's."""

from __future__ import annotations

import asyncio
import copy
import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from controlplane.model.desired import CePort, CorePort, Delta, Desired, Node, VrfDevice
from pe.devices import ops
from pe.devices.manager import DeviceManager
from pe.model.guards import NONE
from pe.model.state import Failures, Link, Structure
from pe.nft.model import Ruleset
from tests.pe_fakes import FakeStructure


class Kernel:
    """Devices that can refuse operations."""

    def __init__(self) -> None:
        links = (Link(1, "lo", up=True), Link(2, "core0", mtu=1500), Link(3, "ce0", mtu=1500))
        self.fake = FakeStructure(Structure(links={link.name: link for link in links}))
        self.refused: type[ops.Op] | None = None

    async def read_all(self, _settings: Any) -> Structure:
        return copy.deepcopy(self.fake.state)

    def read_device(self, seen: Structure, name: str) -> None:
        state = self.fake.state
        seen.drop_link(name)
        if name in state.links:
            seen.put_link(state.links[name])
        seen.addresses[name] = state.addresses.get(name, frozenset())

    def read_table(self, seen: Structure, table: int) -> None:
        state = self.fake.state
        seen.last_resorts = {r for r in seen.last_resorts if r.table != table}
        seen.last_resorts |= {r for r in state.last_resorts if r.table == table}

    def read_label(self, seen: Structure, label: int) -> None:
        seen.labels.pop(label, None)
        if label in self.fake.state.labels:
            seen.labels[label] = self.fake.state.labels[label]

    def read_settings(self, seen: Structure, paths: Iterable[str]) -> None:
        for path in paths:
            seen.sysctls[path] = self.fake.state.sysctls.get(path, "?")

    async def perform(self, op: ops.Op) -> None:
        if self.refused is not None and isinstance(op, self.refused):
            raise OSError(errno.EINVAL, "no")
        self.fake.perform(op)


class Guards:
    """Filters that load, unless they are ``broken``."""

    def __init__(self) -> None:
        self.broken = False
        self.loaded = False

    def doubt(self) -> None:
        self.loaded = False

    def has_chain(self, _family: str, _chain: str) -> bool:
        return self.loaded

    async def bring(self, _wanted: Ruleset, **_options: bool) -> bool:
        if self.broken:
            raise OSError(errno.ENOMEM, "no memory")
        fresh, self.loaded = not self.loaded, True
        return fresh


class World:
    def __init__(self) -> None:
        self.kernel, self.guards, self.failures = Kernel(), Guards(), Failures()
        self.logged: list[tuple[str, object]] = []
        self.now = 0.0
        desired = Desired()
        kernel: Any = self.kernel
        guards: Any = self.guards
        self.devices = DeviceManager(
            desired, kernel, guards, self.failures, self._log,
            disabled=NONE, spare_ports=frozenset(), neighbours=256,
        )  # fmt: skip
        delta = Delta(node=Node("pe1", (), 24000))
        delta.vrfs["red"] = VrfDevice("red", 16001)
        delta.ce_ports["ce0"] = CePort("ce0", "red", 1, (), None)
        delta.core_ports["core0"] = CorePort("core0", mtu=9000)
        self.devices.changing(delta)
        desired.apply(delta)

    def _log(self, _level: str, event: str, fields: dict[str, str | int]) -> None:
        self.logged.append((event, fields.get("name")))

    def turns(self, times: int) -> None:
        for _ in range(times):
            self.now += 20
            if self.devices.is_due(self.now):
                asyncio.run(self.devices.up(self.now, sweep=True))

    def drift(self) -> Iterable[object]:
        return [name for event, name in self.logged if event == "drift_repaired"]

    def failing(self) -> set[tuple[str, str]]:
        return {(failure.kind, failure.key) for failure in self.failures.all()}

    def close(self, port: str) -> None:
        state = self.kernel.fake.state
        state.put_link(replace(state.links[port], up=False))
        self.devices.touch(port)


def test_the_drift_of_one_object_is_logged_while_another_is_refused() -> None:
    world = World()
    world.kernel.refused = ops.SetMtu
    world.turns(4)
    assert ("port", "core0") in world.failing()
    assert world.drift() == []
    world.close("ce0")
    world.turns(2)
    assert world.drift() == ["ce0"]
    assert world.devices.repairs == 1


def test_what_was_refused_and_is_taken_at_last_is_no_drift() -> None:
    world = World()
    world.kernel.refused = ops.SetMtu
    world.turns(4)
    world.kernel.refused = None
    world.turns(4)
    assert world.drift() == []
    assert world.failures.all() == ()


def test_a_port_that_waits_for_its_guard_asks_for_no_turn() -> None:
    world = World()
    world.kernel.refused = ops.SetMaster
    world.turns(2)
    assert ("port", "ce0") in world.failing()
    world.kernel.refused, world.guards.broken = None, True
    world.guards.doubt()
    world.devices.filters.drifted()
    world.turns(2)
    assert not world.devices.is_due(world.now), "an iteration every 50 ms"
    assert ("ruleset", "") in world.failing()
    world.guards.broken = False
    world.turns(3)
    assert world.failures.all() == ()
    assert world.kernel.fake.state.links["ce0"].master == "red"
