"""Routes with more labels than one: which are, what is made of them, and what stays in doubt."""

from __future__ import annotations

import pytest

from controlplane.speaker import wire
from controlplane.speaker.worker.packed_nlri import check, without_stacks
from controlplane.speaker.worker.surface import Notify

V4, V6 = (1, 128), (2, 128)
RD = bytes.fromhex("0000fde800000007")
BY_ADDRESS = bytes.fromhex("00010a0000010001")
LAST, NOT_LAST = (20000 << 4 | 1).to_bytes(3), (30000 << 4).to_bytes(3)
NONE = b"\x80\0\0"


def nlri(labels: bytes, rd: bytes, prefix: str) -> bytes:
    address, _, length = prefix.partition("/")
    octets = bytes.fromhex(address)
    return bytes((len(labels + rd) * 8 + int(length),)) + labels + rd + octets


GOOD = nlri(LAST, RD, "0a2c00/24")


@pytest.mark.parametrize(
    ("family", "route", "withdrawn"),
    [
        (V4, nlri(NOT_LAST + LAST, RD, "0a2c00/24"), nlri(NONE, RD, "0a2c00/24")),
        (V4, nlri(NOT_LAST + LAST, RD, "/0"), nlri(NONE, RD, "/0")),
        (V4, nlri(NOT_LAST + LAST, BY_ADDRESS, "0a/8"), nlri(NONE, BY_ADDRESS, "0a/8")),
        (V4, nlri(NOT_LAST * 2 + LAST, RD, "0a2c0001/32"), nlri(NONE, RD, "0a2c0001/32")),
        (V6, nlri(NOT_LAST + LAST, RD, "20010db8/32"), nlri(NONE, RD, "20010db8/32")),
        (V6, nlri(NOT_LAST + LAST, RD, "ff" * 16 + "/128"), nlri(NONE, RD, "ff" * 16 + "/128")),
        (V6, nlri(NOT_LAST + LAST, RD, "/0"), nlri(NONE, RD, "/0")),
        # A withdrawal names no label (RFC 8277 section 2.4), but may be made like the route.
        (V4, nlri(NONE + LAST, RD, "0a2c00/24"), nlri(NONE, RD, "0a2c00/24")),
    ],
)
def test_several_labels(family: tuple[int, int], route: bytes, withdrawn: bytes) -> None:
    for data, single in ((route, b""), (GOOD + route + GOOD, GOOD * 2), (route * 2 + GOOD, GOOD)):
        stacks = check(*family, data)
        assert without_stacks(data, stacks) == (single, withdrawn * len(stacks))
        assert stacks


@pytest.mark.parametrize(
    ("family", "route"),
    [
        (V4, GOOD),
        (V4, nlri(LAST, b"\xff" * 8, "0a2c00/24")),
        # The mark of the last label is to be ignored where one label makes sense.
        (V4, nlri(NOT_LAST, RD, "0a2c00/24")),
        (V4, nlri(NONE, RD, "0a2c00/24")),
        (V4, nlri(b"\0\0\0", BY_ADDRESS, "/0")),
        (V6, nlri(NOT_LAST, BY_ADDRESS, "ff" * 16 + "/128")),
        # Neither one label nor several make sense: it is a distinguisher of an unknown type.
        (V4, nlri(NOT_LAST, b"\xff" * 8, "0a2c00/24")),
    ],
)
def test_one_label(family: tuple[int, int], route: bytes) -> None:
    assert check(*family, route) == []


@pytest.mark.parametrize(
    ("family", "route"),
    [
        (V4, nlri(LAST, RD, "0a2c000000/40")),
        (V4, nlri(NOT_LAST * 4, RD, "/0")),
        (V4, nlri(NOT_LAST + LAST, RD, "0a2c000000/40")),
        (V4, GOOD[:-1]),
        (V4, GOOD + bytes((87,)) + GOOD[1:]),
        (V4, b"\x58"),
        (V4, b"\x58\0\0"),
        (V4, b"\0"),
        (V6, b"\xff" + NOT_LAST * 10 + b"\0\0"),
        ((1, 1), b"\x21\0\0\0\0\0"),
    ],
)
def test_what_cannot_be_located_ends_the_session(family: tuple[int, int], route: bytes) -> None:
    with pytest.raises(Notify):
        check(*family, route)


def test_a_route_reflectors_good_routes_stay(reports: list[wire.Malformed]) -> None:
    """One odd PE behind a reflector: its route goes, those in the same UPDATE do not."""
    from controlplane.speaker.worker import updates
    from controlplane.speaker.worker.surface import Action, Direction
    from labs.attack.cases import VPN4, stacked
    from tests.unit.speaker.test_rfc7606 import Negotiated

    both = stacked(VPN4.nlri(VPN4.other), 2) + VPN4.nlri()
    message = VPN4.basis + VPN4.reach(both)
    body = b"\0\0" + len(message).to_bytes(2) + message
    update = updates.decode(body, Direction.IN, Negotiated(VPN4))
    assert [(n.action, n.data[12:]) for n in update.nlris] == [
        (Action.WITHDRAW, VPN4.nlri(VPN4.other)[12:]),
        (Action.ANNOUNCE, VPN4.nlri()[12:]),
    ]
    assert [(r.handling, len(r.routes)) for r in reports] == [("treat-as-withdraw", 1)]
