"""FRR, GoBGP, BIRD and ExaBGP run on nodes and speak to each other.

x (ExaBGP, 65001) ---- f (FRR, 65000) ---- g (GoBGP, 65000)        b (BIRD, alone)
"""

from collections.abc import Iterator

import pytest

from labs.lab import RunningLab, running
from labs.peers import bird, exabgp, frr, gobgp
from labs.topology import End, Lab, Link, Node
from labs.waiting import until

FRR = """
hostname rr
router bgp 65000
 bgp router-id 10.0.0.1
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 65000
 neighbor 10.0.0.2 timers connect 1
 neighbor 10.0.1.2 remote-as 65001
 neighbor 10.0.1.2 timers connect 1
"""
GOBGP = """
[global.config]
  as = 65000
  router-id = "10.0.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "10.0.0.1"
    peer-as = 65000
"""
EXA = """
neighbor 10.0.1.1 {
    router-id 10.0.1.2;
    local-address 10.0.1.2;
    local-as 65001;
    peer-as 65000;
    family { ipv4 unicast; }
    api { processes [ commands ]; }
}
"""
LAB = Lab(
    "peers",
    "daemons of other projects",
    nodes=(
        Node("f", programs=frr.programs("f", FRR, ("bgpd",))),
        Node("g", programs=(gobgp.program(GOBGP),)),
        Node("x", programs=(exabgp.program(EXA),)),
        Node("b", programs=(bird.program("router id 192.0.2.9; protocol device {}\n"),)),
    ),
    links=(
        Link(End("f", "g", ("10.0.0.1/24",)), End("g", "f", ("10.0.0.2/24",))),
        Link(End("f", "x", ("10.0.1.1/24",)), End("x", "f", ("10.0.1.2/24",))),
    ),
)
ROUTE = "203.0.113.0/24"


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as lab:
        yield lab


def _states(lab: RunningLab) -> list[str]:
    summary = frr.query(lab, "f", "show bgp summary json")
    return [peer["state"] for peer in summary.get("ipv4Unicast", {}).get("peers", {}).values()]


def test_sessions_of_frr_with_gobgp_and_exabgp(lab: RunningLab) -> None:
    assert until(lambda: _states(lab) == ["Established"] * 2, 30, every=0.5), _states(lab)


def test_a_route_announced_by_command_arrives_and_goes_again(lab: RunningLab) -> None:
    def arrived() -> bool:
        return ROUTE in gobgp.gobgp(lab, "g", "global", "rib")

    exabgp.command(lab, "x", f"announce route {ROUTE} next-hop self")
    assert until(arrived, 20, every=0.5), lab.log("x", "exabgp")
    assert any(ROUTE in str(path) for path in gobgp.query(lab, "g", "global", "rib").items())
    exabgp.command(lab, "x", f"withdraw route {ROUTE} next-hop self")
    assert until(lambda: not arrived(), 20, every=0.5), lab.log("x", "exabgp")


def test_bird_answers(lab: RunningLab) -> None:
    assert "Router ID is 192.0.2.9" in bird.birdc(lab, "b", "show", "status")
