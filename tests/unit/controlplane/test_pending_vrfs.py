"""What waits for the data plane waits for its own VRF: other tenants' sessions and routes go on."""

from __future__ import annotations

import msgspec
import pytest

from controlplane.model.effects import Announce, Answer, ConfigureSpeakers, SendEndOfRib, Withdraw
from controlplane.model.events import IntentChanged, TimePassed, VrfsHeld
from controlplane.model.intent import NodeIntent
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.rd import parse_rd
from controlplane.routing.pending_vrfs import SETTLE_SECONDS, PendingVrfs
from tests.unit.controlplane.rig import (
    PE2,
    PE3,
    Rig,
    ce_peer,
    node,
    pe_peer,
    port,
    static,
    targets,
    vrf,
)

RED_CE, BLUE_CE = ce_peer("red", "192.0.2.2"), ce_peer("blue", "192.0.2.2")
RED, BLUE = RED_CE.peer, BLUE_CE.peer
WIDER = (port("red-ce", "red", "192.0.2.1/30"), port("red-2", "red", "198.51.100.1/30"))


def tenants(*, wider: bool = False, ce: bool = True, **more: object) -> NodeIntent:
    ports = {"ports": WIDER} if wider else {}
    red = vrf("red", 1, neighbors=(RED_CE,) if ce else (), **ports, **more)
    return node(red, vrf("blue", 2, neighbors=(BLUE_CE,)), peers=(pe_peer(), pe_peer(PE3)))


def slow_rig() -> Rig:
    """All that is configured works; what is changed from now on is reported by ``held`` alone."""
    intent = tenants()
    rig = Rig(*intent.vrfs, peers=intent.peers).ready()
    for peer in (RED, BLUE):
        rig.up(peer)
    rig.started().slow = True
    return rig


def told(rig: Rig, peer: PeerId) -> set[str]:
    """The prefixes announced to a peer in the last turn."""
    said = [a for a in rig.actions(Announce) if a.peer == peer]
    return {str(nlri.prefix) for action in said for nlri in action.nlri}


def withdrawn(rig: Rig) -> set[PeerId]:
    """The peers that a withdrawal went to in the last turn."""
    return {action.peer for action in rig.actions(Withdraw)}


def test_the_routes_of_a_stuck_tenant_wait_and_those_of_another_do_not() -> None:
    rig = slow_rig()
    rig.reload(tenants(wider=True))
    rig.ce(RED, "10.1.0.0/16")
    assert told(rig, PE2) == set()
    rig.ce(BLUE, "10.2.0.0/16")
    assert told(rig, PE2) == {"10.2.0.0/16"}
    rig.held("red")
    assert told(rig, PE2) == {"10.1.0.0/16"}
    rig.ce(RED, "10.3.0.0/16")  # the control: nothing waits any more
    assert told(rig, PE2) == {"10.3.0.0/16"}


def test_a_withdrawal_does_not_wait_and_ends_the_announcement_that_does() -> None:
    rig = slow_rig()
    rig.ce(RED, "10.1.0.0/16", "10.2.0.0/16")
    rig.reload(tenants(wider=True))
    rig.ce(RED, "10.4.0.0/16")
    rig.withdraw(RED, "10.1.0.0/16", "10.4.0.0/16")
    assert rig.received_by(PE2) == {"65000:1 10.2.0.0/16"}
    rig.held("red")
    assert rig.received_by(PE2) == {"65000:1 10.2.0.0/16"}


def test_a_ce_receives_the_routes_of_its_vrf_once_that_is_held() -> None:
    rig = slow_rig()
    rig.reload(tenants(wider=True))
    rig.vpn("10.9.0.0/16", rt="65000:1")
    rig.vpn("10.8.0.0/16", rt="65000:2", rd="65001:2")
    assert (rig.received_by(RED), rig.received_by(BLUE)) == (set(), {"10.8.0.0/16"})
    rig.held("red")
    assert rig.received_by(RED) == {"10.9.0.0/16"}


