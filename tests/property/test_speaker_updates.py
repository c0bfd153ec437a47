"""UPDATEs from a hostile peer, as the worker takes them: no octets end in anything but order."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack

import msgspec
import pytest
from exabgp.bgp.message.action import Action
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.notification import Notify
from exabgp.bgp.message.update import EOR
from exabgp.logger import log
from exabgp.protocol.family import AFI, SAFI
from hypothesis import given
from hypothesis import strategies as st

from controlplane.speaker import wire
from controlplane.speaker.worker import updates
from controlplane.speaker.worker.attribute_validation import walk
from controlplane.speaker.worker.link import route
from controlplane.speaker.worker.packed_nlri import pieces

NEXT_HOP = b"\0" * 8 + b"\x0a\0\0\x09"
VPN_ROUTE = b"\x70\x00\x12\xc1\x00\x00\xfd\xe8\x00\x00\x00\x01\x0a\x01\x02"


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """ExaBGP's log goes nowhere, for these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        for level in ("debug", "warning"):
            patch.setattr(log, level, lambda *_: None)
        yield


class NoPaths:
    """No ADD-PATH in any family."""

    def receive(self, *_: object) -> bool:
        return False

    send = receive


class Negotiated:
    """What ``decode`` asks of a session: internal, four-octet ASNs, three families."""

    def __init__(self) -> None:
        self.families = [
            (AFI.ipv4, SAFI.unicast),
            (AFI.ipv4, SAFI.mpls_vpn),
            (AFI.ipv6, SAFI.mpls_vpn),
        ]
        self.local_as = self.peer_as = 65000
        self.asn4, self.aigp = True, False
        self.nexthop: list[object] = []
        self.addpath = NoPaths()
        self.cached_attributes, self.cached_wire = None, b""
        self.neighbor = {"peer-address": "10.255.0.9"}


def attribute(flags: int, code: int, value: bytes) -> bytes:
    return bytes((flags, code, len(value))) + value


def body(attributes: bytes, withdrawn: bytes = b"", announced: bytes = b"") -> bytes:
    head = pack("!H", len(withdrawn)) + withdrawn + pack("!H", len(attributes))
    return head + attributes + announced


REACH = attribute(0x80, 14, pack("!HBB", 1, 128, 12) + NEXT_HOP + b"\0" + VPN_ROUTE)
GOOD = [
    attribute(0x40, 1, b"\0"),
    attribute(0x40, 2, b"\x02\x01" + pack("!I", 65001)),
    attribute(0x40, 5, pack("!I", 100)),
    attribute(0xC0, 16, pack("!BBHI", 0, 2, 65000, 1)),
    REACH,
]
SOUND = body(b"".join(GOOD))


def decoded(data: bytes) -> object:
    """The message, or None where the session is ended in order."""
    try:
        message = updates.decode(data, Direction.IN, Negotiated())
    except Notify:
        return None
    if not isinstance(message, EOR):
        told = [route(nlri) for nlri in message.nlris]
        if any(n.action == Action.ANNOUNCE for n in message.nlris):
            assert told
            msgspec.json.decode(message.attributes.text, type=wire.PathAttributes)
    return message


def test_a_sound_one_is_an_announcement() -> None:
    message = updates.decode(SOUND, Direction.IN, Negotiated())
    (block,) = message.nlris
    assert (block.action, block.data, block.next_hop) == (Action.ANNOUNCE, VPN_ROUTE, "10.0.0.9")


@given(st.binary(max_size=120))
def test_any_octets(data: bytes) -> None:
    decoded(data)


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255))
def test_one_octet_changed(position: int, value: int) -> None:
    decoded(SOUND[:position] + bytes((value,)) + SOUND[position + 1 :])


@given(st.integers(0, len(SOUND)))
def test_cut_short(size: int) -> None:
    decoded(SOUND[:size])


@given(st.lists(st.sampled_from(GOOD), max_size=8))
def test_attributes_in_any_order_and_number(chosen: list[bytes]) -> None:
    message = decoded(body(b"".join(chosen)))
    whole = set(GOOD[:3]) <= set(chosen)
    if message is not None and not isinstance(message, EOR):
        announced = [n for n in message.nlris if n.action == Action.ANNOUNCE]  # type: ignore[attr-defined]
        assert bool(announced) == (whole and REACH in chosen)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_native_routes(withdrawn: bytes, announced: bytes) -> None:
    hop = attribute(0x40, 3, b"\x0a\0\0\x09")
    decoded(body(b"".join(GOOD[:3]) + hop, withdrawn, announced))


