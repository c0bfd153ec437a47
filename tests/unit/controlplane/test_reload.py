"""Reload as a difference: what changed, and nothing else."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from controlplane.model.attributes import Nlri
from controlplane.model.desired import Delta
from controlplane.model.effects import Announce, ConfigureSpeakers, RequestRefresh, Withdraw
from controlplane.model.intent import DENY_ALL, NodeIntent, Policy, PrefixRule
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.rd import parse_rd, parse_soo
from tests.unit.controlplane.rig import (
    PE2,
    V4,
    VPN4,
    VPN6,
    Rig,
    ce_peer,
    node,
    path_of,
    pe_peer,
    port,
    prefix,
    static,
    targets,
    vrf,
    with_peer,
    with_vrf,
)

CE, BLUE_CE = PeerId("red", ip_address("192.0.2.2")), PeerId("blue", ip_address("192.0.2.2"))


def busy() -> tuple[Rig, NodeIntent]:
    """Red and blue with a CE each, routes from everywhere, and hub that imports red's."""
    red = vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),),
              static_routes=(static("10.5.0.0/16"),))  # fmt: skip
    blue = vrf("blue", 2, neighbors=(ce_peer("blue", "192.0.2.2"),))
    hub = vrf("hub", 3, import_targets=targets("65000:1"), ports=())
    rig = Rig(red, blue, hub).ready()
    for ce in (CE, BLUE_CE):
        rig.up(ce)
        rig.ce(ce, "10.9.0.0/16")
    rig.vpn("10.1.0.0/24", rt="65000:1", rd="65001:1")
    rig.vpn("10.1.0.0/24", rt="65000:2", rd="65001:2")
    assert rig.router.intent is not None
    return rig, rig.router.intent


def tables(rig: Rig) -> dict[str, set[str]]:
    return {name: set(rig.table(name)) for name in rig.router.vrfs}


def test_the_same_intent_again_is_nothing() -> None:
    rig, intent = busy()
    rig.reload(intent)
    assert rig.is_silent


@pytest.mark.parametrize(
    "change", [{"description": "x"}, {"hold_time": 30}, {"md5": "secret"}, {"ttl_security": 1}]
)
def test_what_only_the_speaker_minds_goes_to_the_speaker_only(change: dict[str, Any]) -> None:
    rig, intent = busy()
    rig.reload(with_peer(intent, CE, **change))
    others = [a for a in rig.last.actions if not isinstance(a, ConfigureSpeakers)]
    assert others == []
    assert rig.last.delta.routes == {}


def test_a_new_vrf_is_nothing_to_the_others() -> None:
    rig, intent = busy()
    green = vrf("green", 4, static_routes=(static("10.7.0.0/16"),))
    rig.reload(msgspec.structs.replace(intent, vrfs=(*intent.vrfs, green)))
    number = rig.router.vrfs["green"].number
    assert set(rig.last.delta.routes) == {number}
    assert set(rig.last.delta.vrfs) == {"green"}
    assert [a.nlri[0].rd for a in rig.actions(Announce)] == [parse_rd("65000:4")]
    assert {r.family for r in rig.actions(RequestRefresh)} == {VPN4, VPN6}


def test_a_vrf_that_goes_takes_everything_of_it() -> None:
    rig, intent = busy()
    red = rig.router.vrfs["red"]
    rig.reload(msgspec.structs.replace(intent, vrfs=intent.vrfs[1:]))
    assert "red" not in rig.kernel.vrfs
    assert red.label not in rig.kernel.labels
    assert red.number not in rig.kernel.routes
    assert tables(rig) == {"blue": {"10.1.0.0/24", "10.9.0.0/16"}, "hub": {"10.1.0.0/24"}}
    assert rig.received_by(PE2) == {"65000:2 10.9.0.0/16"}
    assert rig.actions(Announce) == []
    assert CE not in rig.router.peers
    assert rig.router.advertised(CE, V4) == 0


