"""The operations on the kernel's devices, addresses, rules, labels and settings."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.model.intent import IPInterface
from pe.devices.settings import Setting
from pe.model.state import LastResort, Rule


class Phase(enum.IntEnum):
    """The order of a change. Order is security: a port stays down until its guard is loaded, and
    a VRF's table has its last resort before a port or a label leads into it."""

    DENY = 1
    """Rules, node settings."""
    RETIRE = 2
    """Delete what has to be created anew."""
    ISOLATE = 3
    """VRF devices, their last resort."""
    FILTER = 4
    """The ruleset, with the guards of new ports beside those of old ones."""
    ATTACH = 5
    """Ports, down, into their VRFs."""
    ADDRESS = 6
    LABEL = 7
    PERMIT = 8
    """Forwarding on, ports up. Next hops and routes follow: a next hop needs its port to be up."""
    UNLABEL = 9
    DETACH = 10
    """Ports down, out of their VRFs."""
    UNFILTER = 11
    """The ruleset without the guards of removed ports."""
    DISSOLVE = 12


@dataclass(frozen=True, slots=True)
class WriteSetting:
    """Set a sysctl."""

    setting: Setting


@dataclass(frozen=True, slots=True)
class AddRule:
    """Add an IP rule."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class DropRule:
    """Delete an IP rule."""

    rule: Rule


@dataclass(frozen=True, slots=True)
class AddLastResort:
    """Close a VRF's table with an ``unreachable`` default."""

    route: LastResort


@dataclass(frozen=True, slots=True)
class DropLastResort:
    """Remove that default."""

    route: LastResort


@dataclass(frozen=True, slots=True)
class CreateVrf:
    """Make a VRF device, down."""

    name: str
    table: int


@dataclass(frozen=True, slots=True)
class CreateBlackhole:
    """Create the dummy device of the blackhole next hops, down."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateVlan:
    """Make a VLAN device, down."""

    name: str
    parent: str
    vlan: int


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Delete a device that we made."""

    name: str


@dataclass(frozen=True, slots=True)
class SetUp:
    """Set a device up. With ``index`` that very device, not one that has its name by now: what
    guards a port is bound to the device (FAIL-8)."""

    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class SetDown:
    """Set a device down."""

    name: str


@dataclass(frozen=True, slots=True)
class SetMaster:
    """Put a device into a VRF, or take it out of any (``master`` empty); ``index`` as above."""

    name: str
    master: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class SetMtu:
    """Set a device's MTU in bytes."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class RefusePort:
    """Leave a CE port closed whose device cannot be one. The device manager reports it as a
    failure of the port; nothing reaches the kernel."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Put an address on a port, with our mark."""

    port: str
    interface: IPInterface


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Take an address off a port."""

    port: str
    interface: IPInterface


@dataclass(frozen=True, slots=True)
class PutLabel:
    """Pop this label and look up in this VRF."""

    label: int
    vrf: str


@dataclass(frozen=True, slots=True)
class DropLabel:
    """Delete our route of a label."""

    label: int


Op: TypeAlias = (
    WriteSetting | AddRule | DropRule | AddLastResort | DropLastResort | CreateVrf | CreateBlackhole
    | CreateVlan | DeleteDevice | SetUp | SetDown | SetMaster | SetMtu | RefusePort | AddAddress
    | DropAddress | PutLabel | DropLabel
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """An operation in its phase; ``subject`` is kind and key of the object it serves."""

    phase: Phase
    op: Op
    subject: tuple[str, str]
