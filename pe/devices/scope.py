"""The scope of a change: which objects of the structure have to be read and compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from controlplane.model.desired import Delta, Desired

Item: TypeAlias = tuple[str, str | int]
"""One object: ("node", 0) for the rules and settings of the node, ("device", name) for a port or
a VRF with all that belongs to it, ("label", number), ("table", number)."""

NODE: Item = ("node", 0)

T = TypeVar("T", str, int)


@dataclass(slots=True)
class Scope:
    """A set of objects; ``everything`` stands for all desired and all existing ones."""

    everything: bool = False
    node: bool = False
    devices: set[str] = field(default_factory=set)
    labels: set[int] = field(default_factory=set)
    tables: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        named = self.devices or self.labels or self.tables
        return self.everything or self.node or bool(named)

    def add(self, more: Scope) -> None:
        """Take in another scope."""
        self.everything |= more.everything
        self.node |= more.node
        self.devices |= more.devices
        self.labels |= more.labels
        self.tables |= more.tables

    def meets(self, other: Scope) -> bool:
        """Return True if an object is in both."""
        if not (self and other):
            return False
        return (
            self.everything
            or other.everything
            or (self.node and other.node)
            or not self.devices.isdisjoint(other.devices)
            or not self.labels.isdisjoint(other.labels)
            or not self.tables.isdisjoint(other.tables)
        )

    def add_items(self, items: Iterable[Item]) -> None:
        """Take in single objects."""
        for item in items:
            match item:
                case ("device", str(name)):
                    self.devices.add(name)
                case ("label", int(number)):
                    self.labels.add(number)
                case ("table", int(number)):
                    self.tables.add(number)
                case _:
                    self.node = True


class DesiredIndex:
    """An index of the desired state: ports by VRF and by parent, labels by VRF, VRFs by table.
    ``follow`` maintains it, so that a change finds the dependents of an object at once."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self.ports_of: dict[str, set[str]] = {}
        self.vlans_on: dict[str, set[str]] = {}
        self.labels_of: dict[str, set[int]] = {}
        self.vrf_of: dict[int, str] = {}
        self.follow(Delta(
            vrfs=dict(desired.vrfs), ce_ports=dict(desired.ce_ports), labels=dict(desired.labels),
        ))  # fmt: skip

    def follow(self, delta: Delta) -> None:
        """Take in a change, before it is applied to the desired state."""
        for name, vrf in delta.vrfs.items():
            before = self._desired.vrfs.get(name)
            if before and self.vrf_of.get(before.table) == name:
                del self.vrf_of[before.table]
            if vrf:
                self.vrf_of[vrf.table] = name
        for name, port in delta.ce_ports.items():
            if old := self._desired.ce_ports.get(name):
                _discard(self.ports_of, old.vrf, name)
                _discard(self.vlans_on, old.parent, name)
            if port:
                self.ports_of.setdefault(port.vrf, set()).add(name)
                if port.parent:
                    self.vlans_on.setdefault(port.parent, set()).add(name)
        for number, binding in delta.labels.items():
            if was := self._desired.labels.get(number):
                _discard(self.labels_of, was.vrf, number)
            if binding:
                self.labels_of.setdefault(binding.vrf, set()).add(number)

    def touched(self, delta: Delta) -> Scope:
        """Return the objects that have to be compared after a change (not applied yet)."""
        scope = Scope(node=delta.node is not None)
        for name, vrf in delta.vrfs.items():
            before = self._desired.vrfs.get(name)
            scope.devices.add(name)
            scope.tables |= {each.table for each in (before, vrf) if each}
            if before is None or vrf is None or before.table != vrf.table:
                scope.add(self.dependents(name))
                scope.node = True  # the rule for all VRFs, and the blackhole device
        for name, port in delta.ce_ports.items():
            scope.devices.add(name)
            if port and port.parent:
                scope.devices.add(port.parent)
        scope.devices |= delta.core_ports.keys()
        scope.labels |= delta.labels.keys()
        return scope

    def dependents(self, device: str) -> Scope:
        """Return what has to be compared when a device was added, deleted or replaced."""
        return Scope(
            devices=self.ports_of.get(device, set()) | self.vlans_on.get(device, set()),
            labels=set(self.labels_of.get(device, ())),
        )


def _discard(sets: dict[str, set[T]], key: str, value: T) -> None:
    found = sets.get(key)
    if found is not None:
        found.discard(value)
        if not found:
            del sets[key]
