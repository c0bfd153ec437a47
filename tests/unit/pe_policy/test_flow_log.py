"""Logged packets and log entries, put together from bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest

from controlplane.model.flow import FlowRecord
from controlplane.model.verdict import OLDER_BIT
from pe.model.mark_code import ANY_BOOT
from pe.netlink import codec as nl
from pe.observe.flow_log import FlowLog
from pe.observe.log_entry import AWAITED, BACKWARDS_BIT, FLOW_GROUP, STAGED_GROUP
from pe.observe.packet import flow
from tests.parts import LonePart

A, B = ip_address("10.0.0.1"), ip_address("10.0.0.2")
A6, B6 = ip_address("2001:db8::1"), ip_address("2001:db8::2")
CODE = ANY_BOOT.log.encode()
PORTS = struct.pack(">HH", 1000, 443) + bytes(4)


def _four(protocol: int, body: bytes, options: bytes = b"") -> bytes:
    head = bytes((0x45 + len(options) // 4,)) + bytes(8) + bytes((protocol, 0, 0))
    return head + A.packed + B.packed + options + body


def _six(protocol: int, body: bytes) -> bytes:
    return bytes((0x60, 0, 0, 0, 0, 0, protocol, 64)) + A6.packed + B6.packed + body


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (_four(6, PORTS), (A, B, 6, 1000, 443, -1)),
        (_four(17, PORTS, bytes(8)), (A, B, 17, 1000, 443, -1)),
        (_four(1, b"\x08" + bytes(7)), (A, B, 1, 0, 0, 8)),
        (_four(47, bytes(8)), (A, B, 47, 0, 0, -1)),
        (_four(6, b""), (A, B, 6, 0, 0, -1)),
        (_six(132, PORTS), (A6, B6, 132, 1000, 443, -1)),
        (_six(58, b"\x80" + bytes(7)), (A6, B6, 58, 0, 0, 128)),
        (_six(0, bytes((43, 0)) + bytes(6) + bytes((6, 1)) + bytes(14) + PORTS),
         (A6, B6, 6, 1000, 443, -1)),
        (_six(44, bytes((17, 0)) + bytes(6) + PORTS), (A6, B6, 17, 1000, 443, -1)),
        (_six(51, bytes((6, 4)) + bytes(22) + PORTS), (A6, B6, 6, 1000, 443, -1)),
        (_six(60, b""), (A6, B6, 60, 0, 0, -1)),
    ],
)  # fmt: skip
def test_a_packet_is_a_flow(packet: bytes, wanted: tuple[object, ...]) -> None:
    assert flow(memoryview(packet)) == wanted


@pytest.mark.parametrize("length", [0, 1, 19])
def test_what_is_no_header_is_no_flow(length: int) -> None:
    assert flow(memoryview(_four(6, PORTS)[:length])) is None
    assert flow(memoryview(_six(6, PORTS)[: length + 20])) is None


class Told:
    """A log fed by hand, and what it told."""

    def __init__(self) -> None:
        self.records: list[FlowRecord] = []
        self.lost = 0
        self.lines: list[tuple[str, dict[str, str | int]]] = []
        self.log = FlowLog(
            {10: "red"}.get,
            lambda _level, event, fields: self.lines.append((event, fields)),
            LonePart(),
        )
        self.log._on_flows = self._take  # without a socket there is nothing to watch

    def _take(self, records: Sequence[FlowRecord], lost: int) -> None:
        self.records += records
        self.lost += lost

    def feed(self, *entries: bytes) -> None:
        found: list[FlowRecord] = []
        for entry in entries:
            self.log._take(memoryview(entry), found)
        self.log._deliver(found)


def _entry(
    seq: int, word: int, packet: bytes, *, prefix: str = "10", staged: bool = False
) -> bytes:
    group = STAGED_GROUP if staged else FLOW_GROUP
    body = nl.attribute(10, CODE + prefix.encode() + b"\0")
    body += nl.attribute(2, word.to_bytes(4, "big"))
    body += nl.attribute(12, seq.to_bytes(4, "big")) + nl.attribute(9, packet)
    return struct.pack(">BBH", 2, 0, group) + body


def test_gaps_in_the_sequence_are_losses() -> None:
    told, packet = Told(), _four(6, PORTS)
    told.feed(_entry(7, 1, packet))
    told.feed(_entry(8, 1, packet), _entry(11, 1, packet))
    assert (len(told.records), told.lost) == (3, 2)
    told.feed(_entry(0xFFFFFFFF, 1, packet), _entry(0, 1, packet))
    assert told.lost == 2 + 0xFFFFFFFF - 12


@pytest.mark.parametrize(
    ("bits", "ends"),
    [(0, (A, B, 1000, 443)), (OLDER_BIT | BACKWARDS_BIT, (B, A, 443, 1000))],
)
def test_a_packet_against_its_flow_is_reported_in_the_flow_s_direction(
    bits: int, ends: tuple[Any, ...]
) -> None:
    told = Told()
    told.feed(_entry(0, 64 | bits, _four(6, PORTS)))
    (record,) = told.records
    assert (record.source, record.destination, record.sport, record.dport) == ends
    assert (record.enforced, record.older) == (64, bool(bits))


@pytest.mark.parametrize("early", [False, True])
def test_both_halves_make_a_record_whichever_comes_first(early: bool) -> None:
    told, packet = Told(), _four(6, PORTS)
    halves = [_entry(0, 64, packet, prefix="10" + AWAITED), _entry(0, 65, packet, staged=True)]
    told.feed(*(halves[::-1] if early else halves))
    (record,) = told.records
    assert (record.enforced, record.staged, record.vrf) == (64, 65, "red")
    assert not told.lost


def test_twins_are_not_mixed_up() -> None:
    told, packet = Told(), _four(6, PORTS)
    for seq in range(3):
        told.feed(_entry(seq, 64, packet, prefix="10" + AWAITED))
    for seq in range(3):
        told.feed(_entry(seq, 65, packet, staged=True))
    assert [record.staged for record in told.records] == [65] * 3


def test_a_flow_of_a_vrf_that_is_gone_is_lost() -> None:
    told = Told()
    told.feed(_entry(0, 64, _four(6, PORTS), prefix="11"))
    assert (told.records, told.lost) == ([], 1)


def test_without_its_staged_half_a_record_is_reported_late(monkeypatch: pytest.MonkeyPatch) -> None:
    told, packet = Told(), _four(6, PORTS)
    told.feed(_entry(0, 64, packet, prefix="10" + AWAITED))
    told.log.flush()
    assert not told.records
    monkeypatch.setattr("pe.observe.flow_log.PATIENCE_SECONDS", -1.0)
    told.log.flush()
    assert [record.staged for record in told.records] == [None]


def _foreign(seq: int | None = 1, group: int = FLOW_GROUP, **attributes: bytes) -> bytes:
    numbers = {"prefix": 10, "mark": 2, "payload": 9, "stamp": 3}
    body = b"".join(nl.attribute(numbers[name], value) for name, value in attributes.items())
    if seq is not None:
        body += nl.attribute(12, seq.to_bytes(4, "big"))
    return struct.pack(">BBH", 2, 0, group) + body


OURS: dict[str, Any] = {"prefix": CODE + b"10\0", "payload": _four(6, PORTS)}


@pytest.mark.parametrize(
    "entry",
    [
        _foreign(prefix=b"dropped: \0", payload=_four(6, PORTS)),
        _foreign(prefix=b"\0", payload=_four(6, PORTS)),
        _foreign(payload=_four(6, PORTS)),
        _foreign(prefix=b"10\0", payload=_four(6, PORTS)),
        _foreign(prefix=b"10+\0", payload=_four(6, PORTS)),
        _foreign(prefix=b"bulkhead-0000-10\0", payload=_four(6, PORTS)),
        _foreign(prefix=CODE + b"10\0"),
        _foreign(prefix=CODE + b"\0", payload=_four(6, PORTS)),
        _foreign(prefix=CODE + "\u0661\u0660\0".encode(), payload=_four(6, PORTS)),
        _foreign(prefix=CODE + b"\xff\xfe\0", payload=_four(6, PORTS)),
        _foreign(prefix=CODE + b"99999\0", payload=_four(6, PORTS)),
        _foreign(prefix=CODE + b"1" * 100 + b"\0", payload=_four(6, PORTS)),
        _foreign(**OURS, mark=b"\1\2"),
        _foreign(None, group=7, **OURS),
        _foreign(group=STAGED_GROUP, prefix=CODE + b"+\0", payload=_four(6, PORTS)),
        b"\2\0",
        b"",
    ],
)  # fmt: skip
def test_a_foreign_entry_is_counted_and_the_rest_of_the_buffer_is_read(entry: bytes) -> None:
    told, packet = Told(), _four(6, PORTS)
    told.feed(_entry(0, 64, packet), entry, _entry(2, 65, packet))
    assert [record.enforced for record in told.records] == [64, 65]
    assert told.log.foreign == 1
    (line,) = told.lines
    assert line[0] == "flow_log_foreign"
    assert line[1]["entries"] == 1


def test_the_control_is_no_foreign_entry() -> None:
    told = Told()
    told.feed(_foreign(0, **OURS), _foreign(1, stamp=b"short", **OURS))
    assert (len(told.records), told.log.foreign, told.lines) == (2, 0, [])


def test_foreign_entries_use_up_sequence_numbers_and_are_no_losses() -> None:
    told, packet = Told(), _four(6, PORTS)
    foreign = _foreign(8, prefix=b"other\0", payload=packet)
    told.feed(_entry(7, 64, packet), foreign, _entry(9, 64, packet))
    assert (len(told.records), told.lost) == (2, 0)


def test_many_foreign_entries_make_one_line() -> None:
    told = Told()
    for seq in range(1000):
        told.feed(_foreign(seq, prefix=b"other\0", payload=_four(6, PORTS)))
    assert (told.log.foreign, len(told.lines)) == (1000, 1)
