"""What the attacks are made on: two VPNs with the same addresses, more than one site each on pe1.

::

    ce-red-1  ---.                                   .--  ce-red-2
    ce-blue-1 ---|                                   |
    ce-red-3  ---+-- pe1 ------ p (labels only) ---- pe2 --  ce-blue-2
    ce-blue-3 ---|
    trunk     ===|   VLAN 10 is red's, VLAN 20 blue's
    lan       ---|   a bridge with two members, red
    internet  ---'   a VRF of its own

Site n has 10.n.0.0/24 and 2001:db8:n::/64 behind 192.168.n.0/30 and 2001:db8:fn::/64, in red and
in blue alike. ce-red-1, ce-blue-1 and p speak BGP only when an attacker does it for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from labs.attack import plan
from labs.checks.attack_range import CHECKS
from labs.parts import ROUTER, core_link, loopback, lsp, static_ce, transit
from labs.peers.pe import pe
from labs.topology import Command, End, Lab, Link, Node

HOME = {1: "pe1", 2: "pe2", 3: "pe1"}
"""The PE of each site."""


def _site(number: int) -> str:
    return f"""\
      - {{prefix: 10.{number}.0.0/24, via: 192.168.{number}.2}}
      - {{prefix: "2001:db8:{number}::/64", via: "2001:db8:f{number}::2"}}
"""


def _port(vpn: str, number: int) -> str:
    return f"""\
      ce-{vpn}-{number}:
        addresses: [192.168.{number}.1/30, "2001:db8:f{number}::1/64"]
"""


def _neighbor(address: str, prefixes: str, vpn: str) -> str:
    return f"""\
      "{address}":
        asn: {plan.CE_AS[vpn]}
        md5: {plan.KEYS[vpn]}
        hold-time: 600
        import: [{prefixes}]
        export: any
        max-prefix: {{maximum: {plan.MAX_PREFIX}, idle-hold: 2}}
"""


def _neighbors(vpn: str) -> str:
    return (
        "    neighbors:\n"
        + _neighbor("192.168.1.2", "10.1.0.0/16 le 24, 10.101.0.0/16 le 32", vpn)
        + _neighbor("2001:db8:f1::2", '"2001:db8:1::/48 le 64", "2001:db8:101::/48 le 64"', vpn)
    )


def _vrf(pe_number: int, vpn: str, ports: str, statics: str, neighbors: str = "") -> str:
    number = plan.VPN_NUMBERS[vpn]
    limits = f"    limits: {plan.LIMITS[vpn]}\n" if pe_number == 1 and vpn in plan.LIMITS else ""
    return (
        f"  {vpn}:\n    rd: 65000:{pe_number}0{number}\n    route-target: 65000:{number}00\n"
        f"{limits}    ports:\n{ports}{neighbors}    static-routes:\n{statics}"
    )


def pe1_yaml(extra: str = "") -> str:
    """The configuration of the PE under attack; ``extra`` is appended to its VRFs."""
    red = (
        _port("red", 1)
        + _port("red", 3)
        + _vlan("red", 4, 10)
        + """\
      br-red:
        addresses: [192.168.6.1/24, "2001:db8:f6::1/64"]
"""
    )
    blue = _port("blue", 1) + _port("blue", 3) + _vlan("blue", 5, 20)
    internet = """\
      inet:
        addresses: [203.0.113.1/30, "2001:db8:f9::1/64"]
        source-prefixes: any
"""
    default = """\
      - {prefix: 0.0.0.0/0, via: 203.0.113.2}
      - {prefix: "::/0", via: "2001:db8:f9::2"}
"""
    return (
        _node(1)
        + _vrf(1, "red", red, _site(1) + _site(3) + _site(4) + ABSENT, _neighbors("red"))
        + _vrf(
            1,
            "blue",
            blue,
            _site(1) + _site(3) + _site(5),
            _neighbors("blue"),
        )
        + _vrf(1, "internet", internet, default)
        + extra
    )


def _vlan(vpn: str, number: int, vid: int) -> str:
    return f"""\
      {vpn}-v{vid}:
        parent: trunk0
        vlan: {vid}
        addresses: [192.168.{number}.1/30, "2001:db8:f{number}::1/64"]
"""


def _node(number: int) -> str:
    other = 3 - number
    reflector = f"""\
  {loopback(100)}:
    md5: {plan.KEYS["core"]}
    hold-time: 600
    passive: true
"""
    return f"""\
router-id: {loopback(number)}
asn: 65000
loopback: {loopback(number)}
loopback-ipv6: {plan.LOOPBACK6[number]}
core-ports:
  core0: {{}}
