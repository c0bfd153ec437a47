"""The node's commands inside the worker: each finds its session at once among any others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.speaker import wire
from controlplane.speaker.worker.commands import Commands
from controlplane.speaker.worker.outgoing import Queue
from controlplane.speaker.worker.surface import FSM


class Neighbor(dict[str, Any]):
    """A configured session that counts how often it is looked at."""

    looks = 0

    def __init__(self, address: str) -> None:
        super().__init__({"peer-address": address})
        self.rib = self
        self.outgoing = Queue()

    def __getitem__(self, key: str) -> Any:
        Neighbor.looks += 1
        return super().__getitem__(key)


class Peer:
    """An established one, or what is left of one that ends."""

    def __init__(self, address: str, state: Any = FSM.ESTABLISHED) -> None:
        self.neighbor = Neighbor(address)
        self.fsm = state
        self.ended = 0

    def teardown(self, code: int) -> None:
        self.ended = code


class Reactor:
    """What ``Commands`` asks of ExaBGP's loop; stands for its processes too."""

    def __init__(self, peers: dict[str, Peer]) -> None:
        self._peers = peers
        self.processes = self
        self.sessions = dict.fromkeys(peers, 7)
        self.reported: list[object] = []
        self.configured: list[wire.Configure] = []
        self.api = Commands(self)
        self.api.index(peers)

    def report(self, report: object) -> None:
        self.reported.append(report)

    def configure(self, given: wire.Configure) -> None:
        self.configured.append(given)

    def take(self, command: wire.Command) -> None:
        self.api.process(self, "node", msgspec.json.encode(command))


def many(count: int) -> Reactor:
    return Reactor({f"name {n}": Peer(f"10.0.{n // 250}.{n % 250}") for n in range(count)})


@pytest.mark.parametrize("count", [30, 300])
def test_a_command_looks_at_its_own_peer_only(count: int) -> None:
    reactor = many(count)
    Neighbor.looks = 0
    for peer in reactor._peers.values():
        address = dict.__getitem__(peer.neighbor, "peer-address")
        reactor.take(wire.SendMarker(address, 7, (1, 1)))
    assert Neighbor.looks == 0
    assert all(peer.neighbor.outgoing.pending() for peer in reactor._peers.values())


def test_a_command_for_a_session_that_is_over_does_nothing() -> None:
    reactor = many(2)
    reactor.take(wire.Teardown("10.0.0.0", 6, 2))
    reactor.take(wire.Teardown("10.0.9.9", 7, 2))
    reactor._peers["name 1"].fsm = FSM.OPENSENT
    reactor.take(wire.Teardown("10.0.0.1", 7, 2))
    assert [peer.ended for peer in reactor._peers.values()] == [0, 0]
    reactor.take(wire.Teardown("10.0.0.0", 7, 2))
    assert reactor._peers["name 0"].ended == 2
    assert reactor.reported == []


def test_a_peer_whose_definition_has_changed_is_the_new_one() -> None:
    peers = {"as 1": Peer("10.0.0.1", FSM.IDLE), "as 2": Peer("10.0.0.1")}
    reactor = Reactor(peers)
    reactor.take(wire.Teardown("10.0.0.1", 7, 2))
    assert [peer.ended for peer in peers.values()] == [0, 2]


def test_a_configuration_is_given_on_as_it_came() -> None:
    reactor = many(1)
    given = wire.Configure("text", {"10.0.0.0": "key"})
    reactor.take(given)
    assert reactor.configured == [given]
