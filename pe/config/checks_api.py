"""What must hold of the API over TCP: not open to everybody, grants that mean something."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.intent import ApiRole
from pe.config.errors import Complaint, KeyPath
from pe.config.schema import GrantSection, NodeSection

_PATH: KeyPath = ("api", "tcp")


def api_faults(node: NodeSection) -> Iterator[Complaint]:
    """Every fault of the ``api.tcp`` section."""
    tcp = node.api.tcp
    if tcp is None:
        return
    if tcp.address.is_unspecified and tcp.bind_device is None:
        cure = "write a management address, or add 'bind-device: DEVICE'"
        yield Complaint((*_PATH, "address"), f"{tcp.address} would listen on every port", cure)
    seen: set[str] = set()
    for index, grant in enumerate(tcp.grants):
        path = (*_PATH, "grants", index)
        if grant.identity in seen:
            yield Complaint(path, f"'{grant.identity}' is given twice", "keep one")
        seen.add(grant.identity)
        yield from _grant_faults(path, grant, node)


def _grant_faults(path: KeyPath, grant: GrantSection, node: NodeSection) -> Iterator[Complaint]:
    for vrf in grant.vrfs:
        if vrf not in node.vrfs:
            known = ", ".join(node.vrfs) or "none"
            yield Complaint((*path, "vrfs"), f"there is no VRF '{vrf}'", f"VRFs here: {known}")
    if grant.vrfs and grant.role is ApiRole.ADMIN:
        cure = "remove 'vrfs', or grant policy-editor"
        yield Complaint((*path, "vrfs"), "an admin is one of the whole node", cure)
