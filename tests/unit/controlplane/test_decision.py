"""RFC 4271 section 9.1.2.2 and RFC 4456 section 9, a row a step: the first path wins."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import permutations
from typing import Any

import pytest

from controlplane.bgp.decision import best_path, ranked, why_not
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import AsSegment, Attributes, Origin
from controlplane.model.desired import NextHopKey
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from controlplane.model.rd import parse_rd

IGP = {"10.0.0.1": 10, "10.0.0.2": 10, "10.0.0.3": 20, "10.0.0.9": None}


def metric(hop: NextHopKey) -> int | None:
    return 0 if hop.device else IGP[str(hop.address)]


def seq(*asns: int) -> tuple[AsSegment, ...]:
    return (AsSegment("sequence", asns),)


@dataclass(frozen=True)
class P:
    """A path in short: an iBGP path through the core unless told otherwise."""

    hop: str = "10.0.0.1"
    peer: str = "10.0.0.100"
    router_id: int = 1
    ebgp: bool = False
    protocol: RouteProtocol = RouteProtocol.BGP
    rd: str | None = "1:1"
    via: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)

    def path(self) -> Path:
        source = Source(
            self.protocol, "red" if self.ebgp or self.protocol < 2 else "",
            PeerId("", ip_address(self.peer)) if self.peer else None,
            self.ebgp, self.router_id, self.via,
        )  # fmt: skip
        device = "port" if source.vrf else ""
        hop = NextHopKey(Afi.IPV4, ip_address(self.hop), -1 if device else 100, device)
        rd = parse_rd(self.rd) if self.rd else None
        return Path(source, Attributes(**self.attributes), hop, rd)


def a(**attributes: Any) -> P:
    return P(attributes=attributes)


STEPS = {
    "unreachable next hop is out of the race (9.1.2.1)": [
        a(local_pref=1), P(hop="10.0.0.9", attributes={"local_pref": 500})
    ],
    "connected before static before BGP": [
        P(protocol=RouteProtocol.CONNECTED, peer="", rd=None),
        P(protocol=RouteProtocol.STATIC, peer="", rd=None),
        a(local_pref=500),
    ],
    "highest LOCAL_PREF": [a(local_pref=200, as_path=seq(1, 2, 3)), a(local_pref=100)],
    "no LOCAL_PREF counts as 100": [a(local_pref=101), a(), a(local_pref=99), a(local_pref=0)],
    "shortest AS_PATH": [a(as_path=seq(1)), a(as_path=seq(1, 2), origin=Origin.IGP)],
    "an AS_SET counts as one": [
        a(as_path=(*seq(1), AsSegment("set", (2, 3, 4)))), a(as_path=seq(1, 2, 3))
    ],
    "members of a confederation do not count": [
        a(as_path=(AsSegment("confed-sequence", (1, 2, 3)), *seq(7))), a(as_path=seq(7, 8))
    ],
    "MED of one AS behind a confederation": [
        a(as_path=(AsSegment("confed-sequence", (1,)), *seq(7)), med=5), a(as_path=seq(7), med=6)
    ],
    "lowest ORIGIN": [a(origin=Origin.IGP), a(origin=Origin.EGP), a(origin=Origin.INCOMPLETE)],
    "lowest MED of one neighbouring AS": [a(as_path=seq(7), med=5), a(as_path=seq(7), med=6)],
    "no MED is the lowest": [a(as_path=seq(7)), a(as_path=seq(7), med=1)],
    "MED of different ASes is not compared": [
        P(router_id=1, attributes={"as_path": seq(8), "med": 9}),
        P(router_id=2, attributes={"as_path": seq(7), "med": 1}),
    ],
    "eBGP before iBGP": [P(ebgp=True, router_id=9, rd=None), P(router_id=1)],
    "lowest IGP metric": [P(hop="10.0.0.2", router_id=9), P(hop="10.0.0.3", router_id=1)],
    "lowest router id": [P(router_id=1, peer="10.0.0.102"), P(router_id=2, peer="10.0.0.101")],
    "ORIGINATOR_ID stands for the router id (RFC 4456)": [
        P(router_id=9, attributes={"originator_id": "0.0.0.1"}),
        P(router_id=2, attributes={}),
    ],
    "shortest CLUSTER_LIST (RFC 4456)": [
        P(peer="10.0.0.102", attributes={"cluster_list": ("1.1.1.1",)}),
        P(peer="10.0.0.101", attributes={"cluster_list": ("1.1.1.1", "2.2.2.2")}),
    ],
    "lowest peer address": [P(peer="10.0.0.9"), P(peer="10.0.0.10")],
    "then the RD": [P(rd="1:1"), P(rd="1:2")],
    "then the link": [
        P(protocol=RouteProtocol.STATIC, peer="", rd=None, via="a"),
        P(protocol=RouteProtocol.STATIC, peer="", rd=None, via="b"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
def test_the_first_wins_in_any_order(step: str) -> None:
    paths = [p.path() for p in STEPS[step]]
    for order in permutations(paths):
        assert best_path(order, metric) is paths[0]


@pytest.mark.parametrize("step", STEPS)
def test_without_the_first_another_wins(step: str) -> None:
    paths = [p.path() for p in STEPS[step]]
    rest = [p for p in paths[1:] if metric(p.hop) is not None]
    assert best_path(paths[1:], metric) is (rest[0] if rest else None)


def test_link_bandwidth_and_other_extended_communities_have_no_say() -> None:
    plain, fast = (
        P(peer="10.0.0.1").path(),
        P(peer="10.0.0.2", attributes={"extended": ("bandwidth:65000:1e9",)}).path(),
    )
    assert best_path((fast, plain), metric) is plain


def test_med_is_settled_within_each_as_before_the_rest() -> None:
    # Pairwise comparison would make a circle of these; RFC 4271 9.1.2.2 c groups them first.
    one = P(hop="10.0.0.3", router_id=1, attributes={"as_path": seq(7), "med": 1})
    two = P(hop="10.0.0.2", router_id=2, attributes={"as_path": seq(8), "med": 5})
    three = P(hop="10.0.0.1", router_id=3, attributes={"as_path": seq(7), "med": 9})
    paths = [p.path() for p in (two, one, three)]
    assert {best_path(order, metric) for order in permutations(paths)} == {paths[0]}


def test_nothing_reachable_nothing_chosen() -> None:
    assert best_path((P(hop="10.0.0.9").path(),), metric) is None
    assert best_path((), metric) is None


def test_ranked_shows_all_best_first_and_unreachable_last() -> None:
    far, near, lost = P(hop="10.0.0.3"), P(hop="10.0.0.2", rd="1:2"), P(hop="10.0.0.9")
    paths = [p.path() for p in (lost, far, near)]
    assert ranked(paths, metric) == [paths[2], paths[1], paths[0]]


WHY = {
    "connected before static before BGP": "protocol",
    "highest LOCAL_PREF": "LOCAL_PREF",
    "no LOCAL_PREF counts as 100": "LOCAL_PREF",
    "shortest AS_PATH": "AS path length",
    "an AS_SET counts as one": "AS path length",
    "lowest ORIGIN": "origin",
    "lowest MED of one neighbouring AS": "MED",
    "no MED is the lowest": "MED",
    "MED of different ASes is not compared": "router id",
    "eBGP before iBGP": "eBGP before iBGP",
    "lowest IGP metric": "IGP metric",
    "lowest router id": "router id",
    "shortest CLUSTER_LIST (RFC 4456)": "CLUSTER_LIST length",
    "lowest peer address": "peer address",
}


@pytest.mark.parametrize("step", WHY)
def test_the_step_that_decided_is_named(step: str) -> None:
    best, *others = (p.path() for p in STEPS[step])
    assert why_not(best, best, metric) == ""
    assert why_not(others[0], best, metric) == WHY[step]
