"""A workload behind a CE is reached by the CE, for as long as a route leads there."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from controlplane.bgp import decision
from controlplane.bgp.path import Path
from controlplane.model.desired import NextHopKey
from controlplane.model.events import RoutesWithdrawn
from controlplane.model.intent import DENY_ALL, NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from controlplane.vpn import workload_ways
from tests.unit.controlplane.rig import (
    PE2,
    V4,
    V6,
    Rig,
    ce_peer,
    node,
    port,
    prefix,
    static,
    vrf,
)
from tests.unit.controlplane.test_workload_routes import named

CE, OTHER = PeerId("red", ip_address("192.0.2.2")), PeerId("red", ip_address("192.0.2.6"))
HOST, NET = "10.1.0.5/32", "10.1.0.0/24"
PORTS = (
    port("red-ce", "red", "192.0.2.1/30", "2001:db8:f::1/64"),
    port("red-b", "red", "192.0.2.5/30"),
)


def attached(
    *prefixes: str, name: str = "web", at: str = "red-ce", **more: Any
) -> WorkloadAttached:
    more.setdefault("groups", frozenset({101}))
    found = tuple(map(prefix, prefixes or (HOST,)))
    return WorkloadAttached(name=name, vrf="red", port=at, prefixes=found, **more)


def intent(*statics: Any, spoken: bool = True, **more: Any) -> NodeIntent:
    ces = (
        ce_peer("red", "192.0.2.2", families=(V4, V6), **more),
        ce_peer("red", "192.0.2.6", port="red-b", asn=65102),
    )
    return node(vrf("red", 1, ports=PORTS, static_routes=statics, neighbors=ces if spoken else ()))


def red(*statics: Any, spoken: bool = True, **more: Any) -> Rig:
    rig = Rig()
    rig.reload(intent(*statics, spoken=spoken, **more))
    rig.ready()
    if spoken:
        rig.up(CE, V4, V6)
        rig.up(OTHER)
    return rig


def via(rig: Rig, at: str = HOST) -> str:
    """Where the kernel sends a workload's packets."""
    hop = rig.table("red").get(at)
    return "" if hop is None else f"{hop.address or 'link'} {hop.device}"


def is_announced(rig: Rig, at: str = HOST) -> bool:
    key = f"65000:1 {at}"
    return key in rig.received_by(PE2) and (65000, 1, 101) in rig.said(PE2, at).large_communities


def test_a_host_behind_a_ce_goes_by_the_route_of_the_ce() -> None:
    rig = red()
    rig.ce(CE, NET)
    rig.do(attached())
    assert via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig), "other PEs learn who it is"
    assert HOST not in rig.received_by(CE), "the CE would send its own host's packets to us"
    assert HOST in rig.received_by(OTHER)
    rig.do(WorkloadDetached("web"))
    assert HOST not in rig.table("red")
    assert rig.received_by(OTHER) == {NET}


def test_it_follows_the_route_of_the_ce() -> None:
    rig = red(third_party_next_hop=True)
    rig.do(attached())
    assert via(rig) == "", "no host on the link would answer for it"
    assert not is_announced(rig)
    rig.ce(CE, NET)
    assert via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig)
    rig.withdraw(CE, NET)
    assert via(rig) == ""
    assert not is_announced(rig)
    rig.ce(CE, NET)
    rig.down(CE)
    assert via(rig) == ""
    assert not is_announced(rig)
    rig.up(CE, V4, V6)
    rig.ce(CE, "10.1.0.0/16")
    assert via(rig) == "192.0.2.2 red-ce"
    rig.ce(CE, NET)
    rig.withdraw(CE, "10.1.0.0/16")
    assert via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig)


def test_a_static_route_leads_there_too() -> None:
    rig = red(static(NET, "192.0.2.2"), spoken=False)
    rig.do(attached())
    assert via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig)
    rig.reload(intent(spoken=False))
    assert via(rig) == "link red-ce", "no CE can bring a route: the host is on the link"
    rig.reload(intent(static(NET, "192.0.2.2"), static("10.1.0.4/30", "192.0.2.1"), spoken=False))
    assert via(rig) == "192.0.2.1 red-ce", "the longest one"


