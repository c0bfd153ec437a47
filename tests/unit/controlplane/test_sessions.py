"""Sessions that end, restart and come back (RFC 4724); End-of-RIB and initial sync."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from controlplane.bgp.peer_state import QUIET
from controlplane.model.effects import Announce, ResetSession, SendEndOfRib, Withdraw
from controlplane.model.events import PeerCleared, SessionDown, SessionUp, SpeakerLost
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.routing.sessions import ADMINISTRATIVE_RESET, LONGEST_STALE
from tests.unit.controlplane.rig import (
    PE2,
    PE3,
    V4,
    VPN4,
    VPN6,
    Rig,
    ce_peer,
    pe_peer,
    port,
    static,
    vrf,
)

CE = PeerId("red", ip_address("192.0.2.2"))
BOTH = frozenset({VPN4, VPN6})


def rig_with_routes(restart_time: int = 100, **more: Any) -> Rig:
    """PE2 has told two routes and End-of-RIB."""
    rig = Rig(vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),)), **more)
    rig.underlay("10.0.0.2")
    rig.port("red-ce")
    rig.up(PE2, restart_time=restart_time, forwarding=BOTH)
    rig.vpn("10.1.0.0/24", "10.2.0.0/24")
    rig.eor()
    return rig


def test_a_session_that_ends_takes_its_routes() -> None:
    rig = rig_with_routes()
    rig.down()
    assert rig.table("red") == {}
    assert rig.kernel.next_hops == {}
    assert rig.router.peers[PE2].adj_in.count(VPN4) == 0
    rig.vpn("10.1.0.0/24")
    assert rig.table("red") == {}  # late words of a dead session


def test_a_peer_that_restarts_keeps_its_routes_until_end_of_rib() -> None:
    rig = rig_with_routes()
    rig.down(graceful=True)
    assert not rig.last.delta
    rig.wait(50)
    rig.up(PE2, restart_time=100, forwarding=BOTH)
    rig.vpn("10.1.0.0/24")
    assert set(rig.table("red")) == {"10.1.0.0/24", "10.2.0.0/24"}
    rig.eor(PE2, VPN6)
    assert set(rig.table("red")) == {"10.1.0.0/24", "10.2.0.0/24"}
    rig.eor(PE2, VPN4)
    assert set(rig.table("red")) == {"10.1.0.0/24"}
    assert rig.router.peers[PE2].stale_until is None


@pytest.mark.parametrize(
    ("restart_families", "kept"),
    [(frozenset(), set()), (frozenset({VPN6}), set()), (frozenset({VPN4}), {"10.1.0.0/24"})],
)
def test_only_families_of_the_capability_are_kept(
    restart_families: frozenset[Family], kept: set[str]
) -> None:
    """RFC 4724 section 4.2; FRR's helper mode offers graceful restart for no family at all."""
    rig = Rig(vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),)))
    rig.underlay("10.0.0.2")
    rig.up(PE2, restart_time=120, restart_families=restart_families)
    rig.vpn("10.1.0.0/24")
    assert set(rig.table("red")) == {"10.1.0.0/24"}
    rig.down(graceful=True)
    assert set(rig.table("red")) == kept
    assert (rig.router.peers[PE2].stale_until is not None) is bool(kept)


def test_without_graceful_restart_a_lost_transport_is_an_end() -> None:
    rig = rig_with_routes(restart_time=0)
    rig.down(graceful=True)
    assert rig.table("red") == {}


def test_a_peer_that_does_not_come_back_in_time_loses_its_routes() -> None:
    rig = rig_with_routes(restart_time=100).started()
    rig.down(graceful=True)
    assert rig.router.next_deadline == pytest.approx(rig.now + 100)
    rig.wait(99)
    assert len(rig.table("red")) == 2
    rig.wait(1)
    assert rig.table("red") == {}
    assert "stale_routes_expired" in rig.notices()


def test_a_peer_that_comes_back_and_never_ends_its_rib_has_so_long() -> None:
    rig = rig_with_routes()
    rig.down(graceful=True)
    rig.wait(10)
    rig.up(PE2, restart_time=100, forwarding=BOTH)
    rig.wait(LONGEST_STALE - 1)
    assert len(rig.table("red")) == 2
    rig.wait(1)
    assert rig.table("red") == {}


def test_a_failed_attempt_to_come_back_is_no_second_end() -> None:
    rig = rig_with_routes()
    rig.down(graceful=True)
    rig.do(SessionDown(peer=PE2, reason="connection refused"))
    assert len(rig.table("red")) == 2
    assert rig.router.peers[PE2].last_error == "connection refused"
    assert rig.is_silent


def test_a_peer_that_did_not_keep_forwarding_has_no_old_routes() -> None:
    rig = rig_with_routes()
    rig.down(graceful=True)
    rig.up(PE2, restart_time=100, forwarding=frozenset({VPN6}))
    assert rig.table("red") == {}


