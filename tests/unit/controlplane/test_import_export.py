"""Routes in from the core and out to it: by target, with RD and label (RFC 4364 section 4.3)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from controlplane.bgp.outbound import NO_ADVERTISE
from controlplane.model.attributes import Attributes, Nlri, Origin
from controlplane.model.desired import NextHop, NextHopKey, NextHopPath
from controlplane.model.effects import Announce, SaveLabels, Withdraw
from controlplane.model.events import (
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionUp,
)
from controlplane.model.intent import DENY_ALL
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from controlplane.model.rd import parse_rd
from tests.unit.controlplane.rig import (
    LOOPBACK,
    PE2,
    PE3,
    V4,
    VPN4,
    VPN6,
    Rig,
    ce_peer,
    path_of,
    pe_peer,
    port,
    prefix,
    static,
    targets,
    vpn_attributes,
    vrf,
)

CE = PeerId("red", ip_address("192.0.2.2"))


def red_with_ce(**more: Any) -> Rig:
    red = vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2", **more),))
    rig = Rig(red, vrf("blue", 2)).ready()
    rig.up(CE)
    return rig


def test_a_route_goes_where_its_target_is_imported_and_nowhere_else() -> None:
    rig = Rig(vrf("red", 1), vrf("blue", 2)).ready()
    rig.vpn("10.1.0.0/24", rt="65000:1")
    hop = NextHopKey(Afi.IPV4, ip_address("10.255.0.2"), 300)
    assert rig.table("red") == {"10.1.0.0/24": hop}
    assert rig.table("blue") == {}
    members = (NextHopPath(ip_address("10.0.0.2"), "core0", (100, 300)),)
    assert rig.kernel.next_hops == {hop: NextHop(hop, members)}


def test_the_same_prefix_in_two_vpns() -> None:
    rig = Rig(vrf("red", 1), vrf("blue", 2)).ready()
    rig.vpn("10.1.0.0/24", rt="65000:1", rd="65001:1", label=301)
    rig.vpn("10.1.0.0/24", rt="65000:2", rd="65001:2", label=302)
    assert rig.table("red")["10.1.0.0/24"].label == 301
    assert rig.table("blue")["10.1.0.0/24"].label == 302
    rig.withdraw(PE2, "10.1.0.0/24", rd="65001:1")
    assert rig.table("red") == {}
    assert rig.table("blue")["10.1.0.0/24"].label == 302


def test_a_route_that_no_vrf_imports_is_not_kept() -> None:
    rig = Rig(vrf("red", 1)).ready()
    rig.vpn("10.1.0.0/24", rt="65000:77")
    peer = rig.router.peers[PE2]
    assert peer.adj_in.count(VPN4) == 0
    assert peer.refused["route-target"] == 1
    rig.vpn("10.1.0.0/24", rt="65000:1")
    assert peer.adj_in.count(VPN4) == 1


def test_a_route_whose_target_changes_moves() -> None:
    rig = Rig(vrf("red", 1), vrf("blue", 2)).ready()
    rig.vpn("10.1.0.0/24", rt="65000:1")
    rig.vpn("10.1.0.0/24", rt="65000:2")
    assert (list(rig.table("red")), list(rig.table("blue"))) == ([], ["10.1.0.0/24"])
    rig.vpn("10.1.0.0/24", rt="65000:77")
    assert (list(rig.table("red")), list(rig.table("blue"))) == ([], [])


def test_one_update_with_several_rds_and_labels() -> None:
    rig = Rig(vrf("red", 1)).ready()
    nlri = [
        Nlri(prefix("10.1.0.0/24"), parse_rd("65001:1"), (301,)),
        Nlri(prefix("10.2.0.0/24"), parse_rd("65001:2"), (302,)),
        Nlri(prefix("10.3.0.0/24"), parse_rd("65001:1"), (301,)),
        Nlri(prefix("10.4.0.0/24"), parse_rd("65001:1"), (3,)),
    ]
    rig.do(RoutesReceived(PE2, VPN4, PE2.address, vpn_attributes("65000:1"), nlri))
    assert {p: hop.label for p, hop in rig.table("red").items()} == {
        "10.1.0.0/24": 301, "10.2.0.0/24": 302, "10.3.0.0/24": 301,
    }  # fmt: skip
    assert rig.router.peers[PE2].refused == {"reserved-label": 1}


def test_a_refused_update_withdraws_what_was_there() -> None:  # RFC 7606: treat-as-withdraw
    rig = Rig(vrf("red", 1)).ready()
    rig.vpn("10.1.0.0/24")
    assert list(rig.table("red")) == ["10.1.0.0/24"]
    rig.vpn("10.1.0.0/24", asns=(65000,))
    assert rig.table("red") == {}


@pytest.mark.parametrize("hop", ["10.255.0.1", "0.0.0.0", "224.0.0.5"])
def test_a_route_that_leads_to_ourselves_or_nowhere_is_refused(hop: str) -> None:
    rig = Rig(vrf("red", 1), resolve_via_default=True).ready()
    rig.underlay("10.0.0.2", to="0.0.0.0/0")
    rig.vpn("10.1.0.0/24", next_hop=hop)
    assert rig.table("red") == {}
    assert rig.router.peers[PE2].refused == {"next-hop": 1}
    rig.vpn("10.1.0.0/24", next_hop="203.0.113.9")
    assert len(rig.table("red")) == 1


def test_the_same_route_of_two_reflectors_is_one_in_the_kernel() -> None:
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2), pe_peer(PE3))).ready()
    rig.up(PE3)
    rig.vpn("10.1.0.0/24", peer=PE3, next_hop="10.255.0.2", originator_id="10.255.0.2")
    before = rig.table("red")
    rig.vpn("10.1.0.0/24", peer=PE2, next_hop="10.255.0.2", originator_id="10.255.0.2")
    assert not rig.last.delta
    assert len(rig.router.vrfs["red"].table.candidates(prefix("10.1.0.0/24"))) == 2
    rig.down(PE2)
    assert not rig.last.delta
    assert rig.table("red") == before
    rig.down(PE3)
    assert rig.table("red") == {}


def test_a_repeated_update_changes_nothing() -> None:
    rig = red_with_ce()
    rig.vpn("10.1.0.0/24")
    rig.ce(CE, "10.2.0.0/24")
    rig.vpn("10.1.0.0/24")
    assert rig.is_silent
    rig.ce(CE, "10.2.0.0/24")
    assert rig.is_silent


def test_a_ces_route_is_exported_with_rd_targets_and_label() -> None:
    rig = red_with_ce()
    assert list(rig.kernel.labels) == [16000, 16001]
    rig.ce(CE, "10.9.0.0/16", med=7, communities=((65101, 5),))
    (announce,) = rig.actions(Announce)
    assert announce == Announce(
        PE2, VPN4, LOOPBACK,
        Attributes(as_path=path_of(65101), med=7, local_pref=100, communities=((65101, 5),),
                   route_targets=targets("65000:1")),
        [Nlri(prefix("10.9.0.0/16"), parse_rd("65000:1"), (16000,))],
    )  # fmt: skip
    rig.withdraw(CE, "10.9.0.0/16")
    assert rig.received_by(PE2) == set()


def test_many_routes_alike_leave_in_one_message() -> None:
    rig = red_with_ce()
    rig.ce(CE, "10.1.0.0/24", "10.2.0.0/24", med=1)
    events = []
    for number in range(20):
        said = Attributes(as_path=path_of(65101))
        events.append(
            RoutesReceived(CE, V4, CE.address, said, [Nlri(prefix(f"10.9.{number}.0/24"))])
        )
    rig.do(*events)
    (announce,) = rig.actions(Announce)
    assert len(announce.nlri) == 20


def test_no_advertise_stays_here() -> None:
    rig = red_with_ce()
    rig.ce(CE, "10.9.0.0/16", communities=(NO_ADVERTISE,))
    assert list(rig.table("red")) == ["10.9.0.0/16"]
    assert rig.received_by(PE2) == set()
    rig.ce(CE, "10.9.0.0/16")
    assert rig.received_by(PE2) == {"65000:1 10.9.0.0/16"}


def test_a_core_route_reaches_the_ce_and_not_the_core_again() -> None:
    rig = red_with_ce()
    rig.vpn("10.1.0.0/24", asns=(65102,), med=9, local_pref=200)
    assert rig.received_by(CE) == {"10.1.0.0/24"}
    assert rig.received_by(PE2) == set()
    assert rig.said(CE, "10.1.0.0/24") == Attributes(as_path=path_of(65000, 65102))
    rig.withdraw(PE2, "10.1.0.0/24")
    assert rig.received_by(CE) == set()


def test_a_worse_path_behind_a_better_one_is_not_advertised() -> None:
    rig = red_with_ce()
    rig.ce(CE, "10.1.0.0/24")
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/24"}
    rig.vpn("10.1.0.0/24", local_pref=500)
    assert rig.received_by(PE2) == set()  # the VRF's best is now remote
    assert rig.received_by(CE) == {"10.1.0.0/24"}
    rig.withdraw(PE2, "10.1.0.0/24")
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/24"}
    assert rig.received_by(CE) == set()


def test_ipv6_next_hop_of_a_ce_is_our_address_on_its_link() -> None:
    both = ce_peer("red", "192.0.2.2", families=(V4, VPN6))
    link = port("red-ce", "red", "192.0.2.1/30", "2001:db8::1/64")
    red = vrf("red", 1, ports=(link,), neighbors=(both,))
    rig = Rig(red).ready()
    rig.up(CE, V4, VPN6)
    assert rig.router.peers[CE].families == {V4}  # ISO-7: no VPN family on a CE session


@pytest.mark.parametrize("family", [VPN4, VPN6])
def test_a_family_that_was_not_negotiated_is_refused(family: object) -> None:
    rig = red_with_ce()
    nlri = [Nlri(prefix("10.1.0.0/24"), parse_rd("65001:1"), (300,))]
    rig.do(RoutesReceived(CE, family, CE.address, vpn_attributes("65000:2"), nlri))  # type: ignore[arg-type]
    assert rig.table("red") == rig.table("blue") == {}
    assert rig.router.peers[CE].refused == {"family": 1}
    rig.do(RoutesWithdrawn(CE, family, nlri))  # type: ignore[arg-type]
    assert rig.is_silent


def test_without_policies_nothing_passes_a_ce_session() -> None:  # RFC 8212
    rig = red_with_ce(import_policy=DENY_ALL, export_policy=DENY_ALL)
    rig.vpn("10.1.0.0/24")
    rig.ce(CE, "10.2.0.0/24")
    assert list(rig.table("red")) == ["10.1.0.0/24"]
    assert rig.received_by(CE) == rig.received_by(PE2) == set()


def test_a_peer_that_comes_late_receives_every_route() -> None:
    rig = Rig(vrf("red", 1, static_routes=(static("10.5.0.0/16"),)))
    rig.ready()
    assert rig.received_by(PE2) == {"65000:1 10.5.0.0/16"}
    assert rig.said(PE2, "10.5.0.0/16").origin is Origin.INCOMPLETE


def test_route_refresh_repeats_everything_of_the_family_and_no_more() -> None:
    red = vrf("red", 1, static_routes=(static("10.5.0.0/16"), static("2001:db8:5::/48")),
              neighbors=(ce_peer("red", "192.0.2.2"),))  # fmt: skip
    rig = Rig(red).ready()
    rig.up(CE)
    rig.do(RefreshRequested(PE2, VPN6))
    assert [(a.peer, a.family) for a in rig.actions(Announce)] == [(PE2, VPN6)]
    rig.do(RefreshRequested(CE, V4))
    assert [(a.peer, len(a.nlri)) for a in rig.actions(Announce)] == [(CE, 1)]


def test_a_withdrawal_in_the_same_turn_as_a_refresh_is_not_lost() -> None:
    rig = red_with_ce()
    rig.vpn("10.1.0.0/24", "10.2.0.0/24")
    gone = RoutesWithdrawn(PE2, VPN4, [Nlri(prefix("10.1.0.0/24"), parse_rd("65001:1"))])
    rig.do(gone, RefreshRequested(CE, V4))
    assert rig.received_by(CE) == {"10.2.0.0/24"}


def test_labels_are_saved_before_anything_else_is_said() -> None:
    rig = Rig(vrf("red", 1))
    first = rig.last.actions[0]
    assert first == SaveLabels({"red": 16000}, {})


def test_as_override_lets_two_sites_share_an_asn() -> None:
    for override, received in ((False, (65000, 65101)), (True, (65000, 65000))):
        rig = red_with_ce(as_override=override)
        rig.vpn("10.1.0.0/24", asns=(65101,))
        assert rig.said(CE, "10.1.0.0/24").as_path == path_of(*received)


def test_a_new_peer_gets_no_withdrawal_of_what_it_never_received() -> None:
    rig = red_with_ce()
    rig.ce(CE, "10.9.0.0/16")
    rig.down(PE2)
    gone = RoutesWithdrawn(CE, V4, [Nlri(prefix("10.9.0.0/16"))])
    rig.advertised[PE2] = {}
    rig.do(gone, SessionUp(peer=PE2, families=frozenset({VPN4})))
    assert rig.actions(Withdraw) == []
    assert rig.received_by(PE2) == set()


@pytest.mark.parametrize(("allowed", "taken"), [(0, set()), (1, {"10.1.0.0/24"})])
def test_routes_that_a_hub_sent_back_over_bgp(allowed: int, taken: set[str]) -> None:
    """Hub and spoke with BGP at the hub (RFC 4364 section 4.3.5): its CE sends the spokes' routes
    back with our AS on the path, and the hub's PE exports them like that."""
    rig = Rig(vrf("red", 1), peers=(pe_peer(PE2, allow_as_in=allowed),)).ready()
    rig.vpn("10.1.0.0/24", asns=(65100, 65000, 65102))
    assert set(rig.table("red")) == taken
    assert rig.router.peers[PE2].refused["as-loop"] == 1 - allowed