def test_the_last_importer_takes_the_routes_out_of_the_adj_rib_in() -> None:
    rig, intent = busy()
    assert rig.router.peers[PE2].adj_in.count(VPN4) == 2
    rig.reload(msgspec.structs.replace(intent, vrfs=intent.vrfs[1:2]))
    assert rig.router.peers[PE2].adj_in.count(VPN4) == 1
    assert len(rig.router.hops.uses) == 2


def test_an_import_target_that_is_new_asks_for_its_routes() -> None:
    rig, intent = busy()
    rig.vpn("10.3.0.0/24", rt="65000:33", rd="65001:3")
    assert "10.3.0.0/24" not in rig.table("red")
    rig.reload(with_vrf(intent, "red", import_targets=targets("65000:1", "65000:33")))
    assert [(r.peer, r.family) for r in rig.actions(RequestRefresh)] == [(PE2, VPN4), (PE2, VPN6)]
    assert not rig.last.delta
    rig.vpn("10.3.0.0/24", rt="65000:33", rd="65001:3")
    assert "10.3.0.0/24" in rig.table("red")


def test_an_import_target_that_others_have_is_filled_from_what_is_known() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "hub", import_targets=targets("65000:1", "65000:2")))
    assert rig.actions(RequestRefresh) == []
    candidates = rig.router.vrfs["hub"].table.candidates(prefix("10.1.0.0/24"))
    assert len(candidates) == 2
    assert len(rig.router.vrfs["hub"].table.candidates(prefix("10.9.0.0/16"))) == 2


def test_an_import_target_that_goes_takes_its_routes() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "red", import_targets=targets("65000:44")))
    assert tables(rig)["red"] == {"10.5.0.0/16", "10.9.0.0/16"}
    assert tables(rig)["hub"] == {"10.1.0.0/24", "10.5.0.0/16", "10.9.0.0/16"}
    assert rig.received_by(CE) == {"10.5.0.0/16"}


def test_other_export_targets_replace_the_advertisement_without_a_withdrawal() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "red", export_targets=targets("65000:99")))
    assert rig.actions(Withdraw) == []
    assert {n.prefix for a in rig.actions(Announce) for n in a.nlri} == {
        prefix("10.5.0.0/16"), prefix("10.9.0.0/16"),
    }  # fmt: skip
    assert rig.said(PE2, "10.5.0.0/16").route_targets == targets("65000:99")
    assert tables(rig)["hub"] == {"10.1.0.0/24"}
    rig.reload(intent)
    assert tables(rig)["hub"] == {"10.1.0.0/24", "10.5.0.0/16", "10.9.0.0/16"}


def test_another_rd_withdraws_under_the_old_and_announces_under_the_new() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "red", rd=parse_rd("65000:77")))
    assert rig.received_by(PE2) == {
        "65000:77 10.5.0.0/16", "65000:77 10.9.0.0/16", "65000:2 10.9.0.0/16",
    }  # fmt: skip
    assert not rig.last.delta
    assert tables(rig)["hub"] == {"10.1.0.0/24", "10.5.0.0/16", "10.9.0.0/16"}


def test_two_vrfs_that_swap_their_rds() -> None:
    rig, intent = busy()
    swapped = with_vrf(intent, "red", rd=parse_rd("65000:2"))
    rig.reload(with_vrf(swapped, "blue", rd=parse_rd("65000:1")))
    assert rig.received_by(PE2) == {
        "65000:2 10.5.0.0/16", "65000:2 10.9.0.0/16", "65000:1 10.9.0.0/16",
    }  # fmt: skip
    assert rig.said(PE2, "10.9.0.0/16", "65000:1").route_targets == targets("65000:2")
    # Those of both VRFs, for under each RD there is another label now.
    assert {n for w in rig.actions(Withdraw) for n in w.nlri} == {
        Nlri(prefix("10.5.0.0/16"), parse_rd("65000:1")),
        Nlri(prefix("10.9.0.0/16"), parse_rd("65000:1")),
        Nlri(prefix("10.9.0.0/16"), parse_rd("65000:2")),
    }


