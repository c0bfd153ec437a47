"""Actions in the queue, and the lines that the worker gets of them."""

from ipaddress import IPv4Address, IPv6Address

import msgspec
import pytest

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import (
    Announce,
    RequestRefresh,
    ResetSession,
    SendEndOfRib,
    Withdraw,
)
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, parse_prefix
from controlplane.model.rd import parse_rd, parse_rt
from controlplane.speaker import wire
from controlplane.speaker.commands import ROUTES_PER_LINE, CommandQueue, packed_next_hop
from controlplane.speaker.nlri import unpack_nlri

PEER, OTHER = PeerId("", IPv4Address("10.0.0.2")), PeerId("", IPv4Address("10.0.0.3"))
RED = parse_rd("65000:1")
ATTRIBUTES = Attributes(local_pref=100, route_targets=frozenset([parse_rt("65000:1")]))


def routes(number: int) -> list[Nlri]:
    return [Nlri(parse_prefix(f"10.{n >> 8}.{n & 255}.0/24"), RED, (300,)) for n in range(number)]


def announce(number: int, peer: PeerId = PEER) -> Announce:
    return Announce(peer, Family.IPV4_VPN, IPv4Address("10.0.0.1"), ATTRIBUTES, routes(number))


def lines(queue: CommandQueue) -> list[wire.Command]:
    taken = queue.take(1 << 30).splitlines()
    return [msgspec.json.decode(line, type=wire.Command) for line in taken]


def test_the_order_is_kept_and_each_line_names_its_session() -> None:
    queue = CommandQueue(10_000)
    for action in (
        announce(1),
        Withdraw(PEER, Family.IPV4_VPN, routes(1)),
        SendEndOfRib(PEER, Family.IPV6_VPN),
        RequestRefresh(PEER, Family.IPV4_UNICAST),
        ResetSession(PEER, 2, "by order"),
    ):
        assert queue.put(7, action)
    sent, gone, marker, refresh, teardown = lines(queue)
    assert isinstance(sent, wire.SendRoutes)
    assert (sent.session, sent.family, sent.next_hop) == (7, (1, 128), b"\x0a\0\0\1")
    assert unpack_nlri(Family.IPV4_VPN, sent.nlri) == routes(1)
    attributes = msgspec.json.decode(sent.attributes, type=wire.PathAttributes)
    assert attributes == wire.PathAttributes(local_pref=100, extended=(0x0002FDE800000001,))
    assert isinstance(gone, wire.SendWithdraw)
    assert marker == wire.SendMarker("10.0.0.2", 7, (2, 128))
    assert refresh == wire.SendRefresh("10.0.0.2", 7, (1, 1))
    assert teardown == wire.Teardown("10.0.0.2", 7, 2)
    assert not queue


def test_many_routes_are_cut_into_lines() -> None:
    queue = CommandQueue(1_000_000)
    queue.put(1, announce(2 * ROUTES_PER_LINE + 1))
    sent = [line for line in lines(queue) if isinstance(line, wire.SendRoutes)]
    whole = [r for line in sent for r in unpack_nlri(Family.IPV4_VPN, line.nlri)]
    assert len(sent) == 3
    assert whole == routes(2 * ROUTES_PER_LINE + 1)


def test_words_are_found_when_they_are_taken() -> None:
    queue = CommandQueue(1_000_000)
    for _ in range(100):
        queue.put(1, announce(100))
    assert queue.routes == 10_000
    first = queue.take(4096)
    assert 4096 <= len(first) < 12_000
    assert queue.routes > 9_000
    rest = len(lines(queue))
    assert first.count(b"\n") + rest == 100
    assert queue.routes == 0


def test_the_bound_holds_and_one_peers_part_can_be_dropped() -> None:
    queue = CommandQueue(100)
    assert queue.put(1, announce(60))
    assert queue.put(1, announce(30, OTHER))
    assert not queue.put(1, announce(20))
    assert queue.routes == 90
    assert queue.drop("10.0.0.2") == 60
    assert [line.peer for line in lines(queue) if isinstance(line, wire.SendRoutes)] == ["10.0.0.3"]


def test_that_a_session_ends_and_why_is_said_even_to_one_that_goes() -> None:
    queue = CommandQueue(100)
    queue.put(1, announce(60))
    queue.put(1, ResetSession(PEER, 1, "too many"))
    assert queue.drop("10.0.0.2") == 60
    assert lines(queue) == [wire.Teardown("10.0.0.2", 1, 1)]


def test_a_single_action_beyond_the_bound_still_goes() -> None:
    queue = CommandQueue(100)
    assert queue.put(1, announce(500))
    assert len(lines(queue)) == 1


def test_an_action_that_cannot_be_encoded_is_logged_and_affects_no_other() -> None:
    queue = CommandQueue(100)
    queue.put(1, announce(1))
    hop = IPv6Address("2001:db8::1")
    queue.put(1, Announce(PEER, Family.IPV4_UNICAST, hop, ATTRIBUTES, routes(1)))
    queue.put(1, SendEndOfRib(PEER, Family.IPV4_VPN))
    assert [type(line) for line in lines(queue)] == [wire.SendRoutes, wire.SendMarker]
    (problem,) = queue.problems
    assert "2001:db8::1 cannot be the next hop of ipv4 unicast" in problem


@pytest.mark.parametrize(
    ("family", "hop", "octets"),
    [
        (Family.IPV4_VPN, IPv4Address("10.0.0.1"), "0a000001"),
        (Family.IPV6_VPN, IPv4Address("10.0.0.1"), "00" * 10 + "ffff0a000001"),
        (Family.IPV4_VPN, IPv6Address("2001:db8::1"), "20010db8" + "00" * 11 + "01"),
        (Family.IPV6_VPN, IPv6Address("2001:db8::1"), "20010db8" + "00" * 11 + "01"),
        (Family.IPV6_UNICAST, IPv6Address("2001:db8::1"), "20010db8" + "00" * 11 + "01"),
    ],
)
def test_next_hops(family: Family, hop: IPv4Address | IPv6Address, octets: str) -> None:
    assert packed_next_hop(family, hop).hex() == octets
