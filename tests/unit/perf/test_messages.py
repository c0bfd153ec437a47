"""The sender's messages, read back by a decoder written from the RFCs' own figures."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from perf import messages, sender
from perf.workload import Workload

NEXT_HOP = IPv4Address("10.255.0.2")
Route = tuple[bytes, int, bytes]


def split(stream: bytes) -> Iterator[tuple[int, bytes]]:
    while stream:
        assert stream[:16] == b"\xff" * 16
        length, kind = struct.unpack_from("!HB", stream, 16)
        assert 19 <= length <= 4096
        yield kind, stream[19:length]
        stream = stream[length:]


def attributes(update: bytes) -> dict[int, bytes]:
    withdrawn, length = struct.unpack_from("!HH", update)
    assert withdrawn == 0
    assert len(update) == 4 + length
    found: dict[int, bytes] = {}
    rest = update[4:]
    while rest:
        flags, code, size = struct.unpack_from("!BBH", rest)
        assert flags & 0x10
        found[code], rest = rest[4 : 4 + size], rest[4 + size :]
    return found


def routes(nlri: bytes) -> Iterator[Route]:
    while nlri:
        assert nlri[0] == 24 + 64 + 24
        yield nlri[4:12], int.from_bytes(nlri[1:4], "big"), nlri[12:15]
        nlri = nlri[15:]


@pytest.mark.parametrize("per_update", [1, 7, 50, 200])
def test_every_route_is_announced_once_with_its_own_label_and_target(per_update: int) -> None:
    load = Workload(2000, 10, per_update)
    seen: Counter[Route] = Counter()
    for kind, body in split(b"".join(messages.announcements(load, NEXT_HOP))):
        found = attributes(body)
        assert kind == messages.UPDATE
        assert found[14][:17] == bytes([0, 1, 128, 12, *[0] * 8, 10, 255, 0, 2, 0])
        chunk = list(routes(found[14][17:]))
        assert 0 < len(chunk) <= per_update
        for rd, label, _ in chunk:
            vrf = struct.unpack("!HHI", rd)[2] - 1
            assert label >> 4 == 1000 + vrf
            assert label & 1  # bottom of stack
            assert found[16] == struct.pack("!BBHI", 0, 2, 65000, vrf + 1)
        seen.update(chunk)
    assert len(seen) == 2000
    assert set(seen.values()) == {1}


def test_withdrawals_name_the_routes_that_were_announced() -> None:
    load = Workload(1000, 10, 50)
    announced = {
        (rd, prefix)
        for _, body in split(b"".join(messages.announcements(load, NEXT_HOP)))
        for rd, _, prefix in routes(attributes(body)[14][17:])
    }
    withdrawn = [
        (rd, prefix)
        for _, body in split(b"".join(messages.withdrawals(load)))
        for rd, label, prefix in routes(attributes(body)[15][3:])
        if label == 0x800000
    ]
    assert len(withdrawn) == 1000
    assert set(withdrawn) == announced


def test_the_open_offers_vpn_families_and_a_four_octet_as() -> None:
    ((kind, body),) = split(messages.open_message(4_200_000_000, NEXT_HOP, 90))
    assert kind == messages.OPEN
    assert body[:9] == struct.pack("!BHH4s", 4, 23456, 90, NEXT_HOP.packed)
    assert bytes([1, 4, 0, 1, 0, 128]) in body
    assert bytes([1, 4, 0, 2, 0, 128]) in body
    assert bytes([65, 4]) + struct.pack("!I", 4_200_000_000) in body


def test_chunks_hold_whole_messages_and_the_end_of_rib_comes_last() -> None:
    load = Workload(100_000, 10, 1)
    packed = sender.script(load, NEXT_HOP)
    counts = [len(list(split(chunk))) for chunk in packed.announce]
    assert sum(counts) == 100_000 + 2
    ends = list(split(packed.announce[-1]))[-2:]
    assert [attributes(body) for _, body in ends] == [{15: b"\0\1\x80"}, {15: b"\0\2\x80"}]


@pytest.mark.parametrize("wrong", [(1001, 10, 50), (1000, 10, 0), (1000, 10, 201)])
def test_a_workload_that_does_not_add_up_is_refused(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="routes"):
        Workload(*wrong)


def test_no_community_of_a_flood_comes_twice() -> None:
    load = Workload(10, 10, 1)
    seen: set[int] = set()
    for kind, body in split(b"".join(messages.flood(load, NEXT_HOP, 3))):
        found = attributes(body)
        values = struct.unpack(f"!{messages.FLOOD_COMMUNITIES}I", found[8])
        assert kind == messages.UPDATE
        assert not seen & set(values)
        seen |= set(values)
        ((rd, label, prefix),) = routes(found[14][17:])
        assert (struct.unpack("!HHI", rd)[2], label >> 4, prefix[:1]) == (1, 1000, bytes([20]))
    assert len(seen) == 3 * messages.FLOOD_COMMUNITIES