def test_a_second_restart_before_end_of_rib_drops_what_was_still_stale() -> None:
    rig = rig_with_routes()
    rig.down(graceful=True)
    rig.up(PE2, restart_time=100, forwarding=BOTH)
    rig.vpn("10.1.0.0/24")
    rig.down(graceful=True)
    assert set(rig.table("red")) == {"10.1.0.0/24"}


def test_a_bouncing_peer_keeps_nothing_for_ever() -> None:  # security requirement BGP-11
    rig = rig_with_routes()
    for _ in range(100):
        rig.down(graceful=True)
        rig.wait(30)
        rig.up(PE2, restart_time=100, forwarding=BOTH)
        rig.wait(30)
    assert rig.table("red") == {}


def test_a_session_that_comes_up_twice_begins_anew() -> None:
    rig = rig_with_routes()
    rig.up(PE2, restart_time=100, forwarding=BOTH)
    assert rig.table("red") == {}


# -- our own speaker ----------------------------------------------------------------------------


def test_when_our_speaker_dies_routes_stay_although_the_peer_kept_no_forwarding_bit() -> None:
    rig = rig_with_routes()
    rig.do(SpeakerLost("", "killed"))
    assert not rig.last.delta
    rig.wait(5)
    rig.up(PE2, restart_time=100)
    assert not rig.last.delta
    rig.vpn("10.1.0.0/24")
    rig.eor()
    assert set(rig.table("red")) == {"10.1.0.0/24"}


def test_when_our_speaker_dies_silence_stands_for_end_of_rib() -> None:
    rig = rig_with_routes(restart_time=0)
    rig.do(SpeakerLost("", "killed"))
    rig.wait(5)
    rig.up(PE2)
    rig.wait(QUIET - 1)
    rig.vpn("10.1.0.0/24")
    rig.wait(QUIET - 1)
    assert len(rig.table("red")) == 2
    rig.wait(1)
    assert set(rig.table("red")) == {"10.1.0.0/24"}


def test_when_our_speaker_dies_and_the_peer_does_not_return() -> None:
    rig = rig_with_routes(
        restart_time=0,
    )
    rig.do(SpeakerLost("", "killed"))
    rig.wait(119)  # the node's own restart time is 120
    assert len(rig.table("red")) == 2
    rig.wait(1)
    assert rig.table("red") == {}


def test_a_speaker_that_dies_again_and_again_keeps_nothing_for_ever() -> None:
    rig = rig_with_routes()
    for _ in range(20):
        rig.do(SpeakerLost("", "killed"))
        assert len(rig.table("red")) in (0, 2)
        rig.wait(30)
        rig.up(PE2, restart_time=100)
        rig.wait(30)
    assert rig.table("red") == {}


def test_the_death_of_one_vrfs_speaker_is_nothing_to_the_others() -> None:
    rig = rig_with_routes()
    rig.up(CE)
    rig.ce(CE, "10.9.0.0/16")
    rig.do(SpeakerLost("red", "killed"))
    assert not rig.router.peers[CE].up
    assert rig.router.peers[PE2].up
    assert "10.9.0.0/16" in rig.table("red")
    rig.up(CE)
    assert rig.received_by(CE) == {"10.1.0.0/24", "10.2.0.0/24"}


def test_a_ce_gets_nothing_while_down_and_all_routes_when_up() -> None:
    rig = rig_with_routes()
    rig.up(CE)
    rig.down(CE)
    rig.vpn("10.3.0.0/24")
    assert not [a for a in rig.last.actions if isinstance(a, Announce | Withdraw)]
    rig.up(CE)
    assert rig.received_by(CE) == {"10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"}


# -- initial sync -------------------------------------------------------------------------------


def starting(**more: Any) -> Rig:
    statics = (static("10.5.0.0/16"),)
    return Rig(vrf("red", 1, static_routes=statics), peers=(pe_peer(PE2), pe_peer(PE3)), **more)


def eors(rig: Rig) -> set[tuple[PeerId, str]]:
    return {(e.peer, e.family.value) for e in rig.actions(SendEndOfRib)}


def test_in_sync_once_the_underlay_and_every_peer_are_complete() -> None:
    rig = starting()
    rig.up(PE2, restart_time=100)
    rig.up(PE3, restart_time=100)
    assert not eors(rig)
    rig.eor(PE2)
    rig.eor(PE3, VPN4)
    rig.synced()
    assert not rig.last.in_sync
    # What is advertised to the core comes from the sites, and there are none to wait for: two PEs
    # that start together must not wait for each other.
    assert len(eors(rig)) == 4
    rig.eor(PE3, VPN6)
    assert rig.last.in_sync
    assert rig.router.in_sync
    assert not eors(rig)
    assert rig.router.next_deadline is None


def test_the_core_waits_for_the_sites_and_the_sites_for_the_core() -> None:
    site = vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),))
    rig = Rig(site, peers=(pe_peer(PE2),))
    rig.synced()
    rig.up(PE2, restart_time=100)
    rig.up(CE, restart_time=100)
    assert not eors(rig)
    rig.eor(CE, Family.IPV4_UNICAST)
    assert {peer for peer, _ in eors(rig)} == {PE2}
    rig.eor(PE2)
    assert {peer for peer, _ in eors(rig)} == {CE}
    assert rig.router.in_sync


