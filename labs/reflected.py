"""Three PEs that know only a route reflector of another make: the lab, with any reflector."""

from __future__ import annotations

from collections.abc import Callable

from labs.checks.reflected import CHECKS
from labs.parts import access_link, core_link, loopback, lsp, static_ce, transit
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node, Program

SITES = (("red", 1), ("red", 2), ("red", 3), ("blue", 1), ("blue", 3))
MD5 = "reflect-19d0"
REFLECTOR = loopback(9)
TO_REFLECTOR = (f"{REFLECTOR}/32", "via", "10.0.9.1", "dev", "rr")
"""The route to it in the core."""


def pe_yaml(number: int, vrf: Callable[[str, int, int], str] | None = None) -> str:
    """A PE whose one peer is the reflector. ``vrf`` makes the section of a VRF of its name, its
    route target's number and the PE's."""
    make = vrf or _vrf
    vrfs = "".join(make(vpn, rt, number) for vpn, rt in (("red", 100), ("blue", 200)))
    return f"""\
name: pe{number}
router-id: {loopback(number)}
asn: 65000
loopback: {loopback(number)}
core-ports: {{core0: {{}}}}
peers:
  {REFLECTOR}: {{md5: {MD5}, hold-time: 30}}
vrfs:
{vrfs}"""


def _vrf(vpn: str, target: int, number: int) -> str:
    site = _site(vpn, number) if (vpn, number) in SITES else ""
    return f"""\
  {vpn}:
    rd: 65000:{number}{target}
    route-target: 65000:{target}
{site}"""


def _site(vpn: str, n: int) -> str:
    return f"""\
    ports:
      ce-{vpn}:
        addresses: [192.168.{n}.1/30, "2001:db8:f{n}::1/64"]
    static-routes:
      - {{prefix: 10.{n}.0.0/24, via: 192.168.{n}.2}}
      - {{prefix: "2001:db8:{n}::/64", via: "2001:db8:f{n}::2"}}
"""


def provider_edge(number: int) -> Node:
    """A PE with paths to the others, and a plain route to the reflector."""
    paths = tuple(lsp(number, there) for there in (1, 2, 3) if there != number)
    via = ("via", f"10.0.{number}.2", "dev", "core0", "src", loopback(number))
    plain = ("ip", "route", "add", f"{REFLECTOR}/32", *via)
    address = (f"{loopback(number)}/32",)
    return Node(f"pe{number}", "pe", address, {}, (*paths, plain), (pe(pe_yaml(number)),))


def reflector(programs: tuple[Program, ...]) -> Node:
    """The reflector is beside the way of the packets; it needs the loopbacks only."""
    route = ("ip", "route", "add", "10.255.0.0/24", "via", "10.0.9.2", "src", REFLECTOR)
    return Node("rr", "rr", (f"{REFLECTOR}/32",), {}, (route,), programs)


def reflected(name: str, title: str, programs: tuple[Program, ...]) -> Lab:
    """The whole lab around the programs that reflect."""
    core = transit((1, 2, 3))
    towards_rr = ("ip", "route", "add", *TO_REFLECTOR)
    core = Node("p", "p", core.addresses, core.sysctls, (*core.setup, towards_rr))
    rr_link = Link(End("rr", "core0", ("10.0.9.1/30",)), End("p", "rr", ("10.0.9.2/30",)))
    nodes = (core, reflector(programs), *(static_ce(vpn, n) for vpn, n in SITES))
    return Lab(
        name=name,
        title=title,
        nodes=(*nodes, *(provider_edge(n) for n in (1, 2, 3))),
        links=(rr_link, *map(core_link, (1, 2, 3)), *(access_link(vpn, n) for vpn, n in SITES)),
        checks=CHECKS,
    )