def test_another_label_is_announced_after_a_withdrawal() -> None:
    """A reflector that suppresses duplicate UPDATEs does not see that the label is another."""
    rig, intent = busy()
    rig.reload(msgspec.structs.replace(intent, label_block=LabelBlock(17000, 17099)))
    assert {int(label): b.vrf for label, b in rig.kernel.labels.items()} == {
        17000: "red", 17001: "blue", 17002: "hub",
    }  # fmt: skip
    gone = {(n.rd, n.prefix) for w in rig.actions(Withdraw) for n in w.nlri}
    assert gone == {key for key in rig.advertised[PE2] if isinstance(key, tuple)}
    sent = [type(a) for a in rig.last.actions if isinstance(a, Withdraw | Announce)]
    assert sent == sorted(sent, key=lambda kind: kind is Announce), "announced before withdrawn"
    assert set(rig.kernel.routes) == {17000, 17001, 17002}
    key = (parse_rd("65000:1"), prefix("10.9.0.0/16"))
    assert rig.advertised[PE2][key][2] == (17000,)
    assert tables(rig)["red"] == {"10.1.0.0/24", "10.5.0.0/16", "10.9.0.0/16"}


def test_a_vrf_that_changes_its_name_keeps_its_rd_and_changes_its_label() -> None:
    routes = (static("10.5.0.0/16"),)
    rig = Rig(vrf("red", 1, static_routes=routes)).ready()
    key = (parse_rd("65000:1"), prefix("10.5.0.0/16"))
    assert rig.advertised[PE2][key][2] == (16000,)
    rig.reload(node(vrf("rot", 1, static_routes=routes)))
    assert [n for w in rig.actions(Withdraw) for n in w.nlri] == [Nlri(key[1], key[0])]
    assert rig.advertised[PE2][key][2] == (16001,)


def test_a_static_route_that_comes_goes_or_moves_is_one_route() -> None:
    rig, intent = busy()
    number = rig.router.vrfs["red"].number
    more = (static("10.5.0.0/16"), static("10.6.0.0/16"))
    rig.reload(with_vrf(intent, "red", static_routes=more))
    assert set(rig.last.delta.routes[number]) == {prefix("10.6.0.0/16")}
    rig.reload(intent)
    assert rig.last.delta.routes[number] == {prefix("10.6.0.0/16"): None}
    rig.reload(with_vrf(intent, "red", static_routes=(static("10.5.0.0/16", "192.0.2.2"),)))
    assert rig.table("red")["10.5.0.0/16"].device == "red-ce"
    assert set(rig.last.delta.routes[number]) == {prefix("10.5.0.0/16")}


def test_a_static_route_follows_its_next_hop_to_another_port() -> None:
    ports = (port("a", "red", "192.0.2.1/30"), port("b", "red", "192.0.2.5/30"))
    swapped = (port("a", "red", "192.0.2.5/30"), port("b", "red", "192.0.2.1/30"))
    statics = (static("10.5.0.0/16", "192.0.2.2"),)
    rig = Rig(vrf("red", 1, ports=ports, static_routes=statics)).ready()
    assert rig.table("red")["10.5.0.0/16"].device == "a"
    assert rig.router.intent is not None
    rig.reload(with_vrf(rig.router.intent, "red", ports=swapped))
    assert rig.table("red")["10.5.0.0/16"].device == "b"


def test_advertise_connected_comes_and_goes() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "red", advertise_connected=True))
    assert [n.prefix for a in rig.actions(Announce) for n in a.nlri] == [prefix("192.0.2.0/30")] * 2
    assert "65000:1 192.0.2.0/30" in rig.received_by(PE2)
    assert "192.0.2.0/30" in rig.received_by(CE)
    assert "192.0.2.0/30" in rig.table("hub")
    rig.reload(intent)
    assert "65000:1 192.0.2.0/30" not in rig.received_by(PE2)
    assert "192.0.2.0/30" not in rig.received_by(CE)
    assert "192.0.2.0/30" not in rig.table("hub")


