"""Check one VRF: links do not overlap; neighbours and next hops are on a link."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import combinations

from controlplane.model.prefix import IPAddress, Prefix, afi_of
from pe.config.errors import Complaint, KeyPath
from pe.config.links import Link, is_edge_of_subnet, link_to, links
from pe.config.schema import (
    CePortSection,
    NeighborSection,
    NodeSection,
    StaticRouteSection,
    VrfSection,
)
from pe.config.validation import Survey


def vrf_faults(
    name: str, vrf: VrfSection, node: NodeSection, survey: Survey
) -> Iterator[Complaint]:
    """Yield every fault of one VRF that its sections show together."""
    path: KeyPath = ("vrfs", name)
    yield from _target_faults(path, vrf, survey)
    for port, section in vrf.ports.items():
        yield from _vlan_faults((*path, "ports", port), section)
    if not survey.intact((*path, "ports")):
        return  # an address that was cut out would be missed below, and blamed on others
    yield from _overlaps(path, vrf)
    seen: set[IPAddress] = set()
    for text, neighbor in vrf.neighbors.items():
        where = (*path, "neighbors", text)
        if ip_address(text) in seen:
            yield Complaint(where, f"{ip_address(text)} is given twice", "keep one")
        seen.add(ip_address(text))
        yield from _link_faults(where, vrf, ip_address(text), neighbor.port, "neighbour")
        yield from _session_faults(where, vrf, neighbor, node, survey)
    if survey.intact((*path, "static-routes")):
        yield from _static_faults(path, vrf)


def _target_faults(path: KeyPath, vrf: VrfSection, survey: Survey) -> Iterator[Complaint]:
    keys = ("route-target", "import-route-target", "export-route-target")
    given = vrf.route_target or vrf.import_route_target or vrf.export_route_target
    if not given and all(survey.intact((*path, key)) for key in keys):
        cure = f"add 'route-target: {vrf.rd}', or import-route-target and export-route-target"
        yield Complaint(path, "no route target: the VRF would be alone", cure)


def _vlan_faults(path: KeyPath, port: CePortSection) -> Iterator[Complaint]:
    if port.vlan and not port.parent:
        yield Complaint((*path, "vlan"), "a VLAN without its parent", "add 'parent: DEVICE'")
    if port.parent and not port.vlan:
        yield Complaint((*path, "parent"), "a parent without a VLAN", "add 'vlan: 1-4094'")
    if port.parent == path[-1]:
        yield Complaint((*path, "parent"), "a port cannot be its own parent", "name the trunk")


def _overlaps(path: KeyPath, vrf: VrfSection) -> Iterator[Complaint]:
    for one, other in combinations(links(vrf), 2):
        where = (*path, "ports", other.port, "addresses")
        if one.interface.ip == other.interface.ip:
            yield Complaint(where, f"{other.interface.ip} is also on {one.port}", "keep one")
        elif one.port != other.port and _overlap(one, other):
            problem = f"{other.interface} overlaps {one.interface} on {one.port}"
            yield Complaint(where, problem, "links of one VRF need subnets of their own")


def _overlap(one: Link, other: Link) -> bool:
    same_family = one.interface.version == other.interface.version
    return same_family and one.interface.network.overlaps(other.interface.network)


def _link_faults(
    path: KeyPath, vrf: VrfSection, address: IPAddress, port: str | None, what: str
) -> Iterator[Complaint]:
    if port is not None and port not in vrf.ports:
        yield Complaint((*path, "port"), f"{port} is no port of this VRF", _ports_cure(vrf))
        return
    if any(link.interface.ip == address for link in links(vrf)):
        yield Complaint(path, f"{address} is this PE's own address", "write the CE's address")
        return
    link = link_to(vrf, address, port)
    if address.is_link_local and what == "neighbour":
        cure = "use an address that one of the VRF's ports has the subnet of"
        yield Complaint(path, "a link-local address names no link", cure)
    elif link is None and not (address.is_link_local and port):
        place = f"on {port}" if port else "on a link of this VRF"
        yield Complaint(path, f"the {what} {address} is not {place}", _links_cure(vrf))
    elif link and is_edge_of_subnet(link, address):
        problem = f"{address} is the network or broadcast address of {link.interface.network}"
        yield Complaint(path, problem, "write the CE's address")


def _ports_cure(vrf: VrfSection) -> str:
    return f"its ports are {', '.join(vrf.ports)}" if vrf.ports else "add it under 'ports'"


def _links_cure(vrf: VrfSection) -> str:
    known = ", ".join(str(link) for link in links(vrf))
    return f"its links are {known}" if known else "give a port of the VRF an address"


def _session_faults(
    path: KeyPath, vrf: VrfSection, neighbor: NeighborSection, node: NodeSection, survey: Survey
) -> Iterator[Complaint]:
    if neighbor.asn == node.asn and survey.intact(("asn",)) and survey.intact((*path, "asn")):
        problem = f"AS {neighbor.asn} is the provider's own: a CE speaks eBGP"
        yield Complaint((*path, "asn"), problem, "write the customer's AS")
    address = ip_address(str(path[-1]))
    link = link_to(vrf, address, neighbor.port)
    if link is None:
        return
    have = {afi_of(interface.ip) for interface in vrf.ports[link.port].addresses}
    for family in neighbor.families:
        if family.afi not in have:
            problem = f"{family.value}, but {link.port} has no such address to be the next hop"
            yield Complaint((*path, "families"), problem, f"give {link.port} an address")


def _static_faults(path: KeyPath, vrf: VrfSection) -> Iterator[Complaint]:
    seen: set[Prefix] = set()
    for index, route in enumerate(vrf.static_routes):
        where = (*path, "static-routes", index)
        if route.prefix in seen:
            yield Complaint(where, f"{route.prefix} is given twice", "keep one")
        seen.add(route.prefix)
        yield from _route_faults(where, vrf, route)


def _route_faults(path: KeyPath, vrf: VrfSection, route: StaticRouteSection) -> Iterator[Complaint]:
    if route.blackhole and (route.via or route.port):
        yield Complaint(
            (*path, "blackhole"), "a blackhole leads nowhere", "remove 'via' and 'port'"
        )
    elif route.via is not None:
        if afi_of(route.via) != route.prefix.afi:
            problem = f"{route.via} is of another address family than {route.prefix}"
            yield Complaint((*path, "via"), problem, "write one of the same family")
        yield from _link_faults((*path, "via"), vrf, route.via, route.port, "next hop")
    elif route.port is not None and route.port not in vrf.ports:
        yield Complaint((*path, "port"), f"{route.port} is no port of this VRF", _ports_cure(vrf))
    elif route.port is None and not route.blackhole:
        cure = "add 'via: ADDRESS', 'port: NAME' or 'blackhole: true'"
        yield Complaint(path, f"nothing says where {route.prefix} goes", cure)
