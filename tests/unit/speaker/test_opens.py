"""OPENs: what a session needs is read, what it does not need cannot end it."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.speaker import wire
from controlplane.speaker.worker import refreshes
from controlplane.speaker.worker.opens import NEEDED, Opens
from controlplane.speaker.worker.surface import Capability, Notify

CODE = Capability.CODE


class Session:
    """What the decoder asks of what is being negotiated."""

    neighbor = {"peer-address": "10.0.0.9"}  # noqa: RUF012


def capability(code: int, value: bytes = b"") -> bytes:
    return bytes((code, len(value))) + value


def body(parameters: bytes, *, extended: bool = False, version: int = 4) -> bytes:
    head = bytes((version,)) + pack("!HH", 65001, 90) + b"\x0a\0\0\x09"
    if extended:
        return head + b"\xff\xff" + pack("!H", len(parameters)) + parameters
    return head + bytes((len(parameters),)) + parameters


def with_capabilities(*capabilities: bytes) -> bytes:
    return body(b"".join(bytes((2, len(c))) + c for c in capabilities))


SOUND = (
    capability(1, b"\0\1\0\1"),
    capability(1, b"\0\1\0\x80"),
    capability(2),
    capability(5, b"\0\1\0\x80\0\2"),
    capability(64, pack("!H", 0x8078) + b"\0\1\1\x80"),
    capability(65, pack("!I", 4200000000)),
)


def opened(data: bytes) -> tuple[Any, list[wire.CapabilityIgnored]]:
    ignored: list[wire.CapabilityIgnored] = []
    return Opens(ignored.append).decode(data, None, Session()), ignored


def check_sound(data: bytes) -> None:
    message, ignored = opened(data)
    assert ignored == []
    assert (message.version, message.asn, message.hold_time) == (4, 65001, 90)
    assert str(message.router_id) == "10.0.0.9"
    found = message.capabilities
    assert set(found) == set(NEEDED)
    assert found[CODE.MULTIPROTOCOL] == [(1, 1), (1, 128)]
    assert found[CODE.FOUR_BYTES_ASN] == 4200000000
    assert list(found[CODE.NEXTHOP]) == [(1, 128, 2)]
    graceful = found[CODE.GRACEFUL_RESTART]
    assert (graceful.restart_time, dict(graceful)) == (120, {(1, 1): 0x80})


@pytest.mark.parametrize(
    "data",
    [
        with_capabilities(*SOUND),
        with_capabilities(b"".join(SOUND)),
        body(b"".join(b"\2" + pack("!H", len(c)) + c for c in SOUND), extended=True),
    ],
    ids=["one-each", "together", "extended"],
)
def test_a_sound_one(data: bytes) -> None:
    check_sound(data)


UNNEEDED = {
    "hostname-cut": capability(73, b"\x20pe"),
    "hostname-of-no-text": capability(73, b"\2\xff\xfe\0"),
    "software-version-empty": capability(75),
    "software-version-cut": capability(75, b"\x40FRR"),
    "role-empty": capability(9),
    "add-path-cut": capability(69, b"\0\1\1"),
    "orf": capability(3, b"\0"),
    "multi-session-cut": capability(68),
    "cisco-multi-session": capability(131, b"\0\1"),
    "long-lived-graceful-restart": capability(71, b"\0"),
    "extended-message-with-a-value": capability(6, b"x"),
    "enhanced-route-refresh-with-a-value": capability(70, b"x"),
    "operational": capability(0xB9, b"xx"),
    "reserved": capability(0),
    "unknown": capability(255, b"\0" * 200),
}


@pytest.mark.parametrize("unneeded", UNNEEDED.values(), ids=UNNEEDED)
def test_what_is_not_needed_is_not_read(unneeded: bytes) -> None:
    check_sound(with_capabilities(unneeded, *SOUND))
    check_sound(with_capabilities(*SOUND, unneeded))


@pytest.mark.parametrize(
    ("malformed", "code"),
    [
        (capability(1), 1),
        (capability(1, b"\0\1\0"), 1),
        (capability(1, b"\0\1\0\1\0"), 1),
        (capability(5, b"\0\1\0"), 5),
        (capability(64), 64),
        (capability(64, b"\0"), 64),
        (capability(64, b"\0\x78\0\1"), 64),
    ],
)
def test_what_is_needed_and_malformed_is_ignored_and_reported(malformed: bytes, code: int) -> None:
    others = [c for c in SOUND if c[0] != code]
    message, ignored = opened(with_capabilities(malformed, *others))
    assert [(i.peer, i.code) for i in ignored] == [("10.0.0.9", code)]
    assert ignored[0].reason
    assert set(message.capabilities) == set(NEEDED) - {code}


def test_the_last_graceful_restart_counts() -> None:
    message, _ = opened(with_capabilities(*SOUND, capability(64, b"\0\x0a")))
    graceful = message.capabilities[CODE.GRACEFUL_RESTART]
    assert (graceful.restart_time, dict(graceful)) == (10, {})


def test_route_refresh_with_a_value_is_route_refresh() -> None:
    message, ignored = opened(with_capabilities(capability(2, b"x")))
    assert CODE.ROUTE_REFRESH in message.capabilities
    assert ignored == []


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (b"", (1, 2)),
        (body(b"")[:-1], (1, 2)),
        (body(b"", version=3), (2, 1)),
        (with_capabilities(capability(65, b"\0\1")), (2, 0)),
        (body(b"\1\0"), (2, 4)),
        (body(b"\2\5\2\0"), (2, 0)),
        (body(b"\2\2\2\5"), (2, 0)),
        (body(b"\2"), (2, 0)),
        (with_capabilities(*SOUND)[:-1], (2, 0)),
        (body(b"", extended=True)[:-3], (2, 0)),
    ],
)
def test_what_cannot_be_read_ends_the_session(data: bytes, codes: tuple[int, int]) -> None:
    with pytest.raises(Notify) as end:
        opened(data)
    assert (end.value.code, end.value.subcode) == codes
    end.value.message()


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_end_in_order(parameters: bytes, extended: bool) -> None:
    try:
        opened(body(parameters, extended=extended))
    except Notify as end:
        end.message()


@given(st.lists(st.builds(capability, st.integers(0, 255), st.binary(max_size=9)), max_size=8))
def test_no_capability_but_the_as_number_ends_a_session(found: list[bytes]) -> None:
    harmless = [c for c in found if c[0] != CODE.FOUR_BYTES_ASN]
    message, _ = opened(with_capabilities(*harmless, SOUND[-1]))
    assert message.capabilities[CODE.FOUR_BYTES_ASN] == 4200000000


@pytest.mark.parametrize("subtype", range(256))
def test_a_route_refresh_of_any_subtype(subtype: int) -> None:
    message = refreshes.decode(bytes((0, 1, subtype, 128)), None, None)
    assert (message.afi, message.safi) == (1, 128)
    assert (message.reserved == 0) is (subtype == 0)


@pytest.mark.parametrize("data", [b"", b"\0\1\0", b"\0\1\0\1\0"])
def test_a_route_refresh_of_another_length(data: bytes) -> None:
    with pytest.raises(Notify) as end:
        refreshes.decode(data, None, None)
    assert (end.value.code, end.value.subcode) == (7, 1)
