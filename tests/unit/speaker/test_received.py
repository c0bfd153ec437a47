"""Path attributes of received UPDATEs, as octets and as the node reads them."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.speaker.wire import PathAttributes
from controlplane.speaker.worker import as_path, received, updates
from controlplane.speaker.worker.codes import Code

SET, SEQUENCE, CONFED = as_path.SET, as_path.SEQUENCE, as_path.CONFED_SEQUENCE
TRANS = received.AS_TRANS


def packed(path: as_path.AsPath, letter: str = "I") -> bytes:
    return b"".join(
        bytes((kind, len(asns))) + struct.pack(f"!{len(asns)}{letter}", *asns)
        for kind, asns in path
    )


def seq(*asns: int) -> as_path.Segment:
    return (SEQUENCE, asns)


def read(values: dict[int, bytes], *, four: bool = True, external: bool = False) -> PathAttributes:
    return received.read(values, four_octets=four, external=external)


def test_every_attribute() -> None:
    values: dict[int, bytes] = {
        Code.ORIGIN: b"\1",
        Code.AS_PATH: packed((seq(65001, 4200000000),)),
        Code.NEXT_HOP: b"\x0a\0\0\1",
        Code.MED: struct.pack("!I", 5),
        Code.LOCAL_PREF: struct.pack("!I", 200),
        Code.ATOMIC_AGGREGATE: b"",
        Code.AGGREGATOR: struct.pack("!I", 4200000000) + b"\1\2\3\4",
        Code.COMMUNITY: struct.pack("!4H", 65535, 65281, 65000, 1),
        Code.ORIGINATOR_ID: b"\x09\x09\x09\x09",
        Code.CLUSTER_LIST: b"\x08\x08\x08\x08\x07\x07\x07\x07",
        Code.EXTENDED_COMMUNITY: struct.pack("!2Q", 7, 3),
        Code.LARGE_COMMUNITY: struct.pack("!3I", 65000, 1, 2),
    }
    assert read(values) == PathAttributes(
        origin=1,
        as_path=(seq(65001, 4200000000),),
        med=5,
        local_pref=200,
        atomic_aggregate=True,
        aggregator="4200000000:1.2.3.4",
        communities=((65000, 1), (65535, 65281)),
        extended=(3, 7),
        large=((65000, 1, 2),),
        originator_id="9.9.9.9",
        cluster_list=("8.8.8.8", "7.7.7.7"),
    )


@pytest.mark.parametrize(
    ("path", "external", "fault"),
    [
        (packed((seq(1), (CONFED, (2,)))), False, ""),
        (packed((seq(1), (CONFED, (2,)))), True, "RFC 5065"),
        (packed((seq(1), (SET, (2, 3)))), False, "RFC 9774"),
        (packed(((as_path.CONFED_SET, (2, 3)),)), False, "RFC 9774"),
        (b"\2", False, "malformed"),
        (b"\2\0", False, "malformed"),
        (b"\2\1\0\0\0", False, "malformed"),
        (b"\5\1\0\0\0\1", False, "malformed"),
        (packed((seq(1),)) + b"\0", False, "malformed"),
        (b"", True, ""),
    ],
)
def test_paths(path: bytes, external: bool, fault: str) -> None:
    if not fault:
        read({Code.AS_PATH: path}, external=external)
        return
    with pytest.raises(ValueError, match=fault):
        read({Code.AS_PATH: path}, external=external)


@pytest.mark.parametrize(
    ("two", "four", "whole"),
    [
        ((seq(1, TRANS, 3),), (seq(200000, 3),), (seq(1, 200000, 3),)),
        ((seq(TRANS),), (seq(200000),), (seq(200000),)),
        # Longer than AS_PATH: it is not of this path.
        ((seq(1),), (seq(2, 3),), (seq(1),)),
        ((seq(1), (CONFED, (9,)), seq(TRANS)), (seq(200000),),
         (seq(1), (CONFED, (9,)), seq(200000))),
        ((seq(1, TRANS),), ((CONFED, (9,)), seq(200000)), (seq(1, 200000),)),
        ((seq(*range(1, 201)), seq(*[TRANS] * 100)), (seq(*range(200000, 200100)),),
         (seq(*range(1, 201)), seq(*range(200000, 200100)))),
    ],
)  # fmt: skip
def test_the_path_of_a_speaker_with_two_octets(two: Any, four: Any, whole: Any) -> None:
    """RFC 6793 section 4.2.3."""
    values: dict[int, bytes] = {Code.AS_PATH: packed(two, "H"), Code.AS4_PATH: packed(four)}
    assert read(values, four=False).as_path == whole


@pytest.mark.parametrize(
    ("old", "aggregator", "path"),
    [(TRANS, "200000:1.2.3.4", (seq(200000),)), (7, "7:9.9.9.9", (seq(TRANS),))],
)
def test_an_aggregator_of_two_octets_decides_about_both(
    old: int, aggregator: str, path: as_path.AsPath
) -> None:
    values: dict[int, bytes] = {
        Code.AS_PATH: packed((seq(TRANS),), "H"),
        Code.AS4_PATH: packed((seq(200000),)),
        Code.AGGREGATOR: struct.pack("!H", old) + b"\x09\x09\x09\x09",
        Code.AS4_AGGREGATOR: struct.pack("!I", 200000) + b"\1\2\3\4",
    }
    found = read(values, four=False)
    assert (found.aggregator, found.as_path) == (aggregator, path)


def test_a_set_behind_the_numbers_of_two_octets_is_found() -> None:
    values: dict[int, bytes] = {
        Code.AS_PATH: packed((seq(1, TRANS),), "H"),
        Code.AS4_PATH: packed(((SET, (200000, 3)),)),
    }
    with pytest.raises(ValueError, match="9774"):
        read(values, four=False)


SEGMENTS = st.lists(
    st.tuples(st.sampled_from([SEQUENCE, SEQUENCE, CONFED]),
              st.lists(st.integers(1, 65535), min_size=1, max_size=5).map(tuple)), max_size=5,
).map(tuple)  # fmt: skip


@given(SEGMENTS, SEGMENTS)
def test_a_merged_path_is_as_long_as_the_longer_of_both_can_be(
    path: as_path.AsPath, four: as_path.AsPath
) -> None:
    assert as_path.length(as_path.merged(path, four)) == as_path.length(path)


@given(SEGMENTS, st.booleans())
def test_what_is_packed_is_parsed(path: as_path.AsPath, four: bool) -> None:
    assert as_path.parse(packed(path, "I" if four else "H"), four) == path


@pytest.mark.parametrize("count", [30, 985])
def test_communities_are_compared_in_proportion_to_their_number(count: int) -> None:
    """One UPDATE of 985 communities took half a second: each addition sorted them all."""
    values: dict[int, bytes] = {
        Code.COMMUNITY: b"".join(struct.pack("!HH", 1, n) for n in range(count))
    }
    steps = 0

    def step(*_: object) -> Any:
        nonlocal steps
        steps += 1
        return step

    import sys

    before = sys.gettrace()
    sys.settrace(step)
    try:
        assert len(read(values).communities) == count
    finally:
        sys.settrace(before)
    assert steps < 300, "no step of Python for each community"


GLOBAL, LINK_LOCAL, NONE = (ip_address(a).packed for a in ("2001:db8::2", "fe80::2", "::"))


@pytest.mark.parametrize(
    ("data", "hop"),
    [
        (GLOBAL, "2001:db8::2"),
        (GLOBAL + LINK_LOCAL, "2001:db8::2"),
        (LINK_LOCAL, "fe80::2"),
        (LINK_LOCAL + LINK_LOCAL, "fe80::2"),
        (NONE + LINK_LOCAL, "fe80::2"),
    ],
)
def test_the_next_hop_of_an_ipv6_route(data: bytes, hop: str) -> None:
    """RFC 2545 section 3, and what peers without a global address on the link make of it."""
    assert updates._next_hop(data, 0) == (hop, "")
