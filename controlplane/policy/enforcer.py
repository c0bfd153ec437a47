"""The seam between deciding a policy and keeping it in the kernel.

``pe.policy`` implements ``Enforcer``; the control plane calls it and is told of flows. A slot is
one of the two parallel sets of maps: what is enforced, and what is staged (counted, never decides).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from controlplane.model.flow import LiveFlow, OnFlows
from controlplane.model.prefix import IPAddress
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta


class Enforcer(Protocol):
    """The acting half. ``submit`` calls never block; the last word on a slot wins."""

    def zones(self, zones: dict[str, int]) -> None:
        """VRF name -> conntrack zone of the VRFs under policy; others pay nothing."""
        ...

    def submit(self, slot: Slot, tables: Tables | None) -> None:
        """Have a slot hold these tables, in one transaction; None empties it."""
        ...

    def submit_delta(self, slot: Slot, delta: TablesDelta) -> None:
        """Change a slot that holds the tables before the delta."""
        ...

    def submit_homes(self, homes: SourceBindings) -> None:
        """Drop what comes from a port with the address of somebody who lives elsewhere."""
        ...

    def submit_homes_delta(self, delta: TablesDelta) -> None:
        """Change the homes that were submitted."""
        ...

    async def settled(self) -> None:
        """Wait until the kernel holds what was submitted; raises what it refused for good."""
        ...

    async def live(self, vrf: str, ends: Collection[IPAddress] = ()) -> Sequence[LiveFlow]:
        """The established flows of a VRF; with ``ends``, those from or to one of them."""
        ...

    async def end(self, flows: Sequence[LiveFlow]) -> int:
        """End these flows at once (``conntrack -D``); how many were there to end."""
        ...

    def watch(self, on_flows: OnFlows) -> None:
        """Tell of new flows from now on."""
        ...
