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
from labs.parts import (
    access_link,
    bgp_ce,
    core_link,
    loopback,
    lsp,
    static_ce,
    transit,
)
from labs.peers.frr import programs as frr
from labs.peers.pe import pe
from labs.topology import Lab, Node

MD5_CORE = "core-7c1f"
MD5_RED = "red-42aa"


def pe_yaml(here: int, there: int) -> str:
    """The whole configuration of one of the two PEs."""
    return f"""\
name: pe{here}
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
 neighbor 192.168.{site}.1 ttl-security hops 1
 neighbor 192.168.{site}.1 timers connect 2
 neighbor 2001:db8:f{site}::1 remote-as 65000
 neighbor 2001:db8:f{site}::1 password {MD5_RED}
 neighbor 2001:db8:f{site}::1 timers 10 30
 neighbor 2001:db8:f{site}::1 ttl-security hops 1
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


def red_ce(number: int) -> Node:
    """A red site: FRR speaks for it."""
    bgp = frr(f"ce-red-{number}", ce_bgp(number), daemons=("zebra", "bgpd"))
    return bgp_ce("red", number, bgp)


def blue_ce(number: int) -> Node:
    """A blue site: static, with a network that red does not have."""
    return static_ce(
        "blue", number, (("ip", "addr", "add", f"10.99.{number}.1/24", "dev", "lan0"),)
    )


def provider_edge(here: int, there: int) -> Node:
    """A PE; its label-switched path to the other one is static here."""
    config = pe_yaml(here, there)
    return Node(
        f"pe{here}", "pe", (loopback(here) + "/32",), {}, (lsp(here, there),), (pe(config),)
    )


LAB = Lab(
    name="quickstart",
    title="two customers with the same addresses, across a label-switched core",
    nodes=(
        transit((1, 2)),
        *(red_ce(n) for n in (1, 2)),
        *(blue_ce(n) for n in (1, 2)),
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