def test_a_core_session_that_comes_up_meanwhile_misses_nothing() -> None:
    rig = slow_rig()
    rig.ce(RED, "10.1.0.0/16")
    rig.ce(BLUE, "10.2.0.0/16")
    rig.reload(tenants(wider=True))
    rig.up(PE3)
    assert rig.received_by(PE3) == {"65000:2 10.2.0.0/16"}
    assert rig.actions(SendEndOfRib) == [], "what belongs before it waits"
    rig.held("red")
    assert rig.received_by(PE3) == {"65000:1 10.1.0.0/16", "65000:2 10.2.0.0/16"}
    kinds = [a for a in rig.last.actions if isinstance(a, Announce | SendEndOfRib)]
    assert isinstance(kinds[-1], SendEndOfRib)
    assert PE3 in {a.peer for a in rig.actions(SendEndOfRib)}


@pytest.mark.parametrize("limit", [0, 5000], ids=["port", "conntrack-limit"])
def test_a_core_session_that_comes_up_meanwhile_gets_no_withdrawal_of_what_it_has_not(
    limit: int,
) -> None:
    rig = slow_rig()
    rig.up(PE3)
    rig.ce(RED, "10.1.0.0/16", "10.2.0.0/16")
    rig.reload(tenants(conntrack_limit=limit) if limit else tenants(wider=True))
    rig.down(PE3)
    rig.up(PE3)
    rig.withdraw(RED, "10.1.0.0/16")
    assert withdrawn(rig) == {PE2}, "sent at once where the route is known"
    rig.held("red")
    assert rig.received_by(PE2) == rig.received_by(PE3) == {"65000:1 10.2.0.0/16"}
    rig.withdraw(RED, "10.2.0.0/16")
    assert withdrawn(rig) == {PE2, PE3}


@pytest.mark.parametrize("times", [1, 2], ids=["away", "and back in one turn"])
def test_nor_of_routes_under_an_rd_that_it_has_not_received(times: int) -> None:
    rig = slow_rig()
    rig.ce(RED, "10.1.0.0/16")
    rig.reload(tenants(wider=True))
    rig.up(PE3)
    moves = (tenants(wider=True, rd=parse_rd("65000:9")), tenants(wider=True))
    rig.do(*(IntentChanged(intent) for intent in moves[:times]))
    assert withdrawn(rig) == {PE2}
    rig.withdraw(RED, "10.1.0.0/16")
    rig.held("red")
    assert rig.received_by(PE2) == rig.received_by(PE3) == set()


def test_a_tenant_does_not_wait_for_another_that_it_imports_from() -> None:
    rig = slow_rig()
    both = targets("65000:1", "65000:2")
    rig.reload(tenants(export_targets=both))
    assert rig.last.delta.reaches == {"blue": ("red",)}
    assert not rig.router.state.pending
    rig.ce(BLUE, "10.2.0.0/16")
    assert told(rig, PE2) == {"10.2.0.0/16"}


def test_a_session_opens_behind_its_own_guard_and_ends_at_once() -> None:
    rig = slow_rig()
    rig.reload(tenants(ce=False))
    assert rig.ordered_sessions() == {PE2, PE3, BLUE}, "ended before its guard goes"
    rig.held("red")
    rig.reload(tenants(ce=True))
    assert rig.actions(ConfigureSpeakers) == []
    rig.held("red")
    assert rig.ordered_sessions() == {PE2, PE3, RED, BLUE}


def test_the_answer_to_a_reload_waits_for_what_it_changes() -> None:
    rig = slow_rig()
    rig.do(IntentChanged(tenants(wider=True), 7))
    assert rig.actions(Answer) == []
    rig.do(IntentChanged(tenants(wider=True), 8))
    assert rig.actions(Answer) == [Answer(8)], "it changes nothing"
    rig.held("red")
    assert rig.actions(Answer) == [Answer(7)]


def test_what_is_late_is_logged_and_goes_on() -> None:
    rig = slow_rig()
    rig.do(IntentChanged(tenants(wider=True), 7))
    rig.ce(RED, "10.1.0.0/16")
    number = rig.router.state.pending.number
    assert rig.router.next_deadline is not None
    assert rig.router.next_deadline <= rig.now + SETTLE_SECONDS
    rig.wait(SETTLE_SECONDS - 1)
    assert (rig.notices(), told(rig, PE2)) == ([], set())
    rig.wait(1)
    assert rig.notices() == ["kernel_not_settled"]
    assert told(rig, PE2) == {"10.1.0.0/16"}
    assert rig.actions(Answer) == [Answer(7)]
    rig.do(VrfsHeld({"red": number}), TimePassed())
    assert rig.is_silent


