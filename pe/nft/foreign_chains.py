"""Find the chains of other programs that set the marks which the node uses, or log into its
groups.

Rules are read as the kernel has them: in nftables' own expressions, and as iptables-nft writes
them, whose targets are structures of the kernel (struct xt_mark_tginfo2, xt_connmark_tginfo2,
xt_nflog_info). The tables of iptables-legacy are not nftables', and are not read.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pe.netlink import codec as nl
from pe.nft.expression import be32
from pe.nft.messages import SUBSYSTEM
from pe.nft.model import TableId
from pe.nft.socket import NETLINK_NETFILTER

MOST_RULES, MOST_FOUND = 20_000, 1_000
"""Of other programs: rules that are read in one go, and lines that are kept of them."""
_GET_TABLE, _GET_RULE = SUBSYSTEM << 8 | 1, SUBSYSTEM << 8 | 7
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_NAME, _CHAIN, _EXPRESSIONS = 1, 2, 4
_ALL = 0xFFFFFFFF
_LOADED, _KEY, _MARK = 1, 2, 3
"""NFTA_META_DREG and NFTA_CT_DREG, ..._KEY, NFT_META_MARK and NFT_CT_MARK."""
_STORED = {"meta": 3, "ct": 4}
_WORDS = {"meta": "meta mark set", "ct": "ct mark set"}
_OF_INTEREST = (be32(_KEY, _MARK), b"log\0", b"target\0")
"""One of these bytes is in every rule that matters: most are not looked at any further."""
_PARSED = frozenset({"meta", "ct", "log", "target", "bitwise"})
_MARK_TARGET, _CONNMARK_TARGET = struct.Struct("=II"), struct.Struct("=IIIB")
_NFLOG_TARGET = struct.Struct("=IH")
_SET, _SAVE = 0, 1


@dataclass(frozen=True, slots=True)
class Ours:
    """What is the node's: its tables, the bits of a packet's mark that it uses, its log groups. Of
    the mark of a connection it uses all bits."""

    tables: frozenset[TableId]
    packet_bits: int
    groups: frozenset[int]


class _EnoughError(Exception):
    """So many rules were read that the others are left."""


@dataclass
class _Found:
    """What is found, and how many rules were read for it."""

    ours: Ours
    uses: dict[str, None] = field(default_factory=dict)
    rules: int = 0

    def take(self, family: str, body: memoryview) -> None:
        """Take in one rule. Raises _EnoughError."""
        self.rules += 1
        if self.rules > MOST_RULES or len(self.uses) >= MOST_FOUND:
            raise _EnoughError
        data = bytes(body)
        if not any(name in data for name in _OF_INTEREST):
            return
        found = nl.attributes(body[4:])
        if _EXPRESSIONS in found:
            place = f"{family} {nl.text(found[_NAME])} {nl.text(found[_CHAIN])}"
            for use in uses(found[_EXPRESSIONS], self.ours):
                self.uses[f"{place}: {use}"] = None


def read(ours: Ours) -> tuple[str, ...]:
    """Read what other programs' chains do that is of interest, such as ``inet other c: ct mark
    set``, sorted; the last one says if there are more rules than are read. For a thread. Raises
    OSError."""
    found = _Found(ours)
    with contextlib.closing(nl.NetlinkSocket(NETLINK_NETFILTER)) as sock:
        try:
            for number, name in _tables(sock, ours.tables):
                _read_table(sock, number, name, found)
        except _EnoughError:
            return (*sorted(found.uses), f"more than {MOST_RULES} rules: the others are not read")
    return tuple(sorted(found.uses))


def _tables(sock: nl.NetlinkSocket, ours: Collection[TableId]) -> list[tuple[int, str]]:
    every = ((m.body[0], nl.text(nl.attributes(m.body[4:])[_NAME])) for m in
             sock.dump(_GET_TABLE, bytes(4)))  # fmt: skip
    return [(n, name) for n, name in every if (_FAMILIES.get(n, str(n)), name) not in ours]


def _read_table(sock: nl.NetlinkSocket, number: int, name: str, found: _Found) -> None:
    """Read the rules of one table: the kernel leaves out the others, which may be ours and many."""
    family = _FAMILIES.get(number, str(number))
    body = bytes((number, 0, 0, 0)) + nl.attribute(1, name.encode() + b"\0")
    sock.each(_GET_RULE, body, lambda message: found.take(family, message.body))


def uses(expressions: memoryview, ours: Ours) -> Iterator[str]:
    """Yield what a rule does that is of interest, in words; ``expressions`` are its list."""
    changed: dict[int, tuple[str, int]] = {}
    for name, data in _expressions(expressions):
        if name not in _PARSED:
            changed.clear()
        elif name in _STORED and _STORED[name] in data:
            kind, bits = changed.get(_number(data[_STORED[name]]), ("", _ALL))
            if _number(data[_KEY]) == _MARK:
                yield from _marks(name, bits if kind == name else _ALL, ours)
        elif name == "log" and 1 in data:
            yield from _logs(_number(data[1]), ours)
        elif name == "target":
            yield from _target(nl.text(data[1]), bytes(data[3]), ours)
        else:
            _follow(name, data, changed)


def _expressions(listed: memoryview) -> Iterator[tuple[str, dict[int, memoryview]]]:
    at = 0
    while at + 4 <= len(listed):
        length = int.from_bytes(listed[at : at + 2], sys.byteorder)
        found = nl.attributes(listed[at + 4 : at + length])
        name = nl.text(found[1])
        yield name, nl.attributes(found[2]) if name in _PARSED and 2 in found else {}
        at += max(length, 4) + 3 & ~3


def _follow(name: str, data: dict[int, memoryview], changed: dict[int, tuple[str, int]]) -> None:
    """Note which registers hold a mark of which some bits were changed; others forget it."""
    if name in _STORED and _number(data[_KEY]) == _MARK:
        changed[_number(data[_LOADED])] = (name, 0)
        return
    source = changed.get(_number(data[1])) if name == "bitwise" and 1 in data else None
    if source is None or not {2, 4, 5} <= data.keys() or _number(data.get(6)):
        changed.clear()
        return
    mask, turned = (int.from_bytes(nl.attributes(data[n])[1], sys.byteorder) for n in (4, 5))
    kind, bits = source
    changed[_number(data[2])] = (kind, bits | (~mask & _ALL) | turned)


def _number(value: memoryview | None) -> int:
    return int.from_bytes(value, "big") if value is not None else 0


def _marks(kind: str, bits: int, ours: Ours) -> Iterator[str]:
    if bits & (_ALL if kind == "ct" else ours.packet_bits):
        yield _WORDS[kind]


def _logs(group: int, ours: Ours) -> Iterator[str]:
    if group in ours.groups:
        yield f"log group {group}"


def _target(name: str, info: bytes, ours: Ours) -> Iterator[str]:
    """Yield what a target of iptables does. One of another length is of no known kind."""
    if name == "MARK" and len(info) >= _MARK_TARGET.size:
        mark, mask = _MARK_TARGET.unpack_from(info)
        yield from _marks("meta", mark | mask, ours)
    elif name == "CONNMARK" and len(info) >= _CONNMARK_TARGET.size:
        mark, mask, packet_mask, mode = _CONNMARK_TARGET.unpack_from(info)
        other = mark if mode == _SET else packet_mask
        yield from _marks("ct" if mode in (_SET, _SAVE) else "meta", mask | other, ours)
    elif name == "NFLOG" and len(info) >= _NFLOG_TARGET.size:
        yield from _logs(_NFLOG_TARGET.unpack_from(info)[1], ours)
