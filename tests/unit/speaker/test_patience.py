"""What bounds a peer that asks, connects or reads as it likes."""

from __future__ import annotations

import pytest

from controlplane.speaker.rate_limit import EventLimit
from controlplane.speaker.worker import outgoing
from controlplane.speaker.worker.outgoing import Marker, Queue, Withdrawal
from controlplane.speaker.worker.refreshes import EVERY_SECONDS, Refreshes

V4, V6 = (1, 1), (2, 1)


class Neighbor:
    """What ``Refreshes`` asks of ExaBGP's neighbour."""

    def __init__(self) -> None:
        self.rib = self
        self.outgoing = Queue()

    def name(self) -> str:
        return "neighbor"


def test_asking_often_is_asking_once() -> None:
    refreshes, neighbor = Refreshes(), Neighbor()
    for family in (V4, V6, V4):
        refreshes.ask(neighbor, family)
    assert list(refreshes.due(neighbor, 10.0)) == [V4, V6]
    refreshes.ask(neighbor, V4)
    assert list(refreshes.due(neighbor, 10.0 + EVERY_SECONDS / 2)) == []
    assert list(refreshes.due(neighbor, 10.0 + EVERY_SECONDS)) == [V4]
    assert list(refreshes.due(neighbor, 20.0)) == []


def test_a_peer_that_does_not_read_gets_no_more_messages() -> None:
    refreshes, neighbor = Refreshes(), Neighbor()
    neighbor.outgoing.add(Marker(V4))
    refreshes.ask(neighbor, V4)
    assert list(refreshes.due(neighbor, 10.0)) == []
    assert len(list(neighbor.outgoing.updates())) == 1
    assert list(refreshes.due(neighbor, 10.0)) == [V4]


def test_a_session_that_is_over_has_asked_for_nothing() -> None:
    refreshes, neighbor = Refreshes(), Neighbor()
    refreshes.ask(neighbor, V4)
    refreshes.forget(neighbor)
    assert list(refreshes.due(neighbor, 10.0)) == []


def test_a_burst_then_one_at_a_time() -> None:
    now = 100.0
    limit = EventLimit(3, 1.0, lambda: now)
    assert [limit.admits() for _ in range(4)] == [True, True, True, False]
    now = 100.9
    assert not limit.admits()
    now = 101.9
    assert limit.admits()
    assert not limit.admits()
    assert limit.missed() == 3
    assert limit.missed() == 0
    now = 500.0
    assert [limit.admits() for _ in range(4)] == [True, True, True, False]
    assert limit.withheld == 4


def test_one_name_leaves_the_bound_of_another_alone() -> None:
    limit = EventLimit(1, 1.0, lambda: 0.0)
    assert limit.admits("one")
    assert not limit.admits("one")
    assert limit.admits("two")
    assert (limit.missed("one"), limit.missed("two"), limit.missed("three")) == (1, 0, 0)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "MOST_OCTETS", 5000)
    queue = Queue()
    for _ in range(4):
        queue.add(Withdrawal(V4, bytes(1000)))
    assert not queue.stuck(0.0)
    queue.add(Withdrawal(V4, bytes(1000)))
    assert "slowly" in queue.stuck(0.0)
    assert len(list(queue.updates())) == 5
    assert not queue.stuck(0.0)


def test_nothing_moves_for_eight_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("controlplane.speaker.worker.outgoing.time.monotonic", lambda: now)
    queue = Queue()
    queue.add(Marker(V4))
    queue.add(Marker(V6))
    assert not queue.stuck(579.0)
    assert "send hold" in queue.stuck(581.0)
    now = 581.0
    taken = queue.updates()
    next(taken)
    assert not queue.stuck(581.0), "one has gone"
    queue.reset()
    assert not queue.stuck(9999.0)
