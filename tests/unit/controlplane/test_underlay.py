"""Next hops through the main table: lost, returned, moved, spread; shared and counted."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest

from controlplane.model.desired import NextHopKey, NextHopPath
from controlplane.model.events import UnderlayPath, UnderlayRouteChanged
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from controlplane.routing.decision_process import REWEIGH_SECONDS
from controlplane.vpn.next_hop_resolver import Core, NextHopResolver
from tests.unit.controlplane.rig import PE2, PE3, Rig, ce_peer, node, pe_peer, prefix, vrf

CE = PeerId("red", ip_address("192.0.2.2"))
A2, A3 = ip_address("10.255.0.2"), ip_address("10.255.0.3")


def hop(address: object = A2, label: int = 300, afi: Afi = Afi.IPV4) -> NextHopKey:
    return NextHopKey(afi, address, label)  # type: ignore[arg-type]


def two_pes() -> Rig:
    rig = Rig(vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),)),
              peers=(pe_peer(PE2), pe_peer(PE3)))  # fmt: skip
    rig.ready()
    rig.underlay("10.0.1.3", to="10.255.0.3/32", metric=20)
    rig.up(PE3)
    rig.up(CE)
    return rig


def test_routes_share_a_next_hop_and_the_last_takes_it_away() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24")
    rig.vpn("10.4.0.0/24", label=301, rd="65001:2")
    assert rig.router.hops.uses == {hop(): 3, hop(label=301): 1}
    rig.withdraw(PE2, "10.1.0.0/24", "10.2.0.0/24")
    assert not rig.last.delta.next_hops
    rig.withdraw(PE2, "10.3.0.0/24")
    assert rig.last.delta.next_hops == {hop(): None}
    assert set(rig.kernel.next_hops) == {hop(label=301)}


def test_both_families_have_a_next_hop_of_their_own() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24", "2001:db8:1::/48")
    assert set(rig.kernel.next_hops) == {hop(), hop(afi=Afi.IPV6)}


def test_another_core_path_is_one_message_for_any_number_of_routes() -> None:
    rig = two_pes()
    rig.vpn(*(f"10.1.{i}.0/24" for i in range(50)))
    rig.underlay("10.0.9.2", to="10.255.0.2/32")
    assert rig.last.delta.routes == {}
    assert list(rig.last.delta.next_hops) == [hop()]
    members = (NextHopPath(ip_address("10.0.9.2"), "core0", (100, 300)),)
    assert rig.kernel.next_hops[hop()].paths == members


def test_a_lost_way_makes_routes_inactive_and_its_return_brings_them_back() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24")
    assert rig.received_by(CE) == {"10.1.0.0/24"}
    rig.underlay()
    assert rig.table("red") == {}
    assert rig.kernel.next_hops == {}
    assert rig.received_by(CE) == set()
    rig.underlay("10.0.0.2")
    assert rig.table("red") == {"10.1.0.0/24": hop()}
    assert rig.received_by(CE) == {"10.1.0.0/24"}


def test_lost_and_back_in_one_turn_leaves_the_routes_alone() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24")
    member = UnderlayPath(ip_address("10.0.7.7"), "core7", (777,))
    to = prefix("10.255.0.2/32")
    rig.do(UnderlayRouteChanged(to, ()), UnderlayRouteChanged(to, (member,), 10))
    assert rig.last.delta.routes == {}
    assert rig.kernel.next_hops[hop()].paths[0].labels == (777, 300)


def test_equal_ways_are_all_used_with_their_weights() -> None:
    rig = two_pes()
    members = (
        UnderlayPath(ip_address("10.0.0.2"), "core0", (100,), 2),
        UnderlayPath(ip_address("10.0.1.2"), "core1", (101,), 1),
        UnderlayPath(None, "core2"),
    )
    rig.vpn("10.1.0.0/24")
    rig.do(UnderlayRouteChanged(prefix("10.255.0.2/32"), members, 10))
    assert rig.kernel.next_hops[hop()].paths == (
        NextHopPath(ip_address("10.0.0.2"), "core0", (100, 300), 2),
        NextHopPath(ip_address("10.0.1.2"), "core1", (101, 300), 1),
        NextHopPath(A2, "core2", (300,), 1),
    )


def test_a_metric_turns_the_choice_between_two_pes() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24", peer=PE2, rd="65001:2")
    rig.vpn("10.1.0.0/24", peer=PE3, rd="65001:3")
    assert rig.table("red")["10.1.0.0/24"].address == A2
    rig.underlay("10.0.0.2", metric=30)
    rig.wait(REWEIGH_SECONDS)
    assert rig.table("red")["10.1.0.0/24"].address == A3
    rig.underlay("10.0.0.2", metric=10)
    rig.wait(REWEIGH_SECONDS)
    assert rig.table("red")["10.1.0.0/24"].address == A2
    rig.underlay()
    assert rig.table("red")["10.1.0.0/24"].address == A3


def test_a_changed_path_is_used_before_its_metric_is_compared() -> None:
    """A hundred thousand prefixes are not looked at before the packets go where they can."""
    rig = two_pes()
    rig.vpn("10.1.0.0/24", peer=PE2, rd="65001:2")
    rig.vpn("10.1.0.0/24", peer=PE3, rd="65001:3")
    rig.underlay("10.0.9.2", metric=30)
    assert list(rig.last.delta.next_hops) == [hop()]
    assert rig.table("red")["10.1.0.0/24"].address == A2
    assert rig.router.next_deadline == rig.now + REWEIGH_SECONDS
    rig.wait(REWEIGH_SECONDS)
    assert rig.table("red")["10.1.0.0/24"].address == A3


def test_the_longest_match_leads() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24")
    rig.underlay("10.0.5.5", to="10.255.0.0/24")
    assert not rig.last.delta
    rig.underlay()
    assert rig.kernel.next_hops[hop()].paths[0].gateway == ip_address("10.0.5.5")
    rig.underlay(to="10.255.0.0/24")
    assert rig.table("red") == {}


@pytest.mark.parametrize("wanted", [False, True])
def test_a_default_route_leads_to_a_pe_only_if_asked_for(wanted: bool) -> None:
    rig = Rig(vrf("red", 1), resolve_via_default=wanted)
    rig.underlay("10.0.0.2", to="0.0.0.0/0")
    rig.up(PE2)
    rig.vpn("10.1.0.0/24")
    assert bool(rig.table("red")) is wanted
    rig.reload(node(vrf("red", 1), resolve_via_default=not wanted))
    assert bool(rig.table("red")) is not wanted


def test_a_route_that_says_the_same_again_is_no_news() -> None:
    rig = two_pes()
    rig.vpn("10.1.0.0/24")
    rig.underlay("10.0.0.2")
    assert rig.is_silent


def test_what_no_candidate_names_is_followed_no_longer() -> None:
    rig = Rig(vrf("red", 1))
    rig.up(PE2)
    for i in range(5000):
        rig.vpn("10.1.0.0/24", next_hop=str(A2 + 1000 + i))
    assert len(rig.router.underlay.watched) <= 4097
    rig.vpn("10.1.0.0/24")
    rig.underlay("10.0.0.2")
    assert len(rig.table("red")) == 1


def test_looking_up_and_following_addresses() -> None:
    underlay = NextHopResolver(Core({"core0": frozenset()}))
    member = (UnderlayPath(ip_address("10.0.0.2"), "core0", (100,)),)
    assert underlay.watch(A2) is None
    turns = underlay.change(prefix("10.255.0.2/32"), member, 5)
    assert list(turns) == [A2]
    assert turns[A2][0] is None
    assert underlay.change(prefix("10.255.0.2/32"), member, 5) == {}
    assert underlay.change(prefix("10.0.0.0/8"), member, 5) == {}
    assert underlay.change(prefix("10.255.0.99/32"), member, 5) == {}
    ((old, new),) = underlay.change(prefix("10.255.0.2/32"), (), 0).values()
    assert old is not None
    assert new is not None
    assert (old.via, new.via) == (prefix("10.255.0.2/32"), prefix("10.0.0.0/8"))
    underlay.watch_only(set())
    assert underlay.change(prefix("10.0.0.0/8"), (), 0) == {}


def test_a_configured_cost_decides_where_the_kernel_knows_none() -> None:
    """zebra writes one priority for all routes: by it two PEs are always equally near."""
    rig = two_pes()
    rig.underlay("10.0.1.3", to="10.255.0.3/32", metric=10)
    rig.vpn("10.1.0.0/24", peer=PE2, rd="65001:2")
    rig.vpn("10.1.0.0/24", peer=PE3, rd="65001:3")
    assert rig.table("red")["10.1.0.0/24"].address == A2, "the lower router id"
    assert rig.router.intent is not None
    costs = ((A2, 30), (A3, 20))
    rig.reload(msgspec.structs.replace(rig.router.intent, igp_costs=costs))
    rig.wait(REWEIGH_SECONDS)
    assert rig.table("red")["10.1.0.0/24"].address == A3
    assert rig.router.hops.metric(hop()) == 30
    rig.reload(msgspec.structs.replace(rig.router.intent, igp_costs=()))
    rig.wait(REWEIGH_SECONDS)
    assert rig.table("red")["10.1.0.0/24"].address == A2