def test_a_report_of_an_earlier_change_releases_nothing() -> None:
    rig = slow_rig()
    first = rig.reload(tenants(wider=True)).structure
    rig.reload(tenants())
    rig.ce(RED, "10.1.0.0/16")
    rig.do(VrfsHeld({"red": first}))
    assert told(rig, PE2) == set()
    rig.held("red")
    assert told(rig, PE2) == {"10.1.0.0/16"}


def test_two_that_wait_for_one_vrf_are_called_each_by_its_own_number() -> None:
    pending, called = PendingVrfs(), list[str]()
    now = Rig().instant
    first = pending.change({"red", "blue"}, now)
    pending.then({"red", "blue"}, lambda: called.append("first"))
    second = pending.change({"red"}, now)
    pending.then({"red"}, lambda: called.append("second"))
    pending.held({"red": first})
    assert called == []
    pending.held({"blue": first})
    assert called == ["first"]
    pending.held({"red": second})
    assert called == ["first", "second"]


def test_a_route_that_was_to_be_replaced_is_withdrawn_if_it_goes_first() -> None:
    """Another RD and back in one turn: the peer has the route, and what replaces it is held."""
    rig = slow_rig()
    rig.ce(RED, "10.1.0.0/16")
    elsewhere = tenants(rd=parse_rd("65000:9"))
    rig.do(IntentChanged(elsewhere), IntentChanged(tenants(wider=True)))
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/16"}, "to be replaced without a gap"
    rig.withdraw(RED, "10.1.0.0/16")
    assert rig.received_by(PE2) == set()


def test_of_two_reloads_in_one_turn_the_second_may_change_nothing() -> None:
    rig = slow_rig()
    rig.do(IntentChanged(tenants(wider=True), 7), IntentChanged(tenants(wider=True), 8))
    assert rig.last.structure == rig.router.state.pending.number
    assert rig.actions(Answer) == [Answer(8)], "it changes nothing"
    rig.held("red")
    assert rig.actions(Answer) == [Answer(7)]


@pytest.mark.parametrize(
    "other", [{"label_block": LabelBlock(17000, 17099)}, {}], ids=["label", "table"]
)
def test_the_sessions_of_a_vrf_that_is_made_anew_end_and_open_on_the_new_device(
    other: dict[str, LabelBlock],
) -> None:
    """A socket stays bound to the device that was deleted, not to another of its name."""
    rig = slow_rig()
    intent = tenants() if other else tenants(table=2001)
    rig.reload(msgspec.structs.replace(intent, **other))
    gone = {RED, BLUE} if other else {RED}
    assert rig.ordered_sessions() == {PE2, PE3, RED, BLUE} - gone
    rig.held()
    assert rig.ordered_sessions() == {PE2, PE3, RED, BLUE}


def test_the_sessions_of_a_vrf_that_only_changes_stay() -> None:
    rig = slow_rig()
    rig.reload(tenants(wider=True))
    assert not rig.actions(ConfigureSpeakers)


def test_the_initial_sync_waits_for_the_vrfs_of_the_configuration() -> None:
    """A node that starts again has its static routes in the kernel; before its ports are reported
    they are not desired, and a sweep would take them away."""
    rig = Rig()
    rig.slow = True
    routes = (static("10.5.0.0/16", "192.0.2.2"),)
    rig.reload(node(vrf("red", 1, static_routes=routes), peers=()))
    rig.synced()
    assert not rig.router.in_sync
    rig.port("red-ce")
    assert not rig.router.in_sync
    rig.held()
    assert rig.router.in_sync
    assert set(rig.table("red")) == {"10.5.0.0/16"}


def test_the_initial_sync_does_not_wait_longer_than_its_timeout() -> None:
    rig = Rig()
    rig.slow = True
    rig.reload(node(vrf("red", 1), peers=()))
    rig.synced()
    rig.wait(60)
    assert rig.router.in_sync
