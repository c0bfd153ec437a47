"""The worker's answer to every case of the attack range's table, without a network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane.speaker import wire
from controlplane.speaker.reports import malformed_fields
from controlplane.speaker.worker import updates
from controlplane.speaker.worker.surface import AFI, SAFI, Action, Direction, Notify
from labs.attack.cases import CE4, CE6, VPN4, VPN6, Case, Ground, Outcome, cases

GROUNDS = {"ce4": CE4, "ce6": CE6, "vpn4": VPN4, "vpn6": VPN6}
FROM_NODE = {"reserved-label"}
"""What the node finds, not the worker."""


class Negotiated:
    """What ``decode`` asks of a session."""

    def __init__(self, ground: Ground) -> None:
        afi, safi = ground.family
        self.families = [(AFI.create(afi), SAFI.create(safi))]
        self.local_as, self.peer_as = 65000, 65000 if ground.is_vpn else 65101
        self.asn4, self.aigp = True, False
        self.neighbor = {"peer-address": "192.168.1.2"}
        self.cached_attributes, self.cached_wire = None, b""


def every() -> Iterator[object]:
    for name, ground in GROUNDS.items():
        for case in cases(ground):
            yield pytest.param(ground, case, id=f"{name}-{case.name}")


@pytest.mark.parametrize(("ground", "case"), list(every()))
def test_every_case(ground: Ground, case: Case, reports: list[wire.Malformed]) -> None:
    body = case.message[19:]
    if case.outcome is Outcome.RESET:
        with pytest.raises(Notify) as end:
            updates.decode(body, Direction.IN, Negotiated(ground))
        assert end.value.code == 3
    else:
        message = updates.decode(body, Direction.IN, Negotiated(ground))
        taken = case.outcome is not Outcome.WITHDRAW or case.name in FROM_NODE
        named = ground.nlri()[-4:] in case.message
        wanted = [Action.ANNOUNCE if taken else Action.WITHDRAW] if named else []
        assert [n.action for n in message.nlris] == wanted
        assert all(n.data[-4:] == ground.nlri()[-4:] for n in message.nlris)
    told_of = [r.handling for r in reports]
    silent = case.outcome is Outcome.TAKEN or case.name in FROM_NODE
    assert told_of == ([] if silent else [case.outcome.value])
    if reports:
        assert reports[0].message == case.message, "the whole message is reported"


@pytest.mark.parametrize("ground", GROUNDS.values(), ids=GROUNDS)
def test_a_good_one(ground: Ground, reports: list[wire.Malformed]) -> None:
    message = updates.decode(ground.announcement()[19:], Direction.IN, Negotiated(ground))
    assert [n.action for n in message.nlris] == [Action.ANNOUNCE]
    assert reports == []


def test_what_the_log_says(reports: list[wire.Malformed]) -> None:
    (case,) = (c for c in cases(VPN4) if c.name == "originator-length")
    updates.decode(case.message[19:], Direction.IN, Negotiated(VPN4))
    said = malformed_fields(reports[0])
    assert said["routes"] == f"65000:7 {VPN4.prefix}"
    assert said["message"] == case.message.hex()
    assert said["handling"] == "treat-as-withdraw"
    assert "ORIGINATOR_ID of 2 octets" in str(said["reason"])


def test_names_are_unique() -> None:
    for ground in GROUNDS.values():
        names = [case.name for case in cases(ground)]
        assert len(names) == len(set(names))
