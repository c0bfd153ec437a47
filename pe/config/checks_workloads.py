"""Check the workloads of a file: the port exists, and a policy can read the tags."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from controlplane.model.name_list import those
from controlplane.policy.endpoints.placement import host_fault
from controlplane.policy.language.selector import tag_fault
from pe.config.errors import Complaint, KeyPath
from pe.config.schema import NodeSection, VrfSection


def workload_faults(name: str, vrf: VrfSection) -> Iterator[Complaint]:
    """Yield every fault of the workloads of one VRF."""
    for workload, section in vrf.workloads.items():
        path: KeyPath = ("vrfs", name, "workloads", workload)
        if section.port not in vrf.ports:
            problem = f"{section.port} is no port of this VRF"
            cure = f"name one of its ports{those('ports', vrf.ports)}"
            yield Complaint((*path, "port"), problem, cure)
        for key, value in section.tags.items():
            if fault := tag_fault(key, value):
                yield Complaint((*path, "tags", key), fault, "write it otherwise")
        for prefix in section.addresses:
            if fault := host_fault(prefix):
                yield Complaint((*path, "addresses"), fault, "name hosts")


def workload_names(node: NodeSection) -> Iterator[tuple[KeyPath, Hashable]]:
    """Check that names are unique on the node."""
    for name, vrf in node.vrfs.items():
        for workload in vrf.workloads:
            yield ("vrfs", name, "workloads", workload), workload


def workload_addresses(node: NodeSection) -> Iterator[tuple[KeyPath, Hashable]]:
    """Check that addresses are unique in their VRF."""
    for name, vrf in node.vrfs.items():
        for workload, section in vrf.workloads.items():
            for prefix in section.addresses:
                path: KeyPath = ("vrfs", name, "workloads", workload, "addresses")
                yield path, f"{prefix} in {name}"
