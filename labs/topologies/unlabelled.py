"""Three PEs in a row whose core routes packets and distributes no labels.

::

    ce-red-1 --.                                      .-- ce-red-3
                pe1 ---------- pe2 ---------- pe3 ---'
    ce-blue-1 -'                |
                            ce-blue-2

All label blocks are the default, so pe2 has given blue the label that pe3 has given red, and all
sites of a number have the same addresses. What pe1 sends to pe3 with the VPN label alone, pe2
would deliver to blue. Blue's sites are on neighbouring PEs: between these nothing is missing.
"""

from __future__ import annotations

from labs.checks.unlabelled import CHECKS
from labs.parts import access_link, loopback, static_ce, static_vrf
from labs.peers.pe import pe
from labs.topology import Command, End, Lab, Link, Node

TARGETS = {"red": 100, "blue": 200}
SITES = {1: ("red", "blue"), 2: ("blue",), 3: ("red",)}


def _config(here: int, ports: tuple[str, ...]) -> str:
    peers = "".join(f"  {loopback(n)}: {{hold-time: 30}}\n" for n in SITES if n != here)
    core = "".join(f"  {port}: {{}}\n" for port in ports)
    vrfs = "".join(
        static_vrf(vpn, f"65000:{TARGETS[vpn] + here}", TARGETS[vpn], here) for vpn in SITES[here]
    )
    return (
        f"name: pe{here}\nasn: 65000\nloopback: {loopback(here)}\n"
        f"core-ports:\n{core}peers:\n{peers}vrfs:\n{vrfs}"
    )


def _way(here: int, there: int, via: str, port: str) -> Command:
    """A route as an interior protocol writes it, without a label."""
    own = ("src", loopback(here))
    return ("ip", "route", "add", f"{loopback(there)}/32", "via", via, "dev", port, *own)


def _edge(here: int, ways: tuple[Command, ...], ports: tuple[str, ...]) -> Node:
    forward = {"net.ipv4.ip_forward": "1"}
    programs = (pe(_config(here, ports)),)
    return Node(f"pe{here}", "pe", (f"{loopback(here)}/32",), forward, ways, programs)


LAB = Lab(
    name="unlabelled",
    title="PEs in a row without label distribution: no VPN's packet arrives in another VPN",
    nodes=(
        *(static_ce(vpn, number) for number, vpns in SITES.items() for vpn in vpns),
        _edge(1, (_way(1, 2, "10.0.1.2", "to2"), _way(1, 3, "10.0.1.2", "to2")), ("to2",)),
        _edge(2, (_way(2, 1, "10.0.1.1", "to1"), _way(2, 3, "10.0.3.1", "to3")), ("to1", "to3")),
        _edge(3, (_way(3, 1, "10.0.3.2", "to2"), _way(3, 2, "10.0.3.2", "to2")), ("to2",)),
    ),
    links=(
        Link(End("pe1", "to2", ("10.0.1.1/30",)), End("pe2", "to1", ("10.0.1.2/30",))),
        Link(End("pe3", "to2", ("10.0.3.1/30",)), End("pe2", "to3", ("10.0.3.2/30",))),
        *(access_link(vpn, number) for number, vpns in SITES.items() for vpn in vpns),
    ),
    checks=CHECKS,
)
