"""The routes of the workloads that are attached here, and the remote endpoints."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bgp.path import RouteProtocol, Source
from controlplane.model.attributes import Attributes
from controlplane.model.workload import RemoteEndpointsChanged, WorkloadAttached
from controlplane.vpn.claims import Marking
from controlplane.vpn.vrf import Vrf
from controlplane.vpn.vrf_table import ClaimChange, FindConflict
from controlplane.vpn.workload_ways import Placement


class Workloads:
    """Who is attached, by VRF and name; their routes are laid into the VRFs that exist."""

    def __init__(self) -> None:
        self._attached: dict[str, dict[str, WorkloadAttached]] = {}
        self._vrf_of: dict[str, str] = {}
        self._marking = Marking(0, 0)
        # Whether any route with groups was ever seen: a node without workloads pays nothing.
        self.in_use = False

    def mark_with(self, asn: int, function: int) -> None:
        """Set how groups are encoded; a reload encodes the routes that are there already anew."""
        self._marking = Marking(asn, function)

    def note_groups(self, attributes: Attributes) -> None:
        """Note whether a received route carries groups in its large communities."""
        if not self.in_use:
            self.in_use = self._marking.groups(attributes) is not None

    def attach(self, event: WorkloadAttached, vrfs: dict[str, Vrf]) -> None:
        """Lay the routes of a workload, in place of those it had."""
        self.in_use = True
        if self._vrf_of.get(event.name, event.vrf) != event.vrf:
            self.detach(event.name, vrfs)
        self._vrf_of[event.name] = event.vrf
        self._attached.setdefault(event.vrf, {})[event.name] = event
        if event.vrf in vrfs:
            vrfs[event.vrf].workloads.lay(event.name, self._placements(event))

    def detach(self, name: str, vrfs: dict[str, Vrf]) -> None:
        """Take the routes of a workload back."""
        vrf = self._vrf_of.pop(name, None)
        if vrf is None:
            return
        del self._attached[vrf][name]
        if vrf in vrfs:
            vrfs[vrf].workloads.lay(name, ())

    def lay(self, vrf: Vrf) -> None:
        """Lay all of a VRF, as after its table was cleared."""
        for name, event in self._attached.get(vrf.name, {}).items():
            vrf.workloads.lay(name, self._placements(event))

    @property
    def find_conflict(self) -> FindConflict | None:
        """How candidates are compared that claim one address; None while there is no workload."""
        return self._marking.conflict if self.in_use else None

    def remote_endpoints(
        self, vrf: str, changes: Iterable[ClaimChange]
    ) -> RemoteEndpointsChanged | None:
        """Return the remote endpoints of the prefixes whose best path or conflict changed."""
        found = self._marking.changed(changes) if self.in_use else {}
        return RemoteEndpointsChanged(vrf, found) if found else None

    def _placements(self, event: WorkloadAttached) -> list[Placement]:
        source = Source(RouteProtocol.BGP, event.vrf, via=f"workload {event.name}")
        attributes = self._marking.attributes(event)
        return [Placement(p, event.port, source, attributes) for p in event.prefixes]
