"""Parts that the labs share: sites, the label-switched core, the links between them.

The plan of addresses: PE ``n`` has loopback 10.255.0.n, core link 10.0.n.0/30 to P and transport
label 100+n; its sites have the LAN 10.n.0.0/24 and 2001:db8:n::/64 behind 192.168.n.0/30 and
2001:db8:fn::/64, the same in every VPN.
"""

from __future__ import annotations

from collections.abc import Iterable

from labs.site import command as site_command
from labs.topology import Command, End, Link, Node, Program

ROUTER = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}


def loopback(number: int) -> str:
    """A PE's address in the core."""
    return f"10.255.0.{number}"


def lan(number: int) -> tuple[Command, ...]:
    """The commands that give a CE its LAN."""
    return (
        ("ip", "link", "add", "lan0", "type", "dummy"),
        ("ip", "link", "set", "lan0", "up"),
        ("ip", "addr", "add", f"10.{number}.0.1/24", "dev", "lan0"),
        ("ip", "addr", "add", f"2001:db8:{number}::1/64", "dev", "lan0", "nodad"),
    )


def everything_behind_the_pe(number: int) -> tuple[Command, ...]:
    """A static site's default routes."""
    gateway, gateway6 = f"192.168.{number}.1", f"2001:db8:f{number}::1"
    return (
        ("ip", "route", "add", "default", "via", gateway, "src", f"10.{number}.0.1"),
        ("ip", "-6", "route", "add", "default", "via", gateway6, "src", f"2001:db8:{number}::1"),
    )


def server(name: str) -> Program:
    """What answers at a site: says the site's name, takes a transfer."""
    return Program("site", (*site_command(), "serve", name))


def static_ce(vpn: str, number: int, extra: tuple[Command, ...] = ()) -> Node:
    """A customer's router without a routing protocol, which is its whole site here."""
    name = f"ce-{vpn}-{number}"
    setup = lan(number) + extra + everything_behind_the_pe(number)
    return Node(name, "ce", (), ROUTER, setup, (server(name),))


def bgp_ce(vpn: str, number: int, programs: tuple[Program, ...]) -> Node:
    """A customer's router that learns its routes from a daemon."""
    name = f"ce-{vpn}-{number}"
    return Node(name, "ce", (), ROUTER, lan(number), (server(name), *programs))


def lsp(here: int, there: int) -> Command:
    """A PE's static label-switched path to another PE, through P."""
    return (
        "ip", "route", "add", f"{loopback(there)}/32", "encap", "mpls", f"10{there}",
        "via", f"10.0.{here}.2", "dev", "core0", "src", loopback(here),
    )  # fmt: skip


def transit(numbers: Iterable[int]) -> Node:
    """P swaps nothing but labels, pops the last transport label, and knows no VPN."""
    numbers = tuple(numbers)
    inputs = {f"net.mpls.conf.pe{n}.input": "1" for n in numbers}
    sysctls = {"net.ipv4.ip_forward": "1", "net.mpls.platform_labels": "1000", **inputs}
    setup = tuple(command for n in numbers for command in _towards(n))
    return Node("p", "p", (loopback(100) + "/32",), sysctls, setup)


def _towards(number: int) -> tuple[Command, ...]:
    to, port = f"10.0.{number}.1", f"pe{number}"
    return (
        ("ip", "-f", "mpls", "route", "add", f"10{number}", "via", "inet", to, "dev", port),
        ("ip", "route", "add", f"{loopback(number)}/32", "via", to, "dev", port),
    )


def core_link(number: int, p_mac: str | None = None) -> Link:
    """PE to P, a /30."""
    return Link(
        End(f"pe{number}", "core0", (f"10.0.{number}.1/30",)),
        End("p", f"pe{number}", (f"10.0.{number}.2/30",), p_mac),
    )


def access_link(vpn: str, number: int) -> Link:
    """CE to PE. The PE's end stays down until the PE has guarded it."""
    ours = (f"192.168.{number}.2/30", f"2001:db8:f{number}::2/64")
    return Link(End(f"ce-{vpn}-{number}", "eth0", ours), End(f"pe{number}", f"ce-{vpn}", up=False))


def static_vrf(vpn: str, rd: str, target: int, here: int) -> str:
    """A VRF of a Bulkhead PE in pe.yaml, with one static site."""
    return f"""\
  {vpn}:
    rd: {rd}
    route-target: 65000:{target}
    ports:
      ce-{vpn}:
        addresses: [192.168.{here}.1/30, "2001:db8:f{here}::1/64"]
    static-routes:
      - {{prefix: 10.{here}.0.0/24, via: 192.168.{here}.2}}
      - {{prefix: "2001:db8:{here}::/64", via: "2001:db8:f{here}::2"}}
"""


def vrf_devices(vpn: str, table: int, here: int) -> tuple[Command, ...]:
    """The commands that make a VRF and its port by hand, as FRR expects them."""
    port = f"ce-{vpn}"
    return (
        ("ip", "link", "add", vpn, "type", "vrf", "table", str(table)),
        ("ip", "link", "set", vpn, "up"),
        ("ip", "link", "set", port, "master", vpn),
        ("ip", "link", "set", port, "up"),
        ("ip", "addr", "add", f"192.168.{here}.1/30", "dev", port),
        ("ip", "addr", "add", f"2001:db8:f{here}::1/64", "dev", port, "nodad"),
    )