def test_a_session_that_goes_takes_its_routes() -> None:
    rig, intent = busy()
    rig.reload(with_vrf(intent, "red", neighbors=()))
    assert tables(rig)["red"] == {"10.1.0.0/24", "10.5.0.0/16"}
    assert rig.received_by(PE2) == {"65000:1 10.5.0.0/16", "65000:2 10.9.0.0/16"}
    assert rig.ordered_sessions() == {PE2, BLUE_CE}
    rig.reload(intent)
    assert not rig.router.peers[CE].up


def test_another_restart_time_reaches_the_speakers() -> None:
    rig, intent = busy()
    rig.reload(msgspec.structs.replace(intent, restart_time=intent.restart_time + 1))
    (speakers,) = rig.actions(ConfigureSpeakers)
    assert speakers.restart_time == intent.restart_time + 1
    assert speakers.peers.keys() == {"", "red", "blue"}


def test_a_core_session_that_goes_takes_its_routes() -> None:
    rig, intent = busy()
    rig.reload(msgspec.structs.replace(intent, peers=()))
    assert tables(rig)["red"] == {"10.5.0.0/16", "10.9.0.0/16"}
    rig.reload(msgspec.structs.replace(intent, peers=(pe_peer(),)))
    rig.up(PE2)
    assert len(rig.received_by(PE2)) == 3


def only(text: str) -> Policy:
    return Policy((PrefixRule(prefix(text), 0, 32),))


def test_an_import_policy_that_changes_is_held_against_what_is_known() -> None:
    rig, intent = busy()
    rig.ce(CE, "10.8.0.0/16")
    rig.reload(with_peer(intent, CE, import_policy=only("10.8.0.0/16")))
    assert "10.9.0.0/16" not in rig.table("red")
    assert "10.8.0.0/16" in rig.table("red")  # without a gap
    assert [(r.peer, r.family) for r in rig.actions(RequestRefresh)] == [(CE, V4)]


def test_an_export_policy_that_changes_withdraws_and_announces_the_difference() -> None:
    rig, intent = busy()
    rig.vpn("10.2.0.0/24")
    rig.reload(with_peer(intent, CE, export_policy=only("10.1.0.0/24")))
    assert rig.received_by(CE) == {"10.1.0.0/24"}
    assert rig.actions(Announce) == []
    rig.reload(with_peer(intent, CE, export_policy=DENY_ALL))
    assert rig.received_by(CE) == set()
    rig.reload(intent)
    assert rig.received_by(CE) == {"10.1.0.0/24", "10.2.0.0/24", "10.5.0.0/16"}


def test_a_change_of_as_override_advertises_all_routes_again() -> None:
    rig, intent = busy()
    rig.vpn("10.2.0.0/24", asns=(65101,))
    rig.reload(with_peer(intent, CE, as_override=True))
    assert rig.said(CE, "10.2.0.0/24").as_path == path_of(65000, 65000)
    assert rig.actions(Withdraw) == []


def test_a_site_of_origin_that_is_set_marks_what_is_known() -> None:
    rig, intent = busy()
    rig.reload(with_peer(intent, CE, site_of_origin=parse_soo("65000:5")))
    assert rig.said(PE2, "10.9.0.0/16").sites_of_origin == {parse_soo("65000:5")}
    assert rig.last.delta.routes == {}


def test_allow_as_in_that_is_taken_back() -> None:
    rig, intent = busy()
    loose = with_peer(intent, CE, allow_as_in=1)
    rig.reload(loose)
    rig.ce(CE, "10.8.0.0/16", asns=(65101, 65000))
    assert "10.8.0.0/16" in rig.table("red")
    rig.reload(intent)
    assert tables(rig)["red"] == {"10.1.0.0/24", "10.5.0.0/16", "10.9.0.0/16"}


