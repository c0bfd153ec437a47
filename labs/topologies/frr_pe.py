"""Bulkhead and FRR as the two PEs of the same VPNs.

pe1 is Bulkhead; pe2 is FRR (bgpd and zebra, L3VPN over VRF devices). Both VPNs use the same
addresses; their sites are static at both ends.

FRR 8.4 cannot put an IPv6 VPN route with an IPv4 next hop (RFC 4659 over an IPv4 core) into
Linux: as a next-hop object the kernel refuses it, and without objects it leaves the gateway out.
So the lab runs it without objects and gives its node a neighbour entry for the gateway that is not
there. Bulkhead's own direction needs nothing of that.
"""

from __future__ import annotations

from labs.checks.frr_pe import CHECKS
from labs.parts import (
    access_link,
    core_link,
    loopback,
    lsp,
    static_ce,
    static_vrf,
    transit,
    vrf_devices,
)
from labs.peers.frr import programs as frr
from labs.peers.pe import pe
from labs.topology import Lab, Node

MD5 = "mixed-77be"
VPNS = (("red", 100), ("blue", 200))
P_MAC = "02:00:00:00:02:02"


PE_YAML = f"""\
name: pe1
router-id: {loopback(1)}
asn: 65000
loopback: {loopback(1)}
core-ports: {{core0: {{}}}}
peers:
  {loopback(2)}: {{md5: {MD5}, hold-time: 30}}
vrfs:
""" + "".join(static_vrf(vpn, f"65000:1{target}", target, 1) for vpn, target in VPNS)


def _frr_family(family: str, target: int) -> str:
    return f"""\
 address-family {family} unicast
  redistribute static
  label vpn export auto
  rd vpn export 65000:2{target}
  rt vpn both 65000:{target}
  export vpn
  import vpn
 exit-address-family
"""


def _frr_vrf(vpn: str, target: int) -> str:
    return (
        f"router bgp 65000 vrf {vpn}\n bgp router-id {loopback(2)}\n"
        + _frr_family("ipv4", target)
        + _frr_family("ipv6", target)
        + "exit\n"
    )


def _frr_config() -> str:
    statics = "".join(
        f"vrf {vpn}\n"
        " ip route 10.2.0.0/24 192.168.2.2\n"
        " ipv6 route 2001:db8:2::/64 2001:db8:f2::2\n"
        "exit-vrf\n"
        for vpn, _ in VPNS
    )
    return f"""\
no zebra nexthop kernel enable
{statics}router bgp 65000
 bgp router-id {loopback(2)}
 no bgp default ipv4-unicast
 neighbor {loopback(1)} remote-as 65000
 neighbor {loopback(1)} update-source {loopback(2)}
 neighbor {loopback(1)} password {MD5}
 neighbor {loopback(1)} timers 10 30
 neighbor {loopback(1)} timers connect 2
 address-family ipv4 vpn
  neighbor {loopback(1)} activate
 exit-address-family
 address-family ipv6 vpn
  neighbor {loopback(1)} activate
 exit-address-family
exit
""" + "".join(_frr_vrf(vpn, target) for vpn, target in VPNS)


def frr_edge() -> Node:
    """The other make's PE; its VRF devices are made by hand, as FRR expects."""
    sysctls = {
        "net.ipv4.ip_forward": "1",
        "net.ipv6.conf.all.forwarding": "1",
        "net.mpls.platform_labels": "100000",
        "net.mpls.conf.core0.input": "1",
    }
    setup = tuple(c for vpn, target in VPNS for c in vrf_devices(vpn, target, 2))
    gateway = ("ip", "neigh", "add", "::", "lladdr", P_MAC, "dev", "core0", "nud", "permanent")
    daemons = frr("pe2", _frr_config(), daemons=("zebra", "staticd", "bgpd"))
    return Node("pe2", "pe", (f"{loopback(2)}/32",), sysctls, (*setup, lsp(2, 1), gateway), daemons)


LAB = Lab(
    name="frr_pe",
    title="Bulkhead and FRR as the two PEs of the same VPNs",
    nodes=(
        transit((1, 2)),
        *(static_ce(vpn, n) for vpn, _ in VPNS for n in (1, 2)),
        frr_edge(),
        Node("pe1", "pe", (f"{loopback(1)}/32",), {}, (lsp(1, 2),), (pe(PE_YAML),)),
    ),
    links=(
        core_link(1),
        core_link(2, p_mac=P_MAC),
        *(access_link(vpn, n) for vpn, _ in VPNS for n in (1, 2)),
    ),
    checks=CHECKS,
)
