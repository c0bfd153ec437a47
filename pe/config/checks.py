"""Check sections against each other: duplicate numbers, names that clash."""

from __future__ import annotations

import socket
from collections.abc import Hashable, Iterator, Set
from ipaddress import ip_address
from itertools import combinations

from controlplane.model.speaker_user import speaker_uid
from pe.config.checks_api import api_faults
from pe.config.checks_vrf import vrf_faults
from pe.config.checks_workloads import workload_addresses, workload_faults, workload_names
from pe.config.errors import Complaint, KeyPath, show_path
from pe.config.schema import CePortSection, CorePortSection, NodeSection, VrfSection
from pe.config.validation import Survey

LEAST_IPV6_MTU = 1280
_KERNEL_TABLES = {253: "default", 254: "main", 255: "local"}


def cross_check(survey: Survey) -> Iterator[Complaint]:
    """Yield every fault of sense. What was cut out of the survey is not held against it."""
    node = survey.node
    if node is None:
        return
    yield from _node_faults(node)
    yield from _label_faults(node)
    yield from _limit_faults(node)
    yield from _twice(_rds(node, survey), "the route distinguisher {} is also that of {}")
    yield from _twice(_tables(node), "table {} is also that of {}")
    yield from _speaker_faults(node)
    yield from _twice(_devices(node), "the device name {} is also used at {}")
    yield from _twice(_vlans(node), "VLAN {} is also made at {}")
    yield from _twice(workload_names(node), "the workload {} is also at {}")
    yield from _twice(workload_addresses(node), "{} is also at {}")
    yield from _core_faults(node, survey)
    yield from _mtu_faults(node)
    for name, vrf in node.vrfs.items():
        yield from vrf_faults(name, vrf, node, survey)
        if survey.intact(("vrfs", name, "ports")):
            yield from workload_faults(name, vrf)
    yield from api_faults(node)


def _mtu_faults(node: NodeSection) -> Iterator[Complaint]:
    """On a device whose MTU is below IPv6's least the kernel ends IPv6 (addrconf_notify)."""
    ports: list[tuple[KeyPath, CePortSection | CorePortSection]] = [
        (("core-ports", name), port) for name, port in node.core_ports.items()
    ]
    for vrf, section in node.vrfs.items():
        ports += [(("vrfs", vrf, "ports", name), port) for name, port in section.ports.items()]
    for path, port in ports:
        has_ipv6 = any(address.version == 6 for address in port.addresses)
        if has_ipv6 and port.mtu is not None and port.mtu < LEAST_IPV6_MTU:
            problem = f"{port.mtu} octets are too few for the port's IPv6 address"
            yield Complaint((*path, "mtu"), problem, "1280 at least (RFC 8200 section 5)")


def _twice(found: Iterator[tuple[KeyPath, Hashable]], text: str) -> Iterator[Complaint]:
    """Complain of each value that an earlier path has too."""
    first: dict[Hashable, KeyPath] = {}
    for path, value in found:
        if value in first:
            yield Complaint(path, text.format(value, show_path(first[value])), "give it its own")
        else:
            first[value] = path


def _rds(node: NodeSection, survey: Survey) -> Iterator[tuple[KeyPath, Hashable]]:
    for name, vrf in node.vrfs.items():
        path = ("vrfs", name, "rd")
        if survey.intact(path):
            yield path, vrf.rd


def _speaker_faults(node: NodeSection) -> Iterator[Complaint]:
    """Two VRFs whose BGP processes would have one user, whose processes may signal each other."""
    found: dict[int, str] = {}
    node_name = node.name or socket.gethostname()
    for name in node.vrfs if node.speaker_uids else ():
        other = found.setdefault(speaker_uid(node.speaker_uids, node_name, name), name)
        if other != name:
            problem = f"its BGP process would have the user id of that of VRF '{other}'"
            yield Complaint(("vrfs", name), problem, "give it another name")


def _tables(node: NodeSection) -> Iterator[tuple[KeyPath, Hashable]]:
    for name, vrf in node.vrfs.items():
        if vrf.table is not None:
            yield ("vrfs", name, "table"), vrf.table


def _devices(node: NodeSection) -> Iterator[tuple[KeyPath, Hashable]]:
    """Yield the names of ports and VRFs, which share one name space: VRFs are devices too."""
    for port in node.core_ports:
        yield ("core-ports", port), port
    for index, port in enumerate(node.management_ports):
        yield ("management-ports", index), port
    for name in node.vrfs:
        yield ("vrfs", name), name
    for name, vrf in node.vrfs.items():
        for port in vrf.ports:
            yield ("vrfs", name, "ports", port), port