def test_announcements_come_before_end_of_rib() -> None:
    rig = starting()
    rig.synced()
    rig.wait(60)
    rig.up(PE2)
    kinds = [type(a) for a in rig.last.actions if isinstance(a, Announce | SendEndOfRib)]
    assert kinds == [Announce, SendEndOfRib, SendEndOfRib]


def test_not_in_sync_without_the_underlay_however_long() -> None:
    rig = starting()
    rig.wait(1000)
    assert not rig.router.in_sync
    assert rig.router.next_deadline is None  # nothing but an event can help: no busy loop
    rig.synced()
    assert rig.router.in_sync


def test_in_sync_by_timeout_when_a_peer_is_away() -> None:
    rig = starting()
    rig.synced()
    rig.up(PE2)
    rig.eor(PE2)
    assert rig.router.next_deadline == pytest.approx(60)
    rig.wait(59)
    assert not rig.router.in_sync
    rig.wait(1)
    assert rig.router.in_sync


def test_a_peer_without_end_of_rib_is_done_when_it_falls_silent() -> None:
    rig = Rig(vrf("red", 1))
    rig.synced()
    rig.up(PE2)
    assert rig.router.next_deadline == pytest.approx(QUIET)
    rig.wait(QUIET - 1)
    rig.vpn("10.1.0.0/24")
    rig.wait(QUIET - 1)
    assert not rig.router.in_sync
    rig.wait(1)
    assert rig.router.in_sync


def test_waiting_for_end_of_rib_is_no_busy_loop() -> None:
    rig = Rig(vrf("red", 1))
    rig.synced()
    rig.up(PE2, restart_time=100)
    rig.wait(30)
    assert rig.router.next_deadline == pytest.approx(60)


def test_a_node_without_peers_is_in_sync_at_once() -> None:
    rig = Rig(vrf("red", 1), peers=())
    rig.synced()
    assert rig.router.in_sync


def test_an_operator_resets_a_session() -> None:
    rig = rig_with_routes()
    rig.do(PeerCleared(PE2))
    assert rig.actions(ResetSession) == [ResetSession(PE2, ADMINISTRATIVE_RESET, "cleared")]
    rig.do(PeerCleared(PeerId("", ip_address("10.255.0.99"))))
    assert rig.is_silent


def test_messages_of_unknown_peers_are_ignored() -> None:
    rig = rig_with_routes()
    stranger = PeerId("red", ip_address("192.0.2.9"))
    rig.do(SessionUp(peer=stranger, families=BOTH), SessionDown(peer=stranger, reason=""))
    rig.eor(stranger)
    rig.ce(stranger, "10.9.0.0/16")
    assert rig.is_silent


@pytest.mark.parametrize("router_id", ["", "nonsense", "1.2.3.4.5"])
def test_a_router_id_that_is_none_breaks_nothing(router_id: str) -> None:
    rig = Rig(vrf("red", 1))
    rig.underlay("10.0.0.2")
    rig.up(PE2, router_id=router_id)
    rig.vpn("10.1.0.0/24")
    assert len(rig.table("red")) == 1


@pytest.mark.parametrize("restart_time", [0, 120])
def test_the_link_of_a_ce_takes_its_session_and_routes_along(restart_time: int) -> None:
    """Back with the link, the routes would be used before the CE has advertised anything."""
    ports = (port("a", "red", "192.0.2.1/30"), port("b", "red", "192.0.2.5/30"))
    near, other = (ce_peer("red", "192.0.2.2", port="a"), ce_peer("red", "192.0.2.6", port="b"))
    rig = Rig(vrf("red", 1, ports=ports, neighbors=(near, other))).ready().started()
    for number, ce in enumerate((near.peer, other.peer)):
        rig.up(ce, restart_time=restart_time, restart_families=frozenset({V4}))
        rig.ce(ce, f"10.{number}.0.0/24")
    assert set(rig.table("red")) == {"10.0.0.0/24", "10.1.0.0/24"}
    rig.port("a", up=False)
    assert [reset.peer for reset in rig.actions(ResetSession)] == [near.peer]
    assert set(rig.table("red")) == {"10.1.0.0/24"}
    rig.port("a")
    assert set(rig.table("red")) == {"10.1.0.0/24"}, "used before the CE is back"
    rig.up(near.peer)
    rig.ce(near.peer, "10.0.0.0/24")
    assert set(rig.table("red")) == {"10.0.0.0/24", "10.1.0.0/24"}


def test_what_a_restarting_ce_left_goes_with_its_link() -> None:
    neighbor = ce_peer("red", "192.0.2.2")
    rig = Rig(vrf("red", 1, neighbors=(neighbor,))).ready().started()
    rig.up(neighbor.peer, restart_time=120)
    rig.ce(neighbor.peer, "10.0.0.0/24")
    rig.down(neighbor.peer, graceful=True)
    assert set(rig.table("red")) == {"10.0.0.0/24"}
    rig.port("red-ce", up=False)
    rig.port("red-ce")
    assert rig.table("red") == {}
