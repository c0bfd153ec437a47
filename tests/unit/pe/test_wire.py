"""What goes to the kernel and comes back, byte by byte."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from controlplane.model.prefix import Afi, parse_prefix
from pe.fib.next_hop_wire import Content, Group, Member, encode, is_ours, parse
from pe.fib.route_batch import OwnRoutes, RouteEncoder, parse_conflict, parse_own_route
from pe.netlink import codec as nl
from pe.netlink.events import _filter
from pe.netlink.ownership import FIRST_NEXT_HOP, PROTOCOL, ROUTE_METRIC, UNREACHABLE_METRIC
from tests.unit.pe.foreign_messages import BLACKHOLE, route_body

V4, V6 = ip_address("10.0.1.2"), ip_address("fe80::1")


@pytest.mark.parametrize(
    "content",
    [
        Member(Afi.IPV4, 3, V4, (17, 16001)),
        Member(Afi.IPV6, 3, V4, (17, 16001)),  # 6VPE: the gateway goes as ::ffff:10.0.1.2
        Member(Afi.IPV6, 3, V6),
        Member(Afi.IPV4, 3, V4),
        Member(Afi.IPV4, 3),
        Member(Afi.IPV6, 0),
        Group(((5, 1), (6, 256))),
        Group(((5, 256), (6, 1)), resilient=True),
    ],
)
def test_a_next_hop_reads_as_it_was_written(content: Content) -> None:
    assert parse(memoryview(encode(7, content))) == (7, PROTOCOL, content)


def test_a_label_stack_ends_with_the_bottom_bit() -> None:
    body = encode(7, Member(Afi.IPV4, 3, V4, (17, 16001)))
    assert struct.pack("!II", 17 << 12, 16001 << 12 | 0x100) in body


def test_only_what_has_both_marks_is_ours() -> None:
    assert is_ours(FIRST_NEXT_HOP, PROTOCOL)
    assert not is_ours(7, PROTOCOL)
    assert not is_ours(FIRST_NEXT_HOP, 186)


PREFIXES = ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32", "2001:db8::1/128"]


def test_routes_read_as_they_were_written() -> None:
    changes = [(parse_prefix(text), 0xB0000001 + n) for n, text in enumerate(PREFIXES)]
    data = memoryview(RouteEncoder(16001).encode(changes, seq=100))
    cut = list(nl.messages(data))
    assert [m.seq for m in cut] == list(range(100, 106))
    assert {m.type for m in cut} == {nl.RTM_NEWROUTE}
    assert [parse_own_route(m.body) for m in cut] == [(16001, p, i) for p, i in changes]
    # And by the quick way of dumps, up to the end mark.
    found = OwnRoutes()
    done = nl.HEADER.pack(20, nl.NLMSG_DONE, 0, 0, 0) + bytes(4)
    assert found.cut(data) is None
    end = found.cut(memoryview(done))
    assert end is not None
    assert end.type == nl.NLMSG_DONE
    assert (found.routes, found.is_whole) == ([(16001, p, i) for p, i in changes], True)


def test_a_removal_names_maker_metric_and_type_so_that_no_other_route_can_match() -> None:
    for text in PREFIXES:
        data = memoryview(RouteEncoder(16001).encode([(parse_prefix(text), 0)], seq=1))
        (message,) = nl.messages(data)
        assert message.type == nl.RTM_DELROUTE
        assert message.body[5] == PROTOCOL
        assert message.body[7] == 1  # RTN_UNICAST: never the unreachable default
        found = nl.attributes(message.body[12:])
        assert nl.number(found[6]) == ROUTE_METRIC
        assert nl.number(found[15]) == 16001


def test_a_route_of_another_program_with_our_metric_is_a_conflict() -> None:
    data = bytearray(RouteEncoder(9).encode([(parse_prefix("10.0.0.0/8"), 5)], seq=1))
    (ours,) = nl.messages(memoryview(bytes(data)))
    assert parse_conflict(ours.body) is None
    data[16 + 5] = 3  # RTPROT_BOOT
    (theirs,) = nl.messages(memoryview(bytes(data)))
    assert parse_conflict(theirs.body) == (9, parse_prefix("10.0.0.0/8"), ROUTE_METRIC)


@pytest.mark.parametrize(("prefix", "metric", "is_one"), [
    ("0.0.0.0/0", UNREACHABLE_METRIC, True), ("::/0", UNREACHABLE_METRIC, True),
    ("10.0.0.0/8", UNREACHABLE_METRIC, False), ("0.0.0.0/0", 5, False), ("0.0.0.0/0", 0, False),
])  # fmt: skip
def test_a_default_route_with_the_metric_of_the_last_resort_is_a_conflict(
    prefix: str, metric: int, is_one: bool
) -> None:
    found = parse_conflict(route_body(prefix, metric=metric, kind=BLACKHOLE))
    assert bool(found) is is_one


def verdict(program: list[tuple[int, int, int, int]], packet: bytes) -> int:
    """Run a classic BPF program."""
    at, accumulator = 0, 0
    while True:
        code, yes, no, value = program[at]
        at += 1
        if code == 0x28:
            (accumulator,) = struct.unpack_from("!H", packet, value)
        elif code == 0x20:
            (accumulator,) = struct.unpack_from("!I", packet, value)
        elif code == 0x15:
            at += yes if accumulator == value else no
        else:
            return value


@pytest.mark.parametrize(
    ("kind", "pid", "passes"),
    [
        (nl.RTM_NEWROUTE, 42, False),
        (nl.RTM_DELROUTE, 42, False),
        (nl.RTM_NEWROUTE, 43, True),
        (nl.RTM_DELROUTE, 0, True),
        (nl.RTM_NEWLINK, 42, True),
        (nl.RTM_DELNEXTHOP, 0, True),
    ],
)
def test_the_filter_drops_our_own_route_changes_and_nothing_else(
    kind: int, pid: int, passes: bool
) -> None:
    packet = nl.HEADER.pack(16, kind, 0, 1, pid)
    assert bool(verdict(_filter(42), packet)) == passes


def test_attributes_of_broken_length_end_the_reading() -> None:
    good = nl.u32(5, 7)
    for bad in (b"\x03\0\1\0", b"\xff\0\1\0", b"\1"):
        assert nl.attributes(memoryview(good + bad)).keys() == {5}
    assert list(nl.messages(memoryview(b"\x04\0\0\0" + bytes(20)))) == []


@pytest.mark.parametrize("left", [0, 1, 3, 5, 6, 7])
def test_sequence_numbers_wrap_and_a_row_of_them_does_not(left: int) -> None:
    changes = [(parse_prefix(text), 0xB0000001) for text in PREFIXES]
    sock = nl.NetlinkSocket()
    sock._seq = nl.LAST_SEQ - left
    first = sock.take_seqs(len(changes))
    cut = nl.messages(memoryview(RouteEncoder(16001).encode(changes, first)))
    assert [m.seq for m in cut] == list(range(first, first + len(changes)))
    assert 0 < first <= nl.LAST_SEQ
    # A socket at its last number still gets the answer to what it asks.
    sock._seq = nl.LAST_SEQ
    assert sock.dump(nl.RTM_GETLINK, bytes(16))
    sock.close()