def test_a_new_link_refuses_what_a_ce_had_announced_of_it() -> None:
    rig, intent = busy()
    rig.ce(CE, "198.51.100.0/30")
    more = (port("red-ce", "red", "192.0.2.1/30"), port("b", "red", "198.51.100.1/30"))
    rig.reload(with_vrf(intent, "red", ports=more))
    assert "198.51.100.0/30" not in rig.table("red")


def test_a_port_that_appears_and_goes_is_laid_out() -> None:
    rig, intent = busy()
    more = (port("red-ce", "red", "192.0.2.1/30"), port("b", "red", "198.51.100.1/30"))
    rig.reload(with_vrf(intent, "red", ports=more))
    assert rig.kernel.ce_ports["b"].vrf == "red"
    assert rig.kernel.ce_ports["b"].zone == rig.kernel.ce_ports["red-ce"].zone
    rig.reload(intent)
    assert "b" not in rig.kernel.ce_ports


def test_another_loopback_is_advertised_as_next_hop() -> None:
    rig, intent = busy()
    rig.reload(msgspec.structs.replace(intent, loopback=ip_address("10.255.0.11")))
    advertised = {hop for hop, _, _ in rig.advertised[PE2].values()}
    assert advertised == {ip_address("10.255.0.11")}


def test_another_router_id_leaves_no_twin_behind() -> None:
    rig, intent = busy()
    rig.reload(msgspec.structs.replace(intent, router_id=ip_address("10.255.0.11")))
    assert not rig.last.delta
    assert len(rig.router.vrfs["hub"].table.candidates(prefix("10.9.0.0/16"))) == 1
    rig.withdraw(CE, "10.9.0.0/16")
    assert "10.9.0.0/16" not in rig.table("hub")


def test_tables_change_hands_in_two_reloads() -> None:
    red = vrf("red", 1, table=101, static_routes=(static("10.1.0.0/24"),))
    blue = vrf("blue", 2, table=102, static_routes=(static("10.2.0.0/24"),))
    rig = Rig(red, blue).ready()
    assert rig.router.intent is not None
    between = with_vrf(with_vrf(rig.router.intent, "red", table=103), "blue", table=104)
    swapped = with_vrf(with_vrf(rig.router.intent, "red", table=102), "blue", table=101)
    rig.reload(swapped)
    assert not rig.last.delta, "red's routes would be there when blue's ports open"
    rig.reload(between)
    rig.reload(swapped)
    assert tables(rig) == {"red": {"10.1.0.0/24"}, "blue": {"10.2.0.0/24"}}
    assert {t: {str(p) for p in routes} for t, routes in rig.kernel.routes.items()} == {
        102: {"10.1.0.0/24"}, 101: {"10.2.0.0/24"},
    }  # fmt: skip
    assert rig.last.delta != Delta()


@pytest.mark.parametrize("gone", [("red", "hub"), ("hub", "red"), ("red",), ("hub",)])
def test_vrfs_that_import_each_other_go_in_one_reload(gone: tuple[str, ...]) -> None:
    """What one takes back is no change of a table that is gone already: it ended the node."""
    both = targets("65000:1", "65000:3")
    routes = (static("10.5.0.0/16"),)
    red = vrf("red", 1, import_targets=both, static_routes=routes)
    hub = vrf("hub", 3, import_targets=both, static_routes=(static("10.6.0.0/16"),),
              ports=(port("hub-ce", "hub", "192.0.2.5/30"),))  # fmt: skip
    rig = Rig(red, vrf("blue", 2), hub).ready()
    assert tables(rig)["red"] == tables(rig)["hub"] == {"10.5.0.0/16", "10.6.0.0/16"}
    left = [v for v in (red, vrf("blue", 2), hub) if v.name not in gone]
    rig.reload(node(*left))
    assert set(tables(rig)) == {"red", "blue", "hub"} - set(gone)
    for name in {"red", "hub"} - set(gone):
        assert tables(rig)[name] == {"10.5.0.0/16" if name == "red" else "10.6.0.0/16"}
    assert rig.wait(1).delta.routes == {}
