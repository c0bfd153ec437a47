"""A core without IPv4: PEs, their sessions, next hops and label-switched paths are IPv6.

pe1 and pe2 are Bulkhead, pe3 is FRR (bgpd and zebra). VPN-IPv4 routes have IPv6 next hops
(RFC 8950), VPN-IPv6 routes as well (RFC 4659). Two VPNs use the same addresses.
"""

from __future__ import annotations

from labs.checks.ipv6_core import CHECKS
from labs.parts import ROUTER, access_link, loopback, static_ce, static_vrf, vrf_devices
from labs.peers.frr import programs as frr
from labs.peers.pe import pe
from labs.topology import Command, End, Lab, Link, Node

VPNS = (("red", 100), ("blue", 200))
PES = (1, 2, 3)
MD5 = "six-77be"


def loopback6(number: int) -> str:
    """A PE's address in the core."""
    return f"2001:db8:255::{number}"


def _pe_yaml(here: int) -> str:
    others = [n for n in PES if n != here]
    peers = "".join(f'  "{loopback6(n)}": {{md5: {MD5}, hold-time: 30}}\n' for n in others)
    vrfs = "".join(static_vrf(vpn, f"65000:{here}{target}", target, here) for vpn, target in VPNS)
    return (
        f"name: pe{here}\nasn: 65000\nloopback: {loopback(here)}\n"
        f"loopback-ipv6: {loopback6(here)}\ncore-ports: {{core0: {{}}}}\n"
        f"peers:\n{peers}vrfs:\n{vrfs}"
    )


def _bulkhead(here: int) -> Node:
    ways = tuple(_lsp(here, there) for there in PES if there != here)
    return Node(f"pe{here}", "pe", (f"{loopback6(here)}/128",), {}, ways, (pe(_pe_yaml(here)),))


def _lsp(here: int, there: int) -> Command:
    return (
        "ip", "-6", "route", "add", f"{loopback6(there)}/128", "encap", "mpls", f"10{there}",
        "via", f"2001:db8:c{here}::2", "dev", "core0", "src", loopback6(here),
    )  # fmt: skip


def _neighbor(there: int) -> str:
    peer = loopback6(there)
    return f"""\
 neighbor {peer} remote-as 65000
 neighbor {peer} update-source {loopback6(3)}
 neighbor {peer} password {MD5}
 neighbor {peer} timers 10 30
 neighbor {peer} timers connect 2
 neighbor {peer} capability extended-nexthop
"""


def _activate(family: str) -> str:
    lines = "".join(f"  neighbor {loopback6(n)} activate\n" for n in (1, 2))
    return f" address-family {family} vpn\n{lines} exit-address-family\n"


def _frr_family(family: str, target: int) -> str:
    return f"""\
 address-family {family} unicast
  redistribute static
  label vpn export auto
  rd vpn export 65000:3{target}
  rt vpn both 65000:{target}
  export vpn
  import vpn
 exit-address-family
"""


def _frr_config() -> str:
    statics = "".join(
        f"vrf {vpn}\n"
        " ip route 10.3.0.0/24 192.168.3.2\n"
        " ipv6 route 2001:db8:3::/64 2001:db8:f3::2\n"
        "exit-vrf\n"
        for vpn, _ in VPNS
    )
    core = (
        f"router bgp 65000\n bgp router-id {loopback(3)}\n no bgp default ipv4-unicast\n"
        + "".join(map(_neighbor, (1, 2)))
        + _activate("ipv4")
        + _activate("ipv6")
        + "exit\n"
    )
    vrfs = "".join(
        f"router bgp 65000 vrf {vpn}\n bgp router-id {loopback(3)}\n"
        + _frr_family("ipv4", target)
        + _frr_family("ipv6", target)
        + "exit\n"
        for vpn, target in VPNS
    )
    return statics + core + vrfs


def _frr_edge() -> Node:
    labels = {"net.mpls.platform_labels": "100000", "net.mpls.conf.core0.input": "1"}
    vrfs = tuple(c for vpn, target in VPNS for c in vrf_devices(vpn, target, 3))
    ways = tuple(_lsp(3, there) for there in (1, 2))
    daemons = frr("pe3", _frr_config(), daemons=("zebra", "staticd", "bgpd"))
    own = (f"{loopback6(3)}/128",)
    return Node("pe3", "pe", own, {**ROUTER, **labels}, (*vrfs, *ways), daemons)


def _transit() -> Node:
    inputs = {f"net.mpls.conf.pe{n}.input": "1" for n in PES}
    sysctls = {**ROUTER, "net.mpls.platform_labels": "1000", **inputs}
    return Node(
        "p", "p", (f"{loopback6(100)}/128",), sysctls, tuple(c for n in PES for c in _to(n))
    )


def _to(number: int) -> tuple[Command, ...]:
    to, port = f"2001:db8:c{number}::1", f"pe{number}"
    return (
        ("ip", "-f", "mpls", "route", "add", f"10{number}", "via", "inet6", to, "dev", port),
        ("ip", "-6", "route", "add", f"{loopback6(number)}/128", "via", to, "dev", port),
    )


def _core_link(number: int) -> Link:
    net = f"2001:db8:c{number}::"
    return Link(
        End(f"pe{number}", "core0", (f"{net}1/64",)), End("p", f"pe{number}", (f"{net}2/64",))
    )


LAB = Lab(
    name="ipv6_core",
    title="A core without IPv4, with Bulkhead and FRR as PEs",
    nodes=(
        _transit(),
        *(static_ce(vpn, n) for vpn, _ in VPNS for n in PES),
        _frr_edge(),
        _bulkhead(1),
        _bulkhead(2),
    ),
    links=(
        *(_core_link(n) for n in PES),
        *(access_link(vpn, n) for vpn, _ in VPNS for n in PES),
    ),
    checks=CHECKS,
)
