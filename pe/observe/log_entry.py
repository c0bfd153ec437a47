"""Read one entry of the kernel's packet log (nfnetlink_log), if it is one of Bulkhead's. Pure.

Any rule of the machine may log into any group, with any prefix and without some attributes. What
does not have the form that our own rules give it is foreign, and not an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from controlplane.model.verdict import OLDER_BIT
from pe.model.mark_code import MarkCode
from pe.netlink import codec as nl

FLOW_GROUP, STAGED_GROUP = 5, 6
"""The nflog groups of new flows: with the enforced verdict, and once more with the staged one."""
AWAITED = "+"
"""Ends the prefix of an entry that has another one in the group of staged verdicts."""
SNAP = 112
"""Bytes of a packet that are logged: an IPv6 header, some extensions, and the ports."""
BACKWARDS_BIT = 1 << 28
"""Of the mark of an entry: the packet goes against the direction of its flow."""

_MARK, _TIMESTAMP, _PAYLOAD, _PREFIX, _SEQUENCE = 2, 3, 9, 10, 12
_HEADER = struct.Struct(">BBH")
_STAMP = struct.Struct(">QQ")
_LAST_ZONE = 0xFFFF


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of our rules. ``at`` is Unix time, None where the kernel gave none."""

    zone: int
    is_staged: bool
    is_awaited: bool
    """Another entry with the staged verdict belongs to this one."""
    word: int
    is_older: bool
    """The packet opened nothing: its flow was not seen from its beginning, or was ended."""
    is_backwards: bool
    """The packet goes against the direction of its flow."""
    payload: memoryview
    at: float | None


def group_of(body: memoryview) -> int:
    """Return the group of a packet message; -1 where it is too short to have one."""
    return int(_HEADER.unpack_from(body)[2]) if len(body) >= _HEADER.size else -1


def sequence_of(entry: dict[int, memoryview]) -> int | None:
    """Return the number of the entry within its group, None where it has none."""
    return _number(entry.get(_SEQUENCE), 4)


def read(group: int, entry: dict[int, memoryview], code: MarkCode) -> LogEntry | None:
    """Read the attributes of an entry; None for one that no rule of ours made."""
    payload, mark = entry.get(_PAYLOAD), entry.get(_MARK)
    prefix = nl.text(entry.get(_PREFIX, memoryview(b"")))
    if group not in (FLOW_GROUP, STAGED_GROUP) or payload is None:
        return None
    if not prefix.startswith(code.log):
        return None
    awaited = prefix.endswith(AWAITED)
    digits = prefix.removeprefix(code.log).removesuffix(AWAITED)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        return None
    word, zone = 0 if mark is None else _number(mark, 4), int(digits)
    if word is None or zone > _LAST_ZONE:
        return None
    bits = bool(word & OLDER_BIT), bool(word & BACKWARDS_BIT)
    word &= ~(OLDER_BIT | BACKWARDS_BIT)
    return LogEntry(zone, group == STAGED_GROUP, awaited, word, *bits, payload, _when(entry))


def _number(value: memoryview | None, width: int) -> int | None:
    return int.from_bytes(value, "big") if value is not None and len(value) == width else None


def _when(entry: dict[int, memoryview]) -> float | None:
    stamp = entry.get(_TIMESTAMP)
    if stamp is None or len(stamp) != _STAMP.size:
        return None
    seconds, micros = _STAMP.unpack(stamp)
    return int(seconds) + int(micros) / 1e6