timers: {{label-hold-down: {plan.LABEL_HOLD_DOWN}, sync-timeout: {plan.SYNC}}}
peers:
  {loopback(other)}:
    md5: {plan.KEYS["core"]}
    hold-time: 600
{reflector if number == 1 else ""}vrfs:
"""


def pe2_yaml() -> str:
    """The other PE, with one static site of each VPN."""
    return _node(2) + "".join(_vrf(2, vpn, _port(vpn, 2), _site(2)) for vpn in ("red", "blue"))


def _provider_edge(number: int, config: str, setup: tuple[Command, ...] = ()) -> Node:
    addresses = (loopback(number) + "/32", plan.LOOPBACK6[number] + "/128")
    paths = (lsp(number, 3 - number), _reflector(number), *_ways_out(number))
    # Else a CE receives one refusal a second, and tests wait for theirs in vain.
    unlimited = {"net.ipv4.icmp_ratelimit": "0", "net.ipv6.icmp.ratelimit": "0"}
    return Node(f"pe{number}", "pe", addresses, unlimited, (*paths, *setup), (pe(config),))


def _ways_out(number: int) -> Iterator[Command]:
    """What a packet that leaves its VPN would follow: default routes to P in the core's table."""
    yield ("ip", "route", "add", "default", "via", f"10.0.{number}.2", "dev", "core0")
    own, gateway = f"{plan.CORE6}{number}::1/64", f"{plan.CORE6}{number}::2"
    yield ("ip", "-6", "addr", "add", own, "dev", "core0", "nodad")
    yield ("ip", "-6", "route", "add", "default", "via", gateway, "dev", "core0")


def _p() -> Node:
    """P, with IPv6 on its links only to see what should not come."""
    node = transit((1, 2))
    addresses = tuple(
        ("ip", "-6", "addr", "add", f"{plan.CORE6}{n}::2/64", "dev", f"pe{n}", "nodad")
        for n in (1, 2)
    )
    return replace(node, setup=(*node.setup, *addresses))


def _reflector(number: int) -> Command:
    return ("ip", "route", "add", f"{loopback(100)}/32", "via", f"10.0.{number}.2",
            "dev", "core0", "src", loopback(number))  # fmt: skip


ABSENT = "      - {prefix: 10.6.0.0/24, via: 192.168.6.99}\n"
"""A site of red behind a router that is not there."""

BRIDGE: tuple[Command, ...] = (
    ("ip", "link", "add", "br-red", "type", "bridge"),
    ("ip", "link", "set", "br-red", "address", "02:00:00:00:06:01"),
    ("ip", "link", "set", "br-a", "master", "br-red"),
    ("ip", "link", "set", "br-b", "master", "br-red"),
    ("ip", "link", "set", "br-a", "up"),
    ("ip", "link", "set", "br-b", "up"),
)


def _tagged(number: int, vid: int) -> Iterator[Command]:
    port = f"eth0.{vid}"
    yield ("ip", "link", "add", "link", "eth0", "name", port, "type", "vlan", "id", str(vid))
    yield ("ip", "addr", "add", f"192.168.{number}.2/30", "dev", port)
    yield ("ip", "addr", "add", f"2001:db8:f{number}::2/64", "dev", port, "nodad")
    yield ("ip", "link", "set", port, "up")


def _site_node(vpn: str, number: int) -> Node:
    # No server: every start of Python counts on the lab kernel, and attackers bring their own.
    return replace(static_ce(vpn, number), programs=())


def _hosts() -> Iterator[Node]:
    """What is no site with a LAN: the trunk's far end, two hosts on red's bridge, the Internet."""
    yield Node("trunk", "host", (), ROUTER, (*_tagged(4, 10), *_tagged(5, 20)))
    yield Node("lan-a")
    yield Node("lan-b")
    routes = (
        ("ip", "route", "add", "default", "via", "203.0.113.1"),
        ("ip", "-6", "route", "add", "default", "via", "2001:db8:f9::1"),
    )
    yield Node("internet", "host", ("198.51.100.1/32", "2001:db8:99::1/128"), ROUTER, routes)


def _links() -> Iterator[Link]:
    for vpn in ("red", "blue"):
        for number, home in HOME.items():
            ours = (f"192.168.{number}.2/30", f"2001:db8:f{number}::2/64")
            name = f"ce-{vpn}-{number}"
            yield Link(End(name, "eth0", ours), End(home, name, up=False))
    yield Link(End("trunk", "eth0"), End("pe1", "trunk0", up=False))
    for host, number in (("lan-a", 2), ("lan-b", 3)):
        ours = (f"192.168.6.{number}/24", f"2001:db8:f6::{number}/64")
        yield Link(End(host, "eth0", ours), End("pe1", f"br-{host[-1]}", up=False))
    ours = ("203.0.113.2/30", "2001:db8:f9::2/64")
    yield Link(End("internet", "eth0", ours), End("pe1", "inet", up=False))
    yield Link(End("plug", "eth0", ("192.0.2.2/30",)), End("pe1", "spare0", up=False))


LAB = Lab(
    name="attack",
    title="two VPNs and everybody who would get from one into the other",
    nodes=(
        _p(),
        *(_site_node(vpn, number) for vpn in ("red", "blue") for number in HOME),
        *_hosts(),
        Node("plug", "host"),
        _provider_edge(1, pe1_yaml(), BRIDGE),
        _provider_edge(2, pe2_yaml()),
    ),
    links=(core_link(1), core_link(2), *_links()),
    checks=CHECKS,
)