@given(
    st.integers(0, 255),
    st.integers(0, 255).filter(lambda code: code not in (14, 15)),
    st.binary(max_size=40),
)
def test_one_more_attribute(flags: int, code: int, value: bytes) -> None:
    more = bytes((flags, code)) + pack("!H" if flags & 0x10 else "!B", len(value)) + value
    decoded(body(b"".join(GOOD) + more))


FLAGS = st.integers(0, 0xFF).map(lambda flags: flags & ~0x10)
NOT_ROUTES = st.integers(0, 255).filter(lambda code: code not in (14, 15))


@st.composite
def vpn_routes(draw: st.DrawFn) -> bytes:
    """VPN NLRI of any label and distinguisher, with at most one label each."""
    made = []
    for bits in draw(st.lists(st.integers(0, 32), max_size=5)):
        label = draw(st.binary(min_size=3, max_size=3))
        head = bytes((label[0], label[1], label[2] | 1)) + draw(st.binary(min_size=8, max_size=8))
        size = bits + 7 >> 3
        made.append(bytes((88 + bits,)) + head + draw(st.binary(min_size=size, max_size=size)))
    return b"".join(made)


@st.composite
def native_routes(draw: st.DrawFn) -> bytes:
    """IPv4 unicast NLRI."""
    made = b""
    for bits in draw(st.lists(st.integers(0, 32), max_size=5)):
        size = bits + 7 >> 3
        made += bytes((bits,)) + draw(st.binary(min_size=size, max_size=size))
    return made


@st.composite
def overruns(draw: st.DrawFn) -> bytes:
    """Nothing, or the head of an attribute that runs past the attributes."""
    length = draw(st.integers(0, 255))
    head = bytes((draw(FLAGS), draw(NOT_ROUTES), length))
    value = draw(st.binary(max_size=max(length - 1, 0)))
    return draw(st.sampled_from([b"", head + value if length else head[:2]]))


ATTRIBUTES = st.lists(st.builds(attribute, FLAGS, NOT_ROUTES, st.binary(max_size=30)), max_size=6)


@given(
    vpn_routes(),
    FLAGS,
    st.binary(min_size=12, max_size=12) | st.binary(min_size=24, max_size=24),
    native_routes(),
    ATTRIBUTES,
    ATTRIBUTES,
    overruns(),
)
def test_no_octets_end_a_session_whose_routes_can_be_located(
    vpn: bytes, flags: int, hop: bytes, native: bytes, before: list[bytes], after: list[bytes],
    overrun: bytes,
) -> None:  # fmt: skip
    """With any attributes each route is announced or withdrawn, none is lost."""
    reach = pack("!HBB", 1, 128, len(hop)) + hop + b"\0" + vpn
    sent = b"".join([*before, attribute(flags, 14, reach), *after]) + overrun
    message = updates.decode(body(sent, announced=native), Direction.IN, Negotiated())
    found = {(int(n.afi), int(n.safi)): n.data for n in message.nlris}
    assert found == {f: d for f, d in {(1, 128): vpn, (1, 1): native}.items() if d}
    decoded(body(sent, announced=native))


@given(native_routes().filter(bool), ATTRIBUTES, overruns())
def test_nor_one_of_native_routes(native: bytes, attributes: list[bytes], overrun: bytes) -> None:
    sent = body(b"".join(attributes) + overrun, announced=native)
    message = updates.decode(sent, Direction.IN, Negotiated())
    assert [n.data for n in message.nlris] == [native]


@given(vpn_routes(), FLAGS)
def test_nor_withdrawals(vpn: bytes, flags: int) -> None:
    gone = attribute(flags, 15, pack("!HB", 1, 128) + vpn)
    message = updates.decode(body(gone), Direction.IN, Negotiated())
    assert isinstance(message, EOR) or [n.data for n in message.nlris] == [vpn] * bool(vpn)


@given(st.lists(st.integers(0, 32), max_size=60), st.integers(1, 40))
def test_pieces_join_to_the_whole_and_fit(masks: list[int], room: int) -> None:
    data = b"".join(bytes((bits,)) + bytes(bits + 7 >> 3) for bits in masks)
    cut = list(pieces(data, room))
    assert b"".join(cut) == data
    assert all(len(piece) <= max(room, 5) for piece in cut)


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=300)), max_size=6))
def test_a_walk_over_sound_attributes(given_: list[tuple[int, bytes]]) -> None:
    octets = b"".join(
        bytes((0xD0 if len(v) > 255 else 0xC0, code))
        + pack("!H" if len(v) > 255 else "!B", len(v))
        + v
        for code, v in given_
    )
    assert [(code, value) for _, code, value in walk(octets)] == given_
