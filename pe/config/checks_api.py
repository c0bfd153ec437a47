"""Check the API over TCP: not open to every host, and no grant without effect."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.intent import ApiRole
from pe.config.errors import Complaint, KeyPath
from pe.config.schema import GrantSection, NodeSection, TcpSection

_PATH: KeyPath = ("api", "tcp")


def api_faults(node: NodeSection) -> Iterator[Complaint]:
    """Yield every fault of the ``api.tcp`` section."""
    tcp = node.api.tcp
    if tcp is None:
        return
    yield from _place_faults(tcp, node)
    seen: set[str] = set()
    for index, grant in enumerate(tcp.grants):
        path = (*_PATH, "grants", index)
        if grant.identity in seen:
            yield Complaint(path, f"'{grant.identity}' is given twice", "keep one")
        seen.add(grant.identity)
        yield from _grant_faults(path, grant, node)


def _place_faults(tcp: TcpSection, node: NodeSection) -> Iterator[Complaint]:
    """Require a device beside the address: Linux accepts packets for its own addresses on every
    port, so an address alone restricts nothing (security requirement MGMT-1)."""
    device = tcp.bind_device
    if device is None:
        if not tcp.address.is_loopback:
            cure = "add 'bind-device: DEVICE', a management port or VRF, or write 127.0.0.1"
            text = f"{tcp.address} would be reached through every port"
            yield Complaint((*_PATH, "address"), text, cure)
    elif device != "lo" and device not in node.management_ports:
        cure = f"add '{device}' to management-ports if it is one, and its ports if it is a VRF"
        yield Complaint((*_PATH, "bind-device"), f"'{device}' is no management port", cure)


def _grant_faults(path: KeyPath, grant: GrantSection, node: NodeSection) -> Iterator[Complaint]:
    for vrf in grant.vrfs:
        if vrf not in node.vrfs:
            known = ", ".join(node.vrfs) or "none"
            yield Complaint((*path, "vrfs"), f"there is no VRF '{vrf}'", f"VRFs here: {known}")
    if grant.vrfs and grant.role is ApiRole.ADMIN:
        cure = "remove 'vrfs', or grant policy-editor"
        yield Complaint((*path, "vrfs"), "an admin is one of the whole node", cure)