def _vlans(node: NodeSection) -> Iterator[tuple[KeyPath, Hashable]]:
    for name, vrf in node.vrfs.items():
        for port, section in vrf.ports.items():
            if section.parent and section.vlan:
                yield ("vrfs", name, "ports", port, "vlan"), f"{section.vlan} on {section.parent}"


def _node_faults(node: NodeSection) -> Iterator[Complaint]:
    for key, address in (
        ("loopback", node.loopback),
        ("loopback-ipv6", node.loopback_ipv6),
        ("router-id", node.router_id),
    ):
        if address and (address.is_loopback or address.is_multicast or address.is_unspecified):
            yield Complaint((key,), f"{address} cannot be used here", "write an address of yours")


def _label_faults(node: NodeSection) -> Iterator[Complaint]:
    block = node.label_block
    if len(block) < len(node.vrfs):
        problem = f"{len(block)} labels are too few for {len(node.vrfs)} VRFs"
        yield Complaint(("label-block",), problem, "one a VRF, and some that rest")
    if block.first <= max(_KERNEL_TABLES):
        # A VRF without a table of its own takes its label's number.
        problem = f"{block} begins among the kernel's tables, 0 to {max(_KERNEL_TABLES)}"
        yield Complaint(("label-block",), problem, "begin at 256 or above")
    for name, vrf in node.vrfs.items():
        yield from _table_faults(name, vrf, node)


def _limit_faults(node: NodeSection) -> Iterator[Complaint]:
    total, own = node.limits.routes, [vrf.limits.routes for vrf in node.vrfs.values()]
    if total and total < sum(own) + own.count(0):
        problem = f"{total} routes for all VRFs, of which {sum(own)} are promised to single ones"
        if own.count(0):
            problem += f" and {own.count(0)} VRFs share the rest"
        yield Complaint(("limits", "routes"), problem, "more, or smaller limits of the VRFs")


def _table_faults(name: str, vrf: VrfSection, node: NodeSection) -> Iterator[Complaint]:
    path: KeyPath = ("vrfs", name, "table")
    if vrf.table in _KERNEL_TABLES:
        problem = f"table {vrf.table} is the kernel's '{_KERNEL_TABLES[vrf.table]}'"
        yield Complaint(path, problem, "choose another number")
    elif vrf.table is not None and vrf.table in node.label_block:
        problem = f"table {vrf.table} lies in the label block {node.label_block}"
        cure = "choose one outside, or leave it out: the VRF's label is taken then"
        yield Complaint(path, problem, cure)


def _core_faults(node: NodeSection, survey: Survey) -> Iterator[Complaint]:
    own = [
        (("core-ports", n, "addresses"), i.ip)
        for n, p in node.core_ports.items()
        for i in p.addresses
    ]
    for (_, one), (path, other) in combinations(own, 2):
        if one == other:
            yield Complaint(path, f"{other} is given to two core ports", "keep one")
    loopbacks = {node.loopback, node.loopback_ipv6}
    for path, address in own:
        if address in loopbacks:
            yield Complaint(path, f"{address} is the node's loopback", "give the port its own")
    local = loopbacks | {address for _, address in own}
    seen: set[object] = set()
    for text in node.peers:
        yield from _peer_faults(text, node, survey, local, seen)


def _peer_faults(
    text: str, node: NodeSection, survey: Survey, local: Set[object], seen: set[object]
) -> Iterator[Complaint]:
    path: KeyPath = ("peers", text)
    peer, address = node.peers[text], ip_address(text)
    if address in seen:
        yield Complaint(path, f"{address} is given twice", "keep one")
    seen.add(address)
    if address in local and survey.intact(("loopback",)):
        yield Complaint(path, f"{address} is this node's own address", "name the other PE or RR")
    if peer.asn not in (None, node.asn) and survey.intact(("asn",)):
        problem = f"AS {peer.asn} is not ours ({node.asn}): only iBGP runs in the core"
        yield Complaint((*path, "asn"), problem, "remove 'asn', or put a CE under its VRF")
    if peer.local_address is None:
        if address.version == 6 and node.loopback_ipv6 is None:
            cure = "add 'loopback-ipv6' to the node or 'local-address' here"
            yield Complaint(path, "an IPv6 peer, but the node has no IPv6 loopback", cure)
    elif peer.local_address.version != address.version:
        problem = f"{peer.local_address} is of another address family than the peer"
        yield Complaint((*path, "local-address"), problem, "write one of the same family")
    elif peer.local_address not in local and survey.intact(("core-ports",)):
        problem = f"{peer.local_address} is no address of this node's core"
        yield Complaint((*path, "local-address"), problem, "a loopback or a core port's address")