def test_a_static_route_to_just_this_host_does_not_hide_who_it_is() -> None:
    rig = red(static(HOST, "192.0.2.2"))
    rig.do(attached())
    assert via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig)
    assert HOST not in rig.received_by(CE)
    rig.do(attached(groups=frozenset({101, 102})))
    assert (65000, 1, 102) in rig.said(PE2, HOST).large_communities
    rig.reload(intent())
    assert via(rig) == ""
    rig.reload(intent(static(HOST, port="red-ce")))
    assert via(rig) == "link red-ce", "on the link at the operator's word"
    assert is_announced(rig)
    rig.do(WorkloadDetached("web"))
    assert not is_announced(rig)
    assert via(rig) == "link red-ce"


def test_a_host_of_the_link_s_subnet_stays_on_the_link() -> None:
    rig = red()
    rig.ce(CE, "192.0.0.0/16", "0.0.0.0/0")
    rig.do(attached("192.0.2.2/32", "2001:db8:f::5/128"))
    assert via(rig, "192.0.2.2/32") == "link red-ce"
    assert via(rig, "2001:db8:f::5/128") == "link red-ce"
    assert is_announced(rig, "192.0.2.2/32")
    assert "192.0.2.2/32" not in rig.received_by(CE), "it is on the CE's own link"


def test_the_next_hop_is_never_the_host_itself() -> None:
    rig = red(static("10.9.0.0/16", "10.9.9.9", "red-b"))
    rig.do(attached("10.9.9.9/32", at="red-b"), attached("10.9.1.1/32", at="red-b", name="db"))
    assert via(rig, "10.9.9.9/32") == "link red-b"
    assert via(rig, "10.9.1.1/32") == "10.9.9.9 red-b"


def test_only_routes_through_its_own_port_count() -> None:
    rig = red()
    rig.ce(OTHER, NET, asns=(65102,))
    rig.vpn("10.1.0.0/25")
    rig.do(attached())
    assert via(rig) == ""
    assert not is_announced(rig)
    rig.ce(CE, "10.0.0.0/8")
    assert via(rig) == "192.0.2.2 red-ce"
    rig.do(attached(at="red-b"))
    assert via(rig) == "192.0.2.6 red-b"
    assert HOST in rig.received_by(CE)
    assert HOST not in rig.received_by(OTHER)


def test_a_route_that_is_not_the_best_leads_to_it_as_well() -> None:
    """The site has two ways in, and the workload is at this one."""
    rig = red()
    rig.vpn(NET, local_pref=200)
    rig.ce(CE, NET)
    rig.do(attached())
    assert rig.table("red")[NET].address == PE2.address
    assert via(rig) == "192.0.2.2 red-ce"


def test_ipv6_goes_by_a_link_local_next_hop() -> None:
    rig = red()
    rig.ce(CE, "2001:db8:1::/64", next_hop="fe80::2")
    rig.do(attached(HOST, "2001:db8:1::5/128"))
    assert via(rig, "2001:db8:1::5/128") == "fe80::2 red-ce"
    assert via(rig) == "", "each family for itself"
    assert is_announced(rig, "2001:db8:1::5/128")


def test_a_session_of_the_other_family_brings_no_route() -> None:
    rig = red()
    rig.do(attached(HOST, "2001:db8:1::5/128", at="red-b"))
    assert via(rig, "2001:db8:1::5/128") == "link red-b"
    assert via(rig) == ""
    closed = red(import_policy=DENY_ALL)
    closed.do(attached())
    assert via(closed) == "link red-ce", "nor does one from which nothing is taken"


def test_a_session_that_comes_or_goes_by_a_reload_counts_at_once() -> None:
    rig = red(spoken=False)
    rig.do(attached())
    assert via(rig) == "link red-ce"
    rig.reload(intent())
    assert via(rig) == ""
    assert not is_announced(rig)
    rig.reload(intent(spoken=False))
    assert via(rig) == "link red-ce"
    assert is_announced(rig)


def test_the_attributes_are_of_the_last_word_in_any_order() -> None:
    rig = red(spoken=False)
    rig.do(attached())
    rig.router.state.vrfs["red"].workloads.speak_at(())
    rig.router.state.lay(attached(at="red-b"))
    rig.do(attached(at="red-b", moves=3))
    assert via(rig) == "link red-b"
    assert rig.said(PE2, HOST).local_pref == 103


def test_a_network_behind_a_ce_and_a_host_in_it() -> None:
    rig = red()
    rig.ce(CE, "10.1.0.0/16")
    rig.do(attached(NET), attached(name="db"))
    assert via(rig, NET) == via(rig) == "192.0.2.2 red-ce"
    assert is_announced(rig, NET)
    rig.withdraw(CE, "10.1.0.0/16")
    assert via(rig, NET) == via(rig) == "", "a workload is no way to another one"


