"""Max-prefix of a session and the route limit of a VRF."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import ConfigureSpeakers, RequestRefresh, ResetSession
from controlplane.model.events import PeerCleared, RoutesReceived, SessionUp
from controlplane.model.intent import PrefixLimit
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.routing.limits import ASK_EVERY, MAX_PREFIX_REACHED
from tests.unit.controlplane.rig import (
    PE2,
    V4,
    VPN4,
    VPN6,
    Rig,
    ce_peer,
    path_of,
    pe_peer,
    prefix,
    targets,
    vrf,
    with_peer,
    with_vrf,
)

CE = PeerId("red", ip_address("192.0.2.2"))


def limited(maximum: int = 10, **more: int) -> Rig:
    limits = ((V4, PrefixLimit(maximum, **more)),)
    ce = ce_peer("red", "192.0.2.2", prefix_limits=limits)
    rig = Rig(vrf("red", 1, neighbors=(ce,)), vrf("blue", 2)).ready()
    rig.up(CE)
    return rig


def nets(count: int, first: int = 0) -> list[str]:
    return [f"10.1.{first + i}.0/24" for i in range(count)]


def test_a_warning_comes_once_and_in_time() -> None:
    rig = limited()
    rig.ce(CE, *nets(7))
    assert rig.notices() == []
    rig.ce(CE, *nets(8))
    assert rig.notices() == ["prefix_limit_near"]
    rig.ce(CE, *nets(9))
    assert rig.notices() == []


def test_as_many_as_allowed_are_allowed() -> None:
    rig = limited()
    rig.ce(CE, *nets(10))
    rig.ce(CE, *nets(10))
    assert len(rig.table("red")) == 10
    assert rig.actions(ResetSession) == []


def test_one_too_many_shuts_the_session_for_a_while() -> None:
    rig = limited(idle_hold=300).started()
    rig.vpn("10.7.0.0/24", rt="65000:2")
    rig.ce(CE, *nets(11))
    assert [(r.peer, r.subcode) for r in rig.actions(ResetSession)] == [(CE, MAX_PREFIX_REACHED)]
    assert rig.ordered_sessions() == {PE2}
    assert "prefix_limit_exceeded" in rig.notices()
    assert rig.table("red") == {}
    assert rig.received_by(PE2) == set()
    assert list(rig.table("blue")) == ["10.7.0.0/24"]
    assert rig.router.next_deadline == pytest.approx(rig.now + 300)
    rig.down(CE)
    rig.wait(299)
    assert rig.actions(ConfigureSpeakers) == []
    rig.wait(1)
    assert rig.ordered_sessions() == {PE2, CE}
    rig.up(CE)
    rig.ce(CE, *nets(3))
    assert len(rig.table("red")) == 3


def test_a_peer_in_its_pause_that_comes_up_is_shut_again() -> None:
    rig = limited()
    rig.ce(CE, *nets(11))
    rig.do(SessionUp(peer=CE, families=frozenset({V4})))
    assert len(rig.actions(ResetSession)) == 1
    rig.ce(CE, *nets(1))
    assert rig.table("red") == {}


def test_without_an_idle_hold_only_an_operator_helps() -> None:
    rig = limited(idle_hold=0)
    rig.ce(CE, *nets(11))
    rig.wait(100_000)
    assert rig.actions(ConfigureSpeakers) == []
    rig.do(PeerCleared(CE))
    assert len(rig.actions(ConfigureSpeakers)) == 1
    assert not rig.router.peers[CE].disabled


@pytest.mark.parametrize("idle_hold", [0, 300])
@pytest.mark.parametrize("limits", [((V4, PrefixLimit(20)),), ()], ids=["raised", "removed"])
def test_a_limit_that_is_raised_lets_a_held_peer_try_again(
    idle_hold: int, limits: tuple[tuple[Family, PrefixLimit], ...]
) -> None:
    rig = limited(idle_hold=idle_hold)
    rig.ce(CE, *nets(11))
    assert rig.router.peers[CE].disabled
    assert rig.router.intent is not None
    rig.reload(with_peer(rig.router.intent, CE, prefix_limits=limits))
    assert not rig.router.peers[CE].disabled
    assert CE in rig.ordered_sessions()


def test_a_reload_without_another_limit_leaves_a_held_peer_held() -> None:
    rig = limited(idle_hold=0)
    rig.ce(CE, *nets(11))
    assert rig.router.intent is not None
    rig.reload(with_peer(rig.router.intent, CE, description="new"))
    assert rig.router.peers[CE].disabled


@pytest.mark.parametrize(
    ("before", "after", "left"), [(300, 100, 90), (0, 100, 90), (300, 0, None), (300, 5, 0)]
)
def test_an_idle_hold_that_is_changed_counts_from_its_beginning(
    before: int, after: int, left: int | None
) -> None:
    rig = limited(idle_hold=before).started()
    rig.ce(CE, *nets(11))
    rig.down(CE)
    rig.wait(10)
    assert rig.router.intent is not None
    limit = (V4, PrefixLimit(10, idle_hold=after))
    rig.reload(with_peer(rig.router.intent, CE, prefix_limits=(limit,)))
    assert rig.router.peers[CE].disabled is (left != 0)
    if left:
        rig.wait(left - 1)
        assert rig.router.peers[CE].disabled
        rig.wait(1)
        assert not rig.router.peers[CE].disabled
    elif left is None:
        rig.wait(100_000)
        assert rig.router.peers[CE].disabled


def test_a_limit_that_is_lowered_counts_at_once() -> None:
    rig = limited()
    rig.ce(CE, *nets(5))
    assert rig.router.intent is not None
    rig.reload(with_peer(rig.router.intent, CE, prefix_limits=((V4, PrefixLimit(4)),)))
    assert len(rig.actions(ResetSession)) == 1
    assert rig.table("red") == {}


def test_a_flood_is_cut_in_the_middle_and_takes_no_memory() -> None:
    rig = limited()
    for first in range(0, 250, 5):
        rig.ce(CE, *nets(5, first))
    assert rig.router.peers[CE].adj_in.count(V4) == 0
    assert len(rig.router.vrfs["red"].table) == 1  # the link's own prefix


def test_a_core_peer_has_limits_per_family() -> None:
    limits = ((VPN4, PrefixLimit(2)),)
    rig = Rig(vrf("red", 1), peers=(pe_peer(prefix_limits=limits),)).ready()
    rig.vpn("2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:3::/48", "10.1.0.0/24", "10.2.0.0/24")
    assert rig.actions(ResetSession) == []
    rig.vpn("10.3.0.0/24")
    assert [r.peer for r in rig.actions(ResetSession)] == [PE2]


# -- the limit of a VRF -------------------------------------------------------------------------


def full(limit: int = 5) -> Rig:
    """Red may hold some routes, one of which is its link's; blue has no limit."""
    rig = Rig(vrf("red", 1, route_limit=limit), vrf("blue", 2)).ready()
    rig.vpn(*nets(4))
    return rig


