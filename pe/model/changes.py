"""Record by name which objects a change touched, so that only those are compared again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from controlplane.model.peer import PeerId


@dataclass(slots=True)
class FilterChanges:
    """Record the changes that the packet filters have to follow.

    A port is named when its configuration changed or its device came or went, and the parent of
    a VLAN port with it; a VRF when its own configuration, the addresses of its ports or the
    policy's demands on it changed. ``rebound`` are the ports whose device is another one under
    the old name: the kernel has unbound their chains. ``node`` stands for the loopbacks and the
    addresses in the core, ``everything`` for a full comparison.
    """

    everything: bool = False
    node: bool = False
    ports: set[str] = field(default_factory=set)
    rebound: set[str] = field(default_factory=set)
    vrfs: set[str] = field(default_factory=set)
    sessions: set[PeerId] = field(default_factory=set)

    def __bool__(self) -> bool:
        named = self.ports or self.rebound or self.vrfs or self.sessions
        return self.everything or self.node or bool(named)

    def concern(self, vrf: str, devices: Collection[str]) -> bool:
        """Return True if the filters of a VRF ("" is the core) with these devices change."""
        if self.everything or self.node or vrf in self.vrfs:
            return True
        of_vrf = any(peer.vrf == vrf for peer in self.sessions)
        return of_vrf or not self.ports.isdisjoint(devices)

    def add(self, more: FilterChanges) -> None:
        """Take in further changes, such as those of a load that failed."""
        self.everything |= more.everything
        self.node |= more.node
        self.ports |= more.ports
        self.rebound |= more.rebound
        self.vrfs |= more.vrfs
        self.sessions |= more.sessions
