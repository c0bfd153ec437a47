"""Two customers with the same addresses, across a label-switched core.

::

    ce-red-1  --.                                .--  ce-red-2
                 pe1 ---- p (labels only) ---- pe2
    ce-blue-1 --'                                '--  ce-blue-2

Red and blue use the same IPv4 and IPv6 addresses at both ends. Red's CEs (FRR) speak eBGP with
MD5 to their PE; blue's sites are static. pe1 and pe2 exchange VPNv4 and VPNv6 over one session.
"""

from __future__ import annotations

from labs.checks.quickstart import CHECKS
from labs.peers.frr import programs as frr
from labs.peers.pe import pe
from labs.site import command as site_command
from labs.topology import End, Lab, Link, Node, Program

MD5_CORE = "core-7c1f"
MD5_RED = "red-42aa"


def pe_yaml(here: int, there: int) -> str:
    """The whole configuration of one of the two PEs."""
    return f"""\
router-id: 10.255.0.{here}
asn: 65000
loopback: 10.255.0.{here}
core-ports:
  core0: {{}}
peers:
  10.255.0.{there}:
    md5: {MD5_CORE}
    hold-time: 30
vrfs:
  red:
    rd: 65000:{here}01
    route-target: 65000:100
    ports:
      ce-red:
        addresses: [192.168.{here}.1/30, "2001:db8:f{here}::1/64"]
    neighbors:
      192.168.{here}.2:
        asn: 6510{here}
        md5: {MD5_RED}
        hold-time: 30
        import: [10.{here}.0.0/16 le 24]
        export: any
      "2001:db8:f{here}::2":
        asn: 6510{here}
        md5: {MD5_RED}
        hold-time: 30
        import: ["2001:db8:{here}::/48 le 64"]
        export: any
  blue:
    rd: 65000:{here}02
    route-target: 65000:200
    ports:
      ce-blue:
        addresses: [192.168.{here}.1/30, "2001:db8:f{here}::1/64"]
    static-routes:
      - {{prefix: 10.{here}.0.0/24, via: 192.168.{here}.2}}
      - {{prefix: 10.99.{here}.0/24, via: 192.168.{here}.2}}
      - {{prefix: "2001:db8:{here}::/64", via: "2001:db8:f{here}::2"}}
"""


def ce_bgp(site: int) -> str:
    """FRR on a red CE: its LAN out, everything in."""
    return f"""\
router bgp 6510{site}
 bgp router-id 192.168.{site}.2
 no bgp ebgp-requires-policy
 neighbor 192.168.{site}.1 remote-as 65000
 neighbor 192.168.{site}.1 password {MD5_RED}
 neighbor 192.168.{site}.1 timers 10 30
 neighbor 192.168.{site}.1 timers connect 2
 neighbor 2001:db8:f{site}::1 remote-as 65000
 neighbor 2001:db8:f{site}::1 password {MD5_RED}
 neighbor 2001:db8:f{site}::1 timers 10 30
 neighbor 2001:db8:f{site}::1 timers connect 2
 address-family ipv4 unicast
  network 10.{site}.0.0/24
  no neighbor 2001:db8:f{site}::1 activate
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:{site}::/64
  neighbor 2001:db8:f{site}::1 activate
 exit-address-family
"""


def site(number: int, extra: tuple[tuple[str, ...], ...] = ()) -> tuple[tuple[str, ...], ...]:
    """The commands that give a CE its LAN."""
    return (
        ("ip", "link", "add", "lan0", "type", "dummy"),
        ("ip", "link", "set", "lan0", "up"),
        ("ip", "addr", "add", f"10.{number}.0.1/24", "dev", "lan0"),
        ("ip", "addr", "add", f"2001:db8:{number}::1/64", "dev", "lan0", "nodad"),
        *extra,
    )


def static_site(number: int) -> tuple[tuple[str, ...], ...]:
    """Blue has no routing protocol: everything else is behind the PE."""
    return site(number, (
        ("ip", "addr", "add", f"10.99.{number}.1/24", "dev", "lan0"),
        ("ip", "route", "add", "default", "via", f"192.168.{number}.1", "src", f"10.{number}.0.1"),
        ("ip", "-6", "route", "add", "default", "via", f"2001:db8:f{number}::1",
         "src", f"2001:db8:{number}::1"),
    ))  # fmt: skip


def server(name: str) -> Program:
    """What answers at a site: says the site's name, takes a transfer."""
    return Program("site", (*site_command(), "serve", name))


def ce(vpn: str, number: int) -> Node:
    """A customer's router, which is its whole site here."""
    name = f"ce-{vpn}-{number}"
    forwarding = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    if vpn == "blue":
        return Node(name, "ce", (), forwarding, static_site(number), (server(name),))
    bgp = frr(name, ce_bgp(number), daemons=("zebra", "bgpd"))
    return Node(name, "ce", (), forwarding, site(number), (server(name), *bgp))


def provider_edge(here: int, there: int) -> Node:
    """A PE; its label-switched path to the other one is static here."""
    path = (
        "ip", "route", "add", f"10.255.0.{there}/32", "encap", "mpls", f"10{there}",
        "via", f"10.0.{here}.2", "dev", "core0", "src", f"10.255.0.{here}",
    )  # fmt: skip
    return Node(
        f"pe{here}", "pe", (f"10.255.0.{here}/32",), {}, (path,), (pe(pe_yaml(here, there)),)
    )


def transit() -> Node:
    """P swaps nothing but labels, pops the last transport label, and knows no VPN."""

    def lsp(n: int) -> tuple[tuple[str, ...], ...]:
        to = f"10.0.{n}.1"
        return (
            ("ip", "-f", "mpls", "route", "add", f"10{n}", "via", "inet", to, "dev", f"pe{n}"),
            ("ip", "route", "add", f"10.255.0.{n}/32", "via", to, "dev", f"pe{n}"),
        )  # fmt: skip

    sysctls = {
        "net.ipv4.ip_forward": "1",
        "net.mpls.platform_labels": "1000",
        "net.mpls.conf.pe1.input": "1",
        "net.mpls.conf.pe2.input": "1",
    }
    return Node("p", "p", ("10.255.0.100/32",), sysctls, lsp(1) + lsp(2))


def core_link(number: int) -> Link:
    """PE to P, a /30."""
    return Link(
        End(f"pe{number}", "core0", (f"10.0.{number}.1/30",)),
        End("p", f"pe{number}", (f"10.0.{number}.2/30",)),
    )


def access_link(vpn: str, number: int) -> Link:
    """CE to PE. The PE's end stays down until the PE has guarded it."""
    ours = (f"192.168.{number}.2/30", f"2001:db8:f{number}::2/64")
    return Link(End(f"ce-{vpn}-{number}", "eth0", ours), End(f"pe{number}", f"ce-{vpn}", up=False))


LAB = Lab(
    name="quickstart",
    title="two customers with the same addresses, across a label-switched core",
    nodes=(
        transit(),
        *(ce(vpn, n) for vpn in ("red", "blue") for n in (1, 2)),
        provider_edge(1, 2),
        provider_edge(2, 1),
    ),
    links=(
        core_link(1),
        core_link(2),
        *(access_link(vpn, n) for vpn in ("red", "blue") for n in (1, 2)),
    ),
    checks=CHECKS,
)