def test_a_full_vrf_takes_no_more_and_says_so_once() -> None:
    rig = full()
    assert rig.notices() == []
    rig.vpn("10.2.0.0/24", "10.3.0.0/24")
    assert rig.notices() == ["vrf_limit_reached"]
    assert len(rig.table("red")) == 4
    assert rig.router.vrfs["red"].refused == 2
    assert rig.router.peers[PE2].adj_in.count(VPN4) == 4  # nor is it kept elsewhere
    rig.vpn("10.4.0.0/24")
    assert rig.notices() == []


def test_a_full_vrf_still_accepts_changes_of_its_routes() -> None:
    rig = full()
    rig.vpn("10.2.0.0/24")
    rig.vpn("10.1.0.0/24", label=999)
    assert rig.table("red")["10.1.0.0/24"].label == 999


def test_a_full_vrf_harms_no_other() -> None:
    rig = full()
    rig.vpn("10.2.0.0/24", rt="65000:2", rd="65001:2")
    assert list(rig.table("blue")) == ["10.2.0.0/24"]


def test_with_room_again_routes_are_asked_for() -> None:
    rig = full()
    rig.vpn("10.2.0.0/24")
    rig.withdraw(PE2, "10.1.0.0/24")
    assert [(r.peer, r.family) for r in rig.actions(RequestRefresh)] == [(PE2, VPN4), (PE2, VPN6)]
    rig.vpn("10.2.0.0/24")
    assert "10.2.0.0/24" in rig.table("red")


