"""The device manager reads what a change touched, plans it, and has the plan carried out in order
of phase; the packet filters are loaded between isolating VRFs and attaching ports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from controlplane.model.desired import Delta, Desired, VrfObjects
from controlplane.model.log import Log
from controlplane.model.prefix import Afi
from pe.devices.filter_load import FilterLoad
from pe.devices.ops import Phase, SetMaster, SetUp, Step
from pe.devices.pacing import Pacer
from pe.devices.plan import Planner
from pe.devices.scope import NODE, DesiredIndex, Item, Scope
from pe.devices.settings import device_settings, node_settings, settings
from pe.devices.step_executor import Performer, Planned, StepExecutor
from pe.filters.manager import FilterManager
from pe.model.guards import Guard
from pe.model.state import Failures, LastResort, Link, Structure
from pe.netlink.ownership import BLACKHOLE, VRF_ALIAS


class StructureKernel(Performer, Protocol):
    """Reads and changes the kernel's structure (``pe.devices.kernel``)."""

    async def read_all(self, settings: Callable[[Iterable[str]], Iterable[str]]) -> Structure:
        """Read all devices, addresses, rules, last resorts, labels and these settings."""

    def read_device(self, seen: Structure, name: str) -> None:
        """Read one device and its addresses into ``seen``."""

    def read_table(self, seen: Structure, table: int) -> None:
        """Read the last resorts of one table into ``seen``."""

    def read_label(self, seen: Structure, label: int) -> None:
        """Read our route of one label into ``seen``."""

    def read_settings(self, seen: Structure, paths: Iterable[str]) -> None:
        """Read these settings into ``seen``."""


