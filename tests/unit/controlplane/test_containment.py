"""An event that raises harms its own peer at most, and nothing half done stays of it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from controlplane.bgp.peer_state import PeerState
from controlplane.model.effects import Answer, ConfigureSpeakers, LogEvent, ResetSession
from controlplane.model.events import Event, PortChanged, RoutesReceived, RoutesWithdrawn
from controlplane.model.peer import PeerId
from controlplane.policy.requests import DetachRequested
from controlplane.routing.containment import HOLD_SECONDS
from tests.unit.controlplane.rig import PE2, Rig, ce_peer, prefix, vrf

RED, BLUE = PeerId("red", ip_address("192.0.2.2")), PeerId("blue", ip_address("192.0.2.2"))
POISON = prefix("10.66.0.0/16")


def sites() -> Rig:
    """Red and blue with a CE each, both up, and a PE."""
    rig = Rig(
        vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),)),
        vrf("blue", 2, neighbors=(ce_peer("blue", "192.0.2.2"),)),
    ).started().ready()  # fmt: skip
    for peer in (RED, BLUE):
        rig.up(peer)
    return rig


def poisoned(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the import: it takes half of an UPDATE with the prefix, then raises."""
    route_import = rig.router.state.route_import
    stock = route_import.receive

    def receive(peer: PeerState, event: RoutesReceived, now: float) -> None:
        nlri = [n for n in event.nlri if n.prefix != POISON]
        stock(peer, msgspec.structs.replace(event, nlri=nlri), now)
        if len(nlri) < len(event.nlri):
            raise KeyError(str(POISON))

    monkeypatch.setattr(route_import, "receive", receive)


def test_a_ce_s_event_costs_its_session_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    poisoned(rig, monkeypatch)
    rig.ce(BLUE, "10.2.0.0/16")
    rig.ce(RED, "10.1.0.0/16")
    assert set(rig.table("red")) == {"10.1.0.0/16"}

    effects = rig.ce(RED, "10.3.0.0/16", str(POISON))

    (failure,) = rig.router.take_failures()
    assert failure.subject.startswith(f"RoutesReceived of {RED}")
    assert isinstance(failure.error, KeyError)
    assert rig.router.take_failures() == []
    assert rig.table("red") == {}
    assert set(rig.table("blue")) == {"10.2.0.0/16"}
    assert [a.peer for a in effects.actions if isinstance(a, ResetSession)] == [RED]
    assert RED not in rig.ordered_sessions() >= {BLUE, PE2}
    assert rig.received_by(PE2) == {"65000:2 10.2.0.0/16"}


def test_the_session_comes_back_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    poisoned(rig, monkeypatch)
    rig.ce(RED, str(POISON))
    rig.wait(HOLD_SECONDS - 1)
    assert rig.actions(ConfigureSpeakers) == []
    rig.wait(1)
    assert RED in rig.ordered_sessions()


def test_other_events_of_the_same_turn_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    poisoned(rig, monkeypatch)
    events: list[Event] = []
    monkeypatch.setattr(rig, "do", lambda *given: events.extend(given))
    rig.ce(RED, str(POISON))
    rig.ce(BLUE, "10.2.0.0/16")
    monkeypatch.undo()
    poisoned(rig, monkeypatch)
    rig.do(*events)
    assert set(rig.table("blue")) == {"10.2.0.0/16"}
    assert len(rig.router.take_failures()) == 1


def test_a_core_peer_keeps_its_session_and_loses_the_routes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = sites()
    rig.vpn("10.7.0.0/16", str(POISON))
    assert set(rig.table("red")) == {"10.7.0.0/16", str(POISON)}
    poisoned(rig, monkeypatch)
    rig.vpn(str(POISON))
    assert set(rig.table("red")) == {"10.7.0.0/16"}
    assert rig.actions(ResetSession) == []
    (failure,) = rig.router.take_failures()
    assert failure.subject == f"RoutesReceived of {PE2}, routes withdrawn"


def test_a_core_peer_whose_withdrawal_raises_too_is_held_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = sites()
    poisoned(rig, monkeypatch)

    def withdraw(*_: object) -> None:
        raise ValueError("as well")

    monkeypatch.setattr(rig.router.state.route_import, "withdraw", withdraw)
    rig.vpn(str(POISON))
    assert [action.peer for action in rig.actions(ResetSession)] == [PE2]
    assert len(rig.router.take_failures()) == 2
    assert "session_held_down" in [n.event for n in rig.actions(LogEvent)]


def test_an_event_of_no_peer_is_not_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()

    def broken(*_: object, **__: Any) -> None:
        raise KeyError("port")

    monkeypatch.setattr(rig.router._decisions, "port_turned", broken)
    with pytest.raises(KeyError, match="port"):
        rig.do(PortChanged("red-ce", present=True, up=False))


def test_an_event_of_an_unknown_peer_is_not_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()

    def broken(_: object) -> None:
        raise KeyError("unknown")

    monkeypatch.setattr(rig.router._sessions, "routes_withdrawn", broken)
    unknown = PeerId("green", ip_address("192.0.2.2"))
    with pytest.raises(KeyError, match="unknown"):
        rig.do(RoutesWithdrawn(unknown, next(iter(rig.router.peers[PE2].families)), []))


def test_a_request_that_raises_is_refused_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    rig.ce(BLUE, "10.2.0.0/16")

    def broken(_: object) -> None:
        raise KeyError("a tag set")

    monkeypatch.setattr(rig.router.policy, "take", broken)
    rig.do(DetachRequested(7, "web", "ada"))
    (answer,) = rig.actions(Answer)
    assert answer.ticket == 7
    assert isinstance(answer.error, KeyError)
    (failure,) = rig.router.take_failures()
    assert failure.subject == "DetachRequested, refused"
    assert set(rig.table("blue")) == {"10.2.0.0/16"}