def test_a_table_at_its_limit_does_not_ask_all_the_time() -> None:
    rig = full().started()
    asked = 0
    for _ in range(50):
        rig.vpn("10.2.0.0/24")
        rig.vpn("10.1.0.0/24")
        rig.withdraw(PE2, "10.1.0.0/24")
        asked += len(rig.actions(RequestRefresh)) // 2
        rig.withdraw(PE2, "10.2.0.0/24")
        asked += len(rig.actions(RequestRefresh)) // 2
    assert asked == 1
    assert rig.router.next_deadline == pytest.approx(rig.now + ASK_EVERY)
    rig.wait(ASK_EVERY)
    assert len(rig.actions(RequestRefresh)) == 2


def test_a_large_table_asks_only_with_a_tenth_free() -> None:
    rig = full(limit=101)
    rig.vpn(*nets(100), "10.2.0.0/24")
    rig.withdraw(PE2, *nets(9))
    assert rig.actions(RequestRefresh) == []
    rig.withdraw(PE2, *nets(1, first=9))
    assert len(rig.actions(RequestRefresh)) == 2


def test_a_limit_that_is_raised_asks_and_one_that_is_lowered_drops() -> None:
    rig = full()
    rig.vpn("10.2.0.0/24")
    assert rig.router.intent is not None
    intent = rig.router.intent
    rig.reload(with_vrf(intent, "red", route_limit=50))
    assert len(rig.actions(RequestRefresh)) == 2
    rig.vpn("10.2.0.0/24")
    assert len(rig.table("red")) == 5
    rig.reload(with_vrf(intent, "red", route_limit=3))
    assert len(rig.table("red")) == 2
    assert "vrf_limit_reached" in rig.notices()
    rig.reload(with_vrf(intent, "red", route_limit=0))
    assert len(rig.actions(RequestRefresh)) == 2
    assert len(rig.table("red")) == 5


def test_what_one_vrf_has_no_room_for_another_may_have() -> None:
    wide = vrf("wide", 2, import_targets=targets("65000:1"), ports=())
    rig = Rig(vrf("red", 1, route_limit=2), wide).ready()
    rig.vpn(*nets(4))
    assert (len(rig.table("red")), len(rig.table("wide"))) == (1, 4)
    assert rig.router.peers[PE2].adj_in.count(VPN4) == 4
    rig.withdraw(PE2, *nets(4))
    assert (len(rig.table("red")), len(rig.table("wide"))) == (0, 0)


def test_a_peer_that_cannot_refresh_is_named() -> None:
    rig = Rig(vrf("red", 1, route_limit=2))
    rig.underlay("10.0.0.2")
    rig.up(PE2, route_refresh=False)
    rig.vpn(*nets(4))
    rig.withdraw(PE2, *nets(4))
    assert rig.actions(RequestRefresh) == []
    assert "route_refresh_unsupported" in rig.notices()


def test_several_updates_of_one_turn_meet_the_limit_between_them() -> None:
    rig = limited()
    rig.ce(CE, *nets(3))
    batch = [e for first in (3, 8, 13) for e in updates(nets(5, first))]
    rig.do(*batch)
    assert len(rig.actions(ResetSession)) == 1
    assert rig.table("red") == {}


def updates(prefixes: list[str]) -> list[RoutesReceived]:
    said = Attributes(as_path=path_of(65101))
    return [RoutesReceived(CE, V4, CE.address, said, [Nlri(prefix(p)) for p in prefixes])]