class DeviceManager:
    """``seen`` is what was read last; ``dirty`` names the objects that may differ from it or from
    what is desired. The cost of an iteration follows from ``dirty`` alone."""

    def __init__(
        self,
        desired: Desired,
        kernel: StructureKernel,
        guards: FilterManager,
        failures: Failures,
        log: Log,
        *,
        disabled: frozenset[Guard],
        spare_ports: frozenset[str],
        neighbours: int,
    ) -> None:
        self.desired = self._desired = desired
        self._kernel, self._disabled = kernel, disabled
        self._index = DesiredIndex(desired)
        self.seen = Structure()
        self.dirty = Scope(everything=True)
        self.links_changed: set[int] = set()
        """Indexes of devices that were added, deleted, or set up or down since the last report."""
        self.labels_read: set[int] = set()
        """Labels whose owner may be another one since this was last emptied."""
        self.ports_changed: set[str] = set()
        """Configured ports whose state may have changed since the last report."""
        self._leftovers = Scope()
        self._ready: dict[int, bool] = {}
        self._steps = StepExecutor(kernel, failures, log, self._is_allowed)
        self.filters = FilterLoad(
            desired, guards, failures, self._steps.fail,
            disabled=disabled, spare_ports=spare_ports, neighbours=neighbours,
        )  # fmt: skip

    # -- what may have changed ----------------------------------------------------------------

    def changing(self, delta: Delta) -> None:
        """Note a change of what is desired, before it is applied."""
        if delta.node is not None and self._desired.node is None:
            self.resync()
            self._steps.expect_all()
        before = self._index.touched(delta)
        self.filters.note(delta)
        self._index.follow(delta)
        touched = self._index.touched(delta)
        touched.add(before)
        if touched.node and (delta.vrfs or not self._desired.vrfs):
            touched.devices.add(BLACKHOLE)
        self.dirty.add(touched)
        self._steps.expect(_items(touched))
        self.ports_changed |= delta.ce_ports.keys() | delta.core_ports.keys()
        for name in delta.vrfs.keys() & self._desired.vrfs.keys():
            self._ready.pop(self._desired.vrfs[name].table, None)
            self.dirty.devices |= self.seen.members.get(name, set())
        # Until it is seen to be isolated.
        self._ready |= {vrf.table: False for vrf in delta.vrfs.values() if vrf}

    def resync(self) -> None:
        """Read and compare everything: notifications were lost, or a write failed."""
        self.dirty.everything = True

    def swept(self) -> None:
        """Delete from now on what is ours and not desired."""
        self.resync()
        self._steps.expect_all()

    def touch(self, device: str) -> None:
        """Mark a device for reading: it or its addresses changed."""
        self.dirty.devices.add(device)

    def device_added(self, device: str) -> None:
        """Note that a configured device was added: what it needs is no drift."""
        self._steps.expect([("device", device), *_items(self._index.dependents(device))])

    def table_touched(self, table: int) -> None:
        """Mark a table for reading: its last resort changed."""
        self.dirty.tables.add(table)
        vrf = self._index.vrf_of.get(table)
        if vrf is not None:
            self.dirty.devices.add(vrf)

    def link_seen(self, link: Link) -> None:
        """Take a device's new state from a notification, before the device is read."""
        before = self.seen.links.get(link.name)
        self.seen.put_link(link)
        self._note_link(link.name, before, link)

    def link_gone(self, name: str) -> None:
        """Take a device's deletion from a notification."""
        before = self.seen.links.get(name)
        self.seen.drop_link(name)
        self._note_link(name, before, None)

    # -- reading ------------------------------------------------------------------------------

    async def read(self, scope: Scope) -> None:
        """Read the current state of these objects."""
        if scope.everything:
            await self._read_all()
            return
        pacer = Pacer()
        if scope.node:
            paths = (s.path for s in node_settings(self._desired, self._disabled))
            self._kernel.read_settings(self.seen, paths)
        for table in list(scope.tables):
            self._kernel.read_table(self.seen, table)
            await pacer.pause()
        for name in list(scope.devices):
            self._read_device(name)
            await pacer.pause()
        for label in list(scope.labels):
            self._kernel.read_label(self.seen, label)
            self.labels_read.add(label)
            await pacer.pause()

    async def _read_all(self) -> None:
        before = self.seen
        self.seen = await self._kernel.read_all(self._paths)
        # What notifications reported meanwhile is newer than this reading may be.
        for name in list(self.dirty.devices):
            self._kernel.read_device(self.seen, name)
        self.labels_read |= before.foreign_labels ^ self.seen.foreign_labels
        pacer = Pacer()
        for name in [*before.links.keys() | self.seen.links.keys()]:
            old, new = before.links.get(name), self.seen.links.get(name)
            if old != new:
                self._note_link(name, old, new)
            await pacer.pause()
        self.ports_changed |= self._desired.ce_ports.keys() | self._desired.core_ports.keys()
        self._ready = {v.table: self._is_isolated(n) for n, v in self._desired.vrfs.items()}

    def _read_device(self, name: str) -> None:
        before, addresses = self.seen.links.get(name), self.seen.addresses.get(name, frozenset())
        self._kernel.read_device(self.seen, name)
        if name in self._desired.vrfs:
            self._kernel.read_table(self.seen, self._desired.vrfs[name].table)
        wanted = device_settings(name, self._desired, self._disabled)
        self._kernel.read_settings(self.seen, (setting.path for setting in wanted))
        after = self.seen.links.get(name)
        if before != after:
            self._note_link(name, before, after)
        if addresses != self.seen.addresses.get(name, frozenset()):
            self._note_port(name)
            if name in self._desired.core_ports:
                self.filters.core_addresses_changed()
        if name in self._desired.vrfs:
            self._ready[self._desired.vrfs[name].table] = self._is_isolated(name)

    def _paths(self, devices: Iterable[str]) -> Iterable[str]:
        vlans = (port.name for port in self._desired.ce_ports.values() if port.parent)
        return settings(self._desired, {*devices, *vlans}, self._disabled)

    def _note_link(self, name: str, before: Link | None, after: Link | None) -> None:
        """Note what follows from a device's change for the objects that depend on it."""
        self._note_port(name)
        if _carries(before) != _carries(after):
            self.links_changed |= {link.index for link in (before, after) if link}
            self.dirty.devices |= self._index.vlans_on.get(name, set())
        if _identity(before) == _identity(after):
            return
        self.dirty.add(self._index.dependents(name))
        # The kernel adds the rule for all VRFs with the first one, and never again.
        self.dirty.node |= after is not None and after.kind == "vrf"
        if self._is_filtered(name):
            self.filters.device_changed(name, rebound=before is not None)

    def _note_port(self, name: str) -> None:
        if name in self._desired.ce_ports or name in self._desired.core_ports:
            self.ports_changed.add(name)

    def _is_filtered(self, name: str) -> bool:
        desired = self._desired
        configured = name in desired.ce_ports or name in desired.core_ports
        return configured or name in self._index.vlans_on

    # -- converging -----------------------------------------------------------------------------

    def is_due(self, now: float) -> bool:
        """True if something may differ, or is to be tried again."""
        if self.dirty or any(self._steps.due_again(now)):
            return True
        return self.filters.is_due(now)

    async def up(self, now: float, *, sweep: bool) -> None:
        """Create what is missing, and note what ``down`` has to remove."""
        self.dirty.add_items([*self._steps.due_again(now)])
        scope, self.dirty = self.dirty, Scope()
        if self.filters.is_due(now):
            scope.add_items(self._steps.take_unguarded())
        await self.read(scope)
        planned = await self._plan(scope, sweep=sweep)
        self._steps.classify(planned, whole=scope.everything)
        self._leftovers.add_items(planned.leftovers())
        touched = await self._perform(planned, lambda phase: phase < Phase.FILTER, now)
        # The guards of ports that are about to go stay until these are down.
        keep = not sweep or bool(self._leftovers)
        self.ports_changed |= await self.filters.load(self.seen, now, keep=keep)
        later = await self._perform(planned, lambda p: Phase.FILTER < p <= Phase.PERMIT, now)
        # What failed or waits asks for another iteration when it is due, not for one at once.
        changed = Scope()
        changed.add_items({*touched, *later})
        await self.read(changed)
        self.dirty.add(changed)

    async def _plan(self, scope: Scope, *, sweep: bool) -> Planned:
        planner = Planner(self._desired, self._index, self.seen, scope, self._disabled, sweep=sweep)
        planned = Planned()
        pacer = Pacer()
        for item, steps in planner.items():
            planned.add(item, steps)
            await pacer.pause()
        return planned

    @property
    def has_leftovers(self) -> bool:
        """True if ``down`` has something to do."""
        return bool(self._leftovers)

    async def down(self, now: float) -> None:
        """Remove what is not desired, once no route needs it."""
        scope, self._leftovers = self._leftovers, Scope()
        planned = await self._plan(scope, sweep=True)
        await self._perform(planned, lambda p: Phase.PERMIT < p <= Phase.DETACH, now)
        await self.read(scope)
        self.ports_changed |= await self.filters.load(self.seen, now, keep=False)
        await self._perform(planned, lambda phase: phase > Phase.UNFILTER, now)
        self.dirty.add(scope)

    async def _perform(
        self, planned: Planned, chosen: Callable[[Phase], bool], now: float
    ) -> set[Item]:
        return await self._steps.perform(planned, chosen, self.seen, now)

    def _is_allowed(self, step: Step) -> bool:
        """A CE port gets into its VRF, and up, only behind its guard (FAIL-1, FAIL-4)."""
        if not isinstance(step.op, SetMaster | SetUp) or step.phase > Phase.PERMIT:
            return True
        return step.op.name not in self._desired.ce_ports or self.filters.is_guarded(step.op.name)

    @property
    def repairs(self) -> int:
        """How many changes by other programs were repaired."""
        return self._steps.repairs

    # -- answers ------------------------------------------------------------------------------

    def waits(self, vrf: str, objects: VrfObjects) -> bool:
        """Return True while these objects of a VRF ("" is the core) are to be brought to what is
        desired; what fails is retried, and is not waited for."""
        devices = objects.devices | self._index.ports_of.get(vrf, set())
        labels = objects.labels | self._index.labels_of.get(vrf, set())
        scope = Scope(
            node=bool(objects.tables) or not vrf, devices=devices, labels=labels,
            tables=objects.tables,
        )  # fmt: skip
        if self.dirty.meets(scope) or self._leftovers.meets(scope):
            return True
        return self.filters.concern(vrf, devices)

    def ready_tables(self) -> dict[int, bool]:
        """Return the tables of VRFs; True where routes may be installed."""
        return self._ready

    def _is_isolated(self, vrf: str) -> bool:
        table = self._desired.vrfs[vrf].table
        link = self.seen.links.get(vrf)
        closed = Guard.LAST_RESORT in self._disabled or all(
            LastResort(afi, table) in self.seen.last_resorts for afi in Afi
        )
        made = link is not None and link.up and link.alias == VRF_ALIAS and link.table == table
        return closed and made

    # -- the drift check ----------------------------------------------------------------------

    def devices(self) -> list[str]:
        """Return every device, desired or seen."""
        return sorted({*self.seen.links, *self._desired.vrfs, *self._desired.ce_ports})

    def check_node(self) -> None:
        """Compare the settings of the node as a whole."""
        wanted = [*node_settings(self._desired, self._disabled)]
        self._kernel.read_settings(self.seen, (setting.path for setting in wanted))
        self.dirty.node |= not all(s.holds(self.seen.sysctls.get(s.path)) for s in wanted)

    def check_devices(self, names: Iterable[str], *, whole: bool) -> None:
        """Compare the settings of these devices; with ``whole`` also links, addresses, labels."""
        for name in names:
            if whole:
                self.dirty.devices.add(name)
                self.dirty.labels |= self._index.labels_of.get(name, set())
            elif name in self.seen.links:
                wanted = device_settings(name, self._desired, self._disabled)
                self._kernel.read_settings(self.seen, (setting.path for setting in wanted))
                if not all(s.holds(self.seen.sysctls.get(s.path)) for s in wanted):
                    self.dirty.devices.add(name)


def _items(scope: Scope) -> Iterable[Item]:
    if scope.node:
        yield NODE
    yield from (("device", name) for name in scope.devices)
    yield from (("label", label) for label in scope.labels)
    yield from (("table", table) for table in scope.tables)


def _carries(link: Link | None) -> tuple[int, str, bool, bool] | None:
    return (link.index, link.name, link.up, link.carrier) if link else None


def _identity(link: Link | None) -> tuple[object, ...] | None:
    """Return what a device is: its guard and the objects that depend on it follow from this."""
    if link is None:
        return None
    return link.index, link.table, link.alias, link.hardware_type, link.has_no_remote
