"""One node with everything that a ruleset depends on, for golden files and transactions."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from controlplane.model.desired import CePort, CorePort, Desired, Node, Session, VrfDevice
from controlplane.model.peer import PeerId
from controlplane.model.prefix import parse_prefix


def session(vrf: str, peer: str, local: str, port: str, min_ttl: int) -> Session:
    return Session(PeerId(vrf, ip_address(peer)), ip_address(local), port, min_ttl)


def founding() -> Desired:
    """Red: BGP with a site list, limited. Blue: static, on a VLAN, unlimited. A core of two."""
    desired = Desired(
        node=Node(
            "pe1", (ip_address("10.255.0.1"), ip_address("2001:db8:ffff::1")), 24000, 1879048192
        )
    )
    desired.vrfs = {
        "red": VrfDevice("red", 16001, conntrack_limit=1000, new_flows_per_second=200),
        "blue": VrfDevice("blue", 16002),
    }
    desired.ce_ports = {
        "ce-red": CePort(
            "ce-red", "red", 1, (ip_interface("192.0.2.1/29"), ip_interface("2001:db8:1::1/64")),
            (parse_prefix("10.1.0.0/16"), parse_prefix("2001:db8:10::/48")),
        ),
        "trunk.7": CePort(
            "trunk.7", "blue", 2, (ip_interface("192.0.2.1/30"),), None, parent="trunk", vlan=7
        ),
    }  # fmt: skip
    desired.core_ports = {
        "core0": CorePort("core0", (ip_interface("10.0.1.1/24"),)),
        "core1": CorePort("core1", accept_explicit_null=True),
    }
    sessions = (
        session("red", "192.0.2.2", "192.0.2.1", "ce-red", 255),
        session("red", "2001:db8:1::2", "2001:db8:1::1", "ce-red", 255),
        session("", "10.255.0.2", "10.255.0.1", "", 0),
        session("", "10.0.1.2", "10.0.1.1", "", 254),
    )
    desired.sessions = {s.peer: s for s in sessions}
    return desired


PRESENT = frozenset({"lo", "trunk", "trunk.7", "ce-red", "core0", "core1", "red", "blue", "eth9"})
