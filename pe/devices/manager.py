"""The device manager reads what a change touched, plans it, and carries out the plan in order of
phase; the packet filters are loaded between isolating VRFs and attaching ports."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from controlplane.model.desired import Delta, Desired, VrfObjects
from controlplane.model.prefix import Afi
from pe.devices.filter_load import FilterLoad
from pe.devices.ops import AddRule, DropRule, Op, Phase, SetMaster, SetUp, Step
from pe.devices.pacing import Pacer
from pe.devices.plan import Planner
from pe.devices.scope import NODE, DesiredIndex, Item, Scope
from pe.devices.settings import device_settings, node_settings, settings
from pe.filters.manager import FilterManager
from pe.model.guards import Guard
from pe.model.state import Failures, LastResort, Link, Structure
from pe.netlink.ownership import BLACKHOLE, PROTOCOL, VRF_ALIAS

Log = Callable[[str, str, dict[str, str | int]], None]
MAX_REPEATS = 4
"""After this many repetitions in a row a step counts as failed and waits for its retry."""


@dataclass(slots=True)
class Planned:
    """The steps of each object, and all of them as they were planned: of two objects in one phase
    the order is that of the plan."""

    items: dict[Item, list[Step]] = field(default_factory=dict)
    steps: list[tuple[Step, Item]] = field(default_factory=list)

    def add(self, item: Item, steps: list[Step]) -> None:
        """Append the steps of an object."""
        self.items.setdefault(item, []).extend(steps)
        self.steps.extend((step, item) for step in steps)


class StructureKernel(Protocol):
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

    async def perform(self, op: Op) -> None:
        """Carry out one operation. Raises OSError."""


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
        self._failures, self._log = failures, log
        self._index = DesiredIndex(desired)
        self.seen = Structure()
        self.dirty = Scope(everything=True)
        self.repairs = 0
        self.links_changed: set[int] = set()
        """Indexes of devices that were added, deleted, or set up or down since the last report."""
        self.labels_read: set[int] = set()
        """Labels whose owner may be another one since this was last emptied."""
        self.ports_changed: set[str] = set()
        """Configured ports whose state may have changed since the last report."""
        # Differences that follow from a change or from a new device: not drift.
        self._expected: set[Item] = set()
        self._all_expected = True
        self._leftovers = Scope()
        self._failing: dict[Item, set[tuple[str, str]]] = {}
        self._repeats: dict[Item, Counter[Step]] = {}
        self._unguarded: set[Item] = set()
        self._ready: dict[int, bool] = {}
        self.filters = FilterLoad(
            desired, guards, failures, self._fail,
            disabled=disabled, spare_ports=spare_ports, neighbours=neighbours,
        )  # fmt: skip

    # -- what may have changed ----------------------------------------------------------------

    def changing(self, delta: Delta) -> None:
        """Note a change of what is desired, before it is applied."""
        if delta.node is not None and self._desired.node is None:
            self.resync()
            self._all_expected = True
        before = self._index.touched(delta)
        self.filters.note(delta)
        self._index.follow(delta)
        touched = self._index.touched(delta)
        touched.add(before)
        if touched.node and (delta.vrfs or not self._desired.vrfs):
            touched.devices.add(BLACKHOLE)
        self.dirty.add(touched)
        self._expected |= set(_items(touched))
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
        self._all_expected = True

    def touch(self, device: str) -> None:
        """Mark a device for reading: it or its addresses changed."""
        self.dirty.devices.add(device)

    def device_added(self, device: str) -> None:
        """Note that a configured device was added: what it needs is no drift."""
        self._expected.add(("device", device))
        self._expected |= set(_items(self._index.dependents(device)))

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
        if self.dirty or any(self._due_again(now)):
            return True
        return self.filters.is_due(now)

    def _due_again(self, now: float) -> Iterable[Item]:
        return (
            item
            for item, subjects in self._failing.items()
            if any(self._failures.due(kind, key, now) for kind, key in subjects)
        )

    async def up(self, now: float, *, sweep: bool) -> None:
        """Create what is missing, and note what ``down`` has to remove."""
        self.dirty.add_items([*self._due_again(now)])
        scope, self.dirty = self.dirty, Scope()
        if self.filters.is_due(now):
            scope.add_items(self._unguarded)
            self._unguarded.clear()
        await self.read(scope)
        planned = await self._plan(scope, sweep=sweep)
        self._classify(planned, whole=scope.everything)
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

    def _classify(self, planned: Planned, *, whole: bool) -> None:
        """Distinguish drift from change, and clear failures of objects that need no step."""
        if self._all_expected and whole:
            self._all_expected = False
            self._expected |= planned.items.keys()
        gone = self._failing.keys() - planned.items.keys() if whole else set[Item]()
        for item in [*gone, *planned.items]:
            steps = planned.items.get(item, [])
            self._clear(item, {step.subject for step in steps})
            if any(step.phase > Phase.PERMIT for step in steps):
                self._leftovers.add_items([item])
            if not steps:
                self._expected.discard(item)
                self._repeats.pop(item, None)
            elif item not in self._expected and not self._failing.get(item):
                self._note_drift(steps)
            if counts := self._repeats.get(item):
                self._repeats[item] = Counter({step: counts[step] for step in steps})

    def _clear(self, item: Item, wanted: set[tuple[str, str]]) -> None:
        failing = self._failing.get(item)
        if failing is None:
            return
        for kind, key in failing - wanted:
            self._failures.cleared(kind, key)
        failing &= wanted
        if not failing:
            del self._failing[item]

    def _note_drift(self, steps: list[Step]) -> None:
        for step in steps:
            self.repairs += 1
            fields: dict[str, str | int] = {"kind": step.subject[0], "name": step.subject[1]}
            self._log("warning", "drift_repaired", {**fields, "step": repr(step.op)})

    async def _perform(
        self, planned: Planned, chosen: Callable[[Phase], bool], now: float
    ) -> set[Item]:
        """Carry out the steps of these phases; returns the objects that were changed."""
        steps = [each for each in planned.steps if chosen(each[0].phase)]
        steps.sort(key=lambda each: each[0].phase)
        done: set[Item] = set()
        broken: set[tuple[str, str]] = set()
        pacer = Pacer()
        for step, item in steps:
            await pacer.pause()
            if not self._is_allowed(step):
                # The port waits for its guard. A failure that is due and not retried would have
                # the object planned again at once, without end.
                self._clear(item, set())
                self._unguarded.add(item)
                continue
            if step.subject in broken or self._failures.waiting(*step.subject, now):
                continue
            try:
                await self._try(step, item)
                done.add(item)
            except OSError as error:
                broken.add(step.subject)
                self._failing.setdefault(item, set()).add(step.subject)
                self._fail(*step.subject, error, now)
        return done

    async def _try(self, step: Step, item: Item) -> None:
        counts = self._repeats.setdefault(item, Counter())
        counts[step] += 1
        await self._kernel.perform(step.op)
        match step.op:  # rules are followed by notifications and not read again
            case AddRule(rule):
                self.seen.put_rule(replace(rule, protocol=PROTOCOL))
            case DropRule(rule):
                self.seen.rules.pop(rule, None)
        if counts[step] >= MAX_REPEATS:
            raise OSError(errno.EAGAIN, f"does not stay: {step.op!r}")

    def _fail(self, kind: str, key: str, error: OSError, now: float) -> None:
        if self._failures.failed(kind, key, error, now):
            words = error.strerror or str(error)
            self._log("error", "kernel_refused", {"kind": kind, "name": key, "reason": words})

    def _is_allowed(self, step: Step) -> bool:
        """A CE port gets into its VRF, and up, only behind its guard (FAIL-1, FAIL-4)."""
        if not isinstance(step.op, SetMaster | SetUp) or step.phase > Phase.PERMIT:
            return True
        return step.op.name not in self._desired.ce_ports or self.filters.is_guarded(step.op.name)

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


def _identity(link: Link | None) -> tuple[int, int, str] | None:
    return (link.index, link.table, link.alias) if link else None
