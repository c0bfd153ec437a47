"""What a valid file says that its operator may not mean: reported, and run all the same."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from controlplane.model.intent import DENY_ALL
from controlplane.model.martians import MARTIANS
from controlplane.model.prefix import IPAddress
from pe.config.errors import Complaint, KeyPath
from pe.config.schema import CePortSection, NeighborSection, NodeSection
from pe.config.secrets import Keys


def warnings(node: NodeSection, keys: Keys) -> Iterator[Complaint]:
    """Yield every warning about a file that passed its checks."""
    core = _core_addresses(node)
    for name, vrf in node.vrfs.items():
        for address, neighbor in vrf.neighbors.items():
            path: KeyPath = ("vrfs", name, "neighbors", address)
            if path not in keys.by_session:
                cure = "add 'md5' or 'md5-file' (RFC 4364 section 13.2)"
                yield Complaint(path, "a customer session without MD5", cure)
            yield from _policy(path, neighbor)
        for port, section in vrf.ports.items():
            yield from _covered(("vrfs", name, "ports", port, "addresses"), section, core)
    for address in node.peers:
        if ("peers", address) not in keys.by_session:
            yield Complaint(("peers", address), "a core session without MD5", "add 'md5'")


def _policy(path: KeyPath, neighbor: NeighborSection) -> Iterator[Complaint]:
    if neighbor.import_ == DENY_ALL and neighbor.export == DENY_ALL:
        cure = "add 'import' and 'export' (RFC 8212)"
        yield Complaint(path, "without a policy nothing is taken or sent", cure)
    for rule in neighbor.import_.accept or ():
        if not rule.prefix.is_default and MARTIANS.covers(rule.prefix):
            problem = f"{rule.prefix} is never accepted: it is reserved (RFC 6890)"
            yield Complaint((*path, "import"), problem, "remove it")


def _core_addresses(node: NodeSection) -> dict[IPAddress, str]:
    found: dict[IPAddress, str] = {}
    found[node.loopback] = "this PE's loopback"
    if node.loopback_ipv6:
        found[node.loopback_ipv6] = "this PE's IPv6 loopback"
    return found | {ip_address(text): "a core peer" for text in node.peers}


def _covered(path: KeyPath, port: CePortSection, core: dict[IPAddress, str]) -> Iterator[Complaint]:
    for interface in port.addresses:
        for address, what in core.items():
            if address.version == interface.version and address in interface.network:
                problem = f"{interface.network} holds {address}, {what}"
                cure = "use another subnet: who has that address there looks like the core"
                yield Complaint(path, problem, cure)