def test_a_port_that_is_down_takes_it_away_and_brings_it_back() -> None:
    rig = red(static(NET, "192.0.2.2"), spoken=False)
    rig.do(attached())
    rig.port("red-ce", up=False)
    assert via(rig) == ""
    assert not is_announced(rig)
    rig.port("red-ce")
    assert via(rig) == "192.0.2.2 red-ce"


def test_a_move_to_another_pe_and_back() -> None:
    rig = red()
    rig.ce(CE, NET)
    rig.do(attached())
    rig.vpn(HOST, large_communities=((65000, 1, 101), named("web")), local_pref=101)
    assert rig.table("red")[HOST].address == PE2.address
    rig.do(attached(moves=2))
    assert via(rig) == "192.0.2.2 red-ce"
    assert rig.said(PE2, HOST).local_pref == 102
    rig.withdraw(CE, NET)
    assert rig.table("red")[HOST].address == PE2.address, "it is reached where it is reachable"


def test_a_claim_without_a_way_still_contradicts_another_name() -> None:
    rig = red()
    rig.do(attached())
    rig.vpn(HOST, large_communities=((65000, 1, 102), named("db")))
    told = {p: c for each in rig.router.state.remote_endpoints for p, c in each.remote.items()}
    assert told[prefix(HOST)] is not None
    assert told[prefix(HOST)].conflict == ("10.255.0.2", "here")  # type: ignore[union-attr]


def test_all_in_one_turn_is_as_one_after_the_other() -> None:
    rig = red()
    rig.ce(CE, "10.1.0.0/16")
    rig.do(attached())
    routes = rig.events_of(lambda: rig.ce(CE, NET))
    gone = RoutesWithdrawn(CE, V4, [*routes[0].nlri])  # type: ignore[union-attr]
    rig.do(*routes, attached("10.1.0.6/32", name="db"))
    assert via(rig) == via(rig, "10.1.0.6/32") == "192.0.2.2 red-ce"
    rig.do(gone, WorkloadDetached("db"))
    assert via(rig) == "192.0.2.2 red-ce"
    rig.withdraw(CE, "10.1.0.0/16")
    assert via(rig) == ""


def test_a_port_without_workloads_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(workload_ways, "best_path", lambda paths, _: looked.append(paths))
    rig = red()
    rig.ce(CE, NET)
    rig.do(attached("10.7.0.1/32", at="red-b"))
    looked.clear()
    rig.ce(CE, "10.2.0.0/24")
    rig.vpn("10.3.0.0/24")
    assert not looked


def test_a_covering_route_that_cannot_be_chosen_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = decision.best_path

    def fails(paths: list[Path], metric: Any) -> Path | None:
        if any(path.attributes.med == 666 for path in paths):
            raise ValueError("a defect")
        return real(paths, metric)

    monkeypatch.setattr(workload_ways, "best_path", fails)
    rig = red()
    rig.do(attached())
    rig.ce(CE, "10.1.0.0/16")
    rig.ce(CE, NET, med=666)
    assert via(rig) == "192.0.2.2 red-ce", "by the next one"


def test_nothing_is_kept_of_workloads_that_are_gone() -> None:
    rig = red()
    rig.ce(CE, NET, "10.0.0.0/8")
    rig.do(attached(), attached("10.1.0.6/32", name="db"))
    ways = rig.router.state.vrfs["red"].workloads
    rig.do(WorkloadDetached("web"))
    assert via(rig, "10.1.0.6/32") == "192.0.2.2 red-ce"
    rig.do(WorkloadDetached("db"))
    fields = ("_placed", "_at", "_ways", "_to_find")
    assert [getattr(ways, field) for field in fields] == [{}, {}, {}, {}]
    assert ways._ordered == {Afi.IPV4: [], Afi.IPV6: []}


def test_why_it_has_no_way_can_be_asked() -> None:
    hops = red().router.hops
    for hop in workload_ways.NO_WAY.values():
        assert hops.metric(hop) is None
        assert hops.unusable(hop) == "no route through the workload's port leads to it"
        assert not hops.resolve(hop).paths
    away = NextHopKey(Afi.IPV4, ip_address("10.77.0.1"))
    assert hops.unusable(away) == "the next hop is on no link of the VRF"
