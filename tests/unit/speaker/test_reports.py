"""Lines of real workers (ExaBGP 5.0.15), and lines that no worker should write."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import count
from pathlib import Path

import pytest

from controlplane.model.attributes import AsSegment, Nlri
from controlplane.model.events import (
    EndOfRib,
    Event,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
)
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.speaker.reports import ReportReader
from controlplane.speaker.session import WorkerSession
from tests.attributes import every_attribute

RECORDED = Path(__file__).parent / "recorded"
UP = (
    b'{"t":"up","peer":"%s","session":1,"families":["ipv4 mpls-vpn"],'
    b'"router_id":"1.1.1.1","hold_time":90}'
)
MALFORMED = b'{"t":"malformed","peer":"%s","handling":"h","reason":"r","message":""}'
ROUTE = "aAASwQAA/egAAAABCgE="
PREFIXES = "NOTIFICATION received: Cease, Maximum Number of Prefixes Reached (6,1)"
CLOSED = "connection lost: the TCP connection was closed by the remote end"


class Reader:
    """A ReportReader, one session, and what was logged."""

    def __init__(self, address: str, md5: str | None = None) -> None:
        intent = PeerIntent(
            peer=PeerId("", ip_address(address)),
            asn=65000,
            local_address=IPv4Address("127.0.0.1"),
            local_as=65000,
            families=tuple(Family),
            md5=md5,
        )
        self.ticks: Iterator[int] = count()
        self.session = WorkerSession(intent, 0)
        self.logged: list[tuple[str, str, dict[str, str | int]]] = []
        self.reader = ReportReader(
            {address: self.session},
            lambda *line: self.logged.append(line),
            lambda: float(next(self.ticks)),
            set(),
        )

    def read(self, *lines: bytes) -> list[Event]:
        return self.reader.read(lines)


def recorded(name: str) -> list[bytes]:
    return (RECORDED / f"{name}.jsonl").read_bytes().splitlines()


def test_what_another_worker_sent() -> None:
    reader = Reader("127.0.0.1")
    events = reader.read(*recorded("bulkhead"))
    peer = reader.session.peer
    attributes = every_attribute(
        AsSegment("sequence", (65001, 4200000000)), AsSegment("set", (1, 2))
    )
    up = SessionUp(
        peer=peer,
        families=frozenset(Family),
        router_id="10.0.0.1",
        hold_time=90,
        restart_time=120,
        forwarding=frozenset(Family),
        route_refresh=True,
    )
    ten, core = parse_prefix("10.1.0.0/16"), IPv4Address("10.0.0.1")
    red = parse_rd("65000:1")
    vpn4 = [
        Nlri(ten, red, (300,)),
        Nlri(parse_prefix("0.0.0.0/0"), parse_rd("10.0.0.1:1"), (301,)),
        Nlri(parse_prefix("10.1.1.1/32"), parse_rd("1L:1"), (301,)),
    ]
    vpn6 = [Nlri(parse_prefix("2001:db8::/33"), red, (300,))]
    plain4 = [Nlri(ten), Nlri(parse_prefix("0.0.0.0/0"))]
    plain6 = [Nlri(parse_prefix("2001:db8::/48")), Nlri(parse_prefix("::/0"))]
    assert events == [
        up,
        RefreshRequested(peer, Family.IPV4_VPN),
        RoutesReceived(peer, Family.IPV4_VPN, core, attributes, vpn4),
        RoutesReceived(peer, Family.IPV6_VPN, core, attributes, vpn6),
        RoutesReceived(peer, Family.IPV4_UNICAST, core, attributes, plain4),
        RoutesReceived(peer, Family.IPV6_UNICAST, IPv6Address("2001:db8::1"), attributes, plain6),
        *(EndOfRib(peer, family) for family in Family),
        RoutesWithdrawn(peer, Family.IPV4_VPN, [Nlri(ten, red)]),
        RoutesWithdrawn(peer, Family.IPV4_UNICAST, [Nlri(ten)]),
        SessionDown(peer=peer, reason=PREFIXES),
        up,
        SessionDown(peer=peer, reason=CLOSED, graceful=True),
    ]
    assert reader.logged == []


def test_what_gobgp_sent() -> None:
    reader = Reader("127.0.0.5")
    events = reader.read(*recorded("gobgp-3.10"))
    up = next(e for e in events if isinstance(e, SessionUp))
    assert (up.restart_time, up.forwarding, up.router_id) == (77, frozenset(), "10.0.0.5")
    routes = {e.family: e for e in events if isinstance(e, RoutesReceived)}
    assert routes[Family.IPV4_VPN].nlri[0] == Nlri(
        parse_prefix("10.9.0.0/24"), parse_rd("65000:7"), (77,)
    )
    assert routes[Family.IPV6_VPN].next_hop == IPv4Address("10.0.0.5")
    assert routes[Family.IPV4_UNICAST].attributes.communities == ((65000, 5),)
    assert routes[Family.IPV4_VPN].attributes.as_path == ()
    assert {e.family for e in events if isinstance(e, EndOfRib)} == set(Family)
    assert isinstance(events[-1], SessionDown)
    assert events[-1].graceful
    assert reader.logged == []


def test_lines_with_equal_attributes_become_one_event() -> None:
    reader = Reader("10.0.0.9")
    update = update_line("10.0.0.9", ROUTE)
    events = reader.read(UP % b"10.0.0.9", update, update, update)
    assert [type(e) for e in events] == [SessionUp, RoutesReceived]
    assert isinstance(events[1], RoutesReceived)
    assert len(events[1].nlri) == 3
    assert reader.session.routes_received == 3
    assert reader.session.updates_received == 3


def test_a_withdrawal_between_keeps_its_place() -> None:
    reader = Reader("10.0.0.9")
    update = update_line("10.0.0.9", ROUTE)
    gone = b'{"t":"update","peer":"10.0.0.9","withdraw":[["ipv4 mpls-vpn","%s"]]}' % ROUTE.encode()
    events = reader.read(UP % b"10.0.0.9", update, gone, update)
    kinds = [type(e) for e in events]
    assert kinds == [SessionUp, RoutesReceived, RoutesWithdrawn, RoutesReceived]


def update_line(peer: str, packed: str, attributes: str = '{"local_pref":100}') -> bytes:
    announce = f'["ipv4 mpls-vpn","10.0.0.1","{packed}"]'
    fields = f'"peer":"{peer}","attributes":{attributes},"announce":[{announce}]'
    return f'{{"t":"update",{fields}}}'.encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b'{"t":"strange"}',
        b'{"t":"update"}',
        b'{"t":"log","level":"no such level","text":"x"}',
        b"\xff\xfe",
        b'{"t":"update","peer":"10.0.0.9","announce":[["ipv4 mpls-vpn","10.0.0.1","!"]]}',
        b'{"t":"update","peer":"10.0.0.9","withdraw":[["ipv4 flow","AAAA"]]}',
        b'{"t":"eor","peer":"10.0.0.9","family":"1 133"}',
    ],
)
def test_a_malformed_line_is_counted_and_logged_and_changes_nothing(line: bytes) -> None:
    reader = Reader("10.0.0.9")
    events = reader.read(UP % b"10.0.0.9", line, update_line("10.0.0.9", ROUTE))
    assert [type(e) for e in events] == [SessionUp, RoutesReceived]
    assert reader.reader.malformed == 1
    assert [event for _, event, _ in reader.logged] == ["speaker_line_malformed"]


def test_unreadable_attributes_withdraw_what_they_came_with() -> None:
    reader = Reader("10.0.0.9")
    events = reader.read(UP % b"10.0.0.9", update_line("10.0.0.9", ROUTE, '{"origin":9}'))
    assert [type(e) for e in events] == [SessionUp, RoutesWithdrawn]
    assert reader.reader.malformed == 1


def test_a_flood_of_bad_lines_is_logged_a_few_times() -> None:
    reader = Reader("10.0.0.9")
    reader.reader._limit._clock = lambda: 0.0
    reader.read(*[b"{"] * 500)
    assert reader.reader.malformed == 500
    assert len(reader.logged) == 100
    assert reader.reader.withheld == 400


def test_a_flood_about_one_peer_leaves_room_for_what_is_said_of_others() -> None:
    reader = Reader("10.0.0.9")
    now = 0.0
    reader.reader._limit._clock = lambda: now
    reader.read(*[MALFORMED % b"10.0.0.9"] * 500, MALFORMED % b"10.0.0.8")
    assert [fields["peer"] for _, _, fields in reader.logged] == ["10.0.0.9"] * 100 + ["10.0.0.8"]
    now = 10.0
    reader.read(MALFORMED % b"10.0.0.9")
    reader.read(MALFORMED.replace(b"}", b',"missed":7}') % b"10.0.0.8")
    assert [fields.get("withheld") for _, _, fields in reader.logged[-2:]] == [400, 7]


def test_unknown_peers_and_sessions_that_are_down_are_ignored() -> None:
    reader = Reader("10.0.0.9")
    assert reader.read(update_line("10.0.0.9", ROUTE)) == []
    assert reader.read(UP % b"10.0.0.8") == []


def test_a_secret_in_a_log_line_is_covered() -> None:
    reader = Reader("10.0.0.9", md5="sesame street")
    reader.read(b'{"t":"log","level":"error","text":"bad line: sesame street;"}')
    assert reader.logged == [("error", "exabgp", {"text": "bad line: ***;"})]


@pytest.mark.parametrize(
    ("fields", "reason", "graceful"),
    [
        ('"cause":"lost"', "connection lost", True),
        ('"cause":"lost","text":"reset by peer"', "connection lost: reset by peer", True),
        # What the text says decides nothing: a peer may write into it what it likes.
        (
            '"cause":"received","code":6,"subcode":2,"text":"closing connection"',
            "NOTIFICATION received: Cease, Administrative Shutdown (6,2): closing connection",
            False,
        ),
        ('"cause":"sent","code":4', "NOTIFICATION sent: Hold Timer Expired (4,0)", False),
        (
            '"cause":"sent","code":6,"subcode":8,"text":"Out of Resources"',
            "NOTIFICATION sent: Cease, Out of Resources (6,8)",
            False,
        ),
        ('"cause":"received","code":77,"subcode":1', "NOTIFICATION received: error (77,1)", False),
        ('"cause":"ended","text":"closing connection"', "closing connection", False),
        ('"cause":"ended"', "session ended", False),
    ],
)
def test_only_a_lost_transport_is_graceful(fields: str, reason: str, graceful: bool) -> None:
    reader = Reader("10.0.0.9")
    down = f'{{"t":"down","peer":"10.0.0.9",{fields}}}'.encode()
    events = reader.read(UP % b"10.0.0.9", down, down)
    expected = SessionDown(peer=reader.session.peer, reason=reason, graceful=graceful)
    assert events[1:] == [expected]
    assert reader.session.last_error == reason


def test_malformed_updates_are_counted_for_their_peer() -> None:
    reader = Reader("10.0.0.9")
    reader.read(MALFORMED % b"10.0.0.9", MALFORMED.replace(b"}", b',"missed":7}') % b"10.0.0.9")
    reader.read(MALFORMED % b"10.0.0.8")
    assert reader.session.snapshot().malformed == 9
