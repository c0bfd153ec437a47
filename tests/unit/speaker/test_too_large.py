"""Attributes that grow beyond what an UPDATE holds: the route is withdrawn, and reported.

A route with 4,000 octets of attributes is received in order; with the route targets and label of a
VPN route, or one more AS number, it does not fit. What the peer has of it then is out of date.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import Announce, Withdraw
from controlplane.model.prefix import Family, parse_address, parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.refused_routes import KEPT, RefusedRoutes
from controlplane.speaker import wire
from controlplane.speaker.attributes import to_wire
from controlplane.speaker.nlri import family_numbers, pack_nlri, unpack_nlri
from controlplane.speaker.reports import ReportReader
from controlplane.speaker.session import WorkerSession
from controlplane.speaker.worker import outgoing
from controlplane.speaker.worker.attributes import build
from controlplane.speaker.worker.outgoing import Announcement
from controlplane.speaker.worker.update_parts import UpdateParts, separate
from tests.unit.speaker.worker_bench import peer

RD = parse_rd("65000:1")
SHORT, LONG = "0.0.0.0/0", "10.1.2.3/32"
ROOM_FOR_SHORT = 1005
"""Communities beside which a VPN route of the length 0 fits, and one of the length 32 does not."""


class Session:
    """What an announcement asks of its session."""

    asn4, msg_size, local_as, peer_as = True, 4096, 65000, 65000
    neighbor = {"peer-address": "10.0.0.9"}  # noqa: RUF012

    def __init__(self, family: Family) -> None:
        self.families = [family_numbers(family)]


def route(text: str, family: Family) -> Nlri:
    return Nlri(parse_prefix(text), RD, (300,)) if family.is_vpn else Nlri(parse_prefix(text))


def sent(
    family: Family, communities: int, *texts: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[UpdateParts], list[wire.TooLarge]]:
    told: list[wire.TooLarge] = []
    monkeypatch.setattr(outgoing, "report", told.append)
    attributes = Attributes(communities=tuple((65001, n) for n in range(communities)))
    nlri = pack_nlri(family, [route(text, family) for text in texts])
    item = Announcement(
        family_numbers(family), b"\x0a\0\0\1", build(to_wire(attributes)), nlri, session=3
    )
    messages: Any = item.messages(Session(family))
    found = list(messages)
    assert all(len(message) <= 4096 for message in found)
    return [separate(message[19:]) for message in found], told


@pytest.mark.parametrize("family", [Family.IPV4_VPN, Family.IPV4_UNICAST])
def test_what_fits_is_announced(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    parts, told = sent(family, 900, SHORT, LONG, monkeypatch=monkeypatch)
    assert [bool(p.announced or p.reach) for p in parts] == [True]
    assert told == []


@pytest.mark.parametrize("family", [Family.IPV4_VPN, Family.IPV4_UNICAST])
@pytest.mark.parametrize("communities", [1100, 5000])
def test_what_does_not_is_withdrawn(
    family: Family, communities: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, (told,) = sent(family, communities, SHORT, LONG, monkeypatch=monkeypatch)
    (only,) = parts
    assert not only.announced
    assert only.reach is None
    gone = only.unreach[3:] if only.unreach else only.withdrawn
    wanted = [route(text, family).prefix for text in (SHORT, LONG)]
    assert [n.prefix for n in unpack_nlri(family, gone, withdraw=True)] == wanted
    assert (told.peer, told.session, told.family) == ("10.0.0.9", 3, family_numbers(family))
    assert told.octets > communities * 4
    assert told.nlri == gone


def test_of_one_announcement_what_fits_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Family.IPV4_VPN
    parts, (told,) = sent(family, ROOM_FOR_SHORT, SHORT, LONG, monkeypatch=monkeypatch)
    reach, gone = [p for p in parts if p.reach], [p for p in parts if p.unreach]
    assert (len(reach), len(gone)) == (1, 1)
    (left,) = unpack_nlri(family, told.nlri, withdraw=True)
    assert left.prefix == parse_prefix(LONG)


class Node:
    """A reader of one worker's lines, whose session 3 is up."""

    def __init__(self) -> None:
        self.session = WorkerSession(peer("10.0.0.9"), 0.0)
        self.logged: list[tuple[str, str, dict[str, str | int]]] = []
        self.reader = ReportReader(
            {"10.0.0.9": self.session}, lambda *line: self.logged.append(line), lambda: 7.0, set()
        )
        self.told(wire.Up("10.0.0.9", 3, ["ipv4 mpls-vpn"], "10.0.0.9", 90))

    def told(self, report: wire.Report) -> None:
        self.reader.read([msgspec.json.encode(report)])


def too_large(session: int = 3, *texts: str) -> wire.TooLarge:
    routes = [route(text, Family.IPV4_VPN) for text in texts or (LONG,)]
    packed = pack_nlri(Family.IPV4_VPN, routes, withdraw=True)
    return wire.TooLarge("10.0.0.9", session, (1, 128), 4123, packed)


def test_the_node_says_which() -> None:
    node = Node()
    node.told(too_large())
    shown = node.session.snapshot()
    assert shown.too_large == 1
    (unsent,) = shown.unsent
    assert (unsent.nlri.prefix, unsent.since) == (parse_prefix(LONG), 7.0)
    assert "4123 octets" in unsent.reason
    ((level, event, fields),) = node.logged
    assert (level, event, fields["routes"]) == ("warning", "update_too_large", f"{RD} {LONG}")


def test_a_session_that_is_over_has_nothing_unsent() -> None:
    node = Node()
    node.told(too_large(session=2))
    assert node.session.snapshot().too_large == 0


@pytest.mark.parametrize("kind", ["announce", "withdraw"])
def test_a_route_that_is_sent_anew_is_not_listed(kind: str) -> None:
    node, nlri = Node(), [route(LONG, Family.IPV4_VPN)]
    node.told(too_large())
    to, family, hop = node.session.peer, Family.IPV4_VPN, parse_address("10.0.0.1")
    if kind == "announce":
        node.session.queued(Announce(to, family, hop, Attributes(), nlri))
    else:
        node.session.queued(Withdraw(to, family, nlri))
    assert node.session.snapshot().unsent == ()
    assert node.session.snapshot().too_large == 1


def test_what_is_kept_is_bounded() -> None:
    kept = RefusedRoutes()
    for octet in range(200):
        routes = [Nlri(parse_prefix(f"10.{octet}.{n}.0/24")) for n in range(200)]
        kept.note(Family.IPV4_UNICAST, routes, "policy", float(octet))
    assert len(kept) == KEPT
    assert next(iter(kept)).nlri.prefix == parse_prefix("10.199.199.0/24")
