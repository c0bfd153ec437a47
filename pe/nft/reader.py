"""Reads tables of nftables over netlink: what they hold, their counters, and a digest of them.

nft's own listing is of no use for comparing (1.0.6 rewrites rules), so what was loaded is known by
a digest of the kernel's own encoding, taken right after each load.
"""

from __future__ import annotations

import errno
import hashlib
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pe.netlink import codec as nl
from pe.nft.diff import UNKNOWN_ELEMENTS, UNKNOWN_RULES, UNKNOWN_SET
from pe.nft.messages import FAMILIES, HOOKS, SUBSYSTEM, set_attributes
from pe.nft.model import Chain, Hook, NamedSet, Table, TableId
from pe.nft.socket import NETLINK_NETFILTER

GET_TABLE, GET_CHAIN, GET_RULE, GET_SET, GET_ELEMENTS, GET_GENERATION, GET_OBJECT = (
    SUBSYSTEM << 8 | kind for kind in (1, 4, 7, 10, 13, 16, 19)
)
_GENMSG = struct.Struct("=BBH")
_BE32, _BE64, _S32 = struct.Struct(">I"), struct.Struct(">Q"), struct.Struct(">i")
_COUNTER = 1  # NFT_OBJECT_COUNTER
_VERDICTS = {0: "drop", 1: "accept", -3: "jump", -4: "goto", -5: "return"}
_NOT_SHAPE = {GET_CHAIN: {2, 6, 9}, GET_SET: {14, 16, 20}, GET_RULE: {3, 6, 8}}
"""Attributes that are new with each making (handles, places), change with what is in use, or fill
up to eight bytes, which depends on what another program's table has before ours in a dump."""

Found: TypeAlias = Mapping[int, memoryview]


@dataclass(frozen=True, slots=True)
class CounterView:
    """A named counter: ``lbl_06__PORT``, or ``cpp_01.bgp__PORT`` where there are classes."""

    family: str
    name: str
    packets: int
    bytes: int

    @property
    def requirement(self) -> str:
        """The id of the requirement that it counts for."""
        return self.name.partition("__")[0].partition(".")[0]

    @property
    def traffic(self) -> str:
        """The class of traffic, "" where there is only one."""
        return self.name.partition("__")[0].partition(".")[2]

    @property
    def subject(self) -> str:
        """The port or VRF, "" for the node."""
        return self.name.partition("__")[2]


class RulesetReader:
    """One socket for what is read, by one caller at a time."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket(NETLINK_NETFILTER)

    def generation(self) -> int:
        """The number of the ruleset's last change, by any program."""
        seq = self._socket.next_seq()
        head = nl.HEADER.pack(20, GET_GENERATION, nl.NLM_F_REQUEST, seq, 0)
        self._socket.send(head + _GENMSG.pack(0, 0, 0))
        for message in self._socket.receive():
            if message.seq == seq and message.type != nl.NLMSG_ERROR:
                return int.from_bytes(nl.attributes(message.body[4:])[1], "big")
        raise OSError(errno.EPROTO, "nftables does not say its generation")

    def shape(self, table: TableId) -> str:
        """A digest of chains, sets (not their elements) and rules, as the kernel has them. It
        does not change by itself, nor with other tables."""
        digest = hashlib.sha256()
        for kind, left_out in _NOT_SHAPE.items():
            for found in self._in_table(kind, table):
                parts = (bytes(v) for k, v in sorted(found.items()) if k not in left_out)
                digest.update(b"".join(parts))
        return digest.hexdigest()

    def present(self, table: TableId, wanted: Table | None) -> Table | None:
        """What a table holds; None if there is none. Rules and elements are not looked at: they
        are unknown, as are sets that are not those of ``wanted``."""
        tables = self._dump(GET_TABLE, table.family, b"")
        if not any(nl.text(found[1]) == table.name for found in tables):
            return None
        kinds = wanted.sets if wanted else {}
        chains = {nl.text(c[3]): c for c in self._in_table(GET_CHAIN, table)}
        found = {nl.text(s[2]): s for s in self._in_table(GET_SET, table)}
        sets = {n: _same(kinds.get(n), s) for n, s in found.items() if not n.startswith("__")}
        return Table(
            {n: Chain(UNKNOWN_RULES, _hook(table.family, c)) for n, c in chains.items()},
            sets,
            frozenset(nl.text(counter[2]) for counter in self._in_table(GET_OBJECT, table)),
            {n: UNKNOWN_ELEMENTS for n, kind in sets.items() if not kind.is_dynamic},
        )

    def counters(self, table: TableId) -> list[CounterView]:
        """Every named counter with its figures now."""
        views = (_counter(table.family, found) for found in self._in_table(GET_OBJECT, table))
        return [view for view in views if view]

    def packets(self, table: TableId, counter: str) -> int | None:
        """What one named counter has counted; None if there is none of that name."""
        seq = self._socket.next_seq()
        names = _string(1, table.name) + _string(2, counter)
        body = _head(table.family) + names + nl.attribute(3, _BE32.pack(_COUNTER))
        head = nl.HEADER.pack(16 + len(body), GET_OBJECT, nl.NLM_F_REQUEST, seq, 0)
        self._socket.send(head + body)
        for message in self._socket.receive():
            if message.seq == seq and message.type != nl.NLMSG_ERROR:
                view = _counter(table.family, nl.attributes(message.body[4:]))
                return view.packets if view else None
        return None

    def elements_at(
        self, table: TableId, name: str, kind: NamedSet
    ) -> tuple[int, dict[bytes, bytes]] | None:
        """Return the elements of one set, as ``pe.nft.model.Elements`` has them, and the generation
        in which it had them; None if the ruleset changed meanwhile."""
        generation = self.generation()
        body = _head(table.family) + _string(1, table.name) + _string(2, name)
        try:
            messages, whole = self._socket.dump_once(GET_ELEMENTS, body)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        if not whole or self.generation() != generation:
            return None
        held: dict[bytes, bytes] = {}
        for message in messages:
            found = nl.attributes(message.body[4:])
            if 3 in found:
                held.update(_pairs(kind, found[3]))
        return generation, held

    def _in_table(self, kind: int, table: TableId, more: bytes = b"") -> Iterator[Found]:
        """Attributes of each object of a kind in a table; none if there is no such table."""
        for found in self._dump(kind, table.family, _string(1, table.name) + more):
            if nl.text(found[1]) == table.name:
                yield found

    def _dump(self, kind: int, family: str, more: bytes) -> Iterator[Found]:
        try:
            answer = self._socket.dump(kind, _head(family) + more)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        for message in answer:
            yield nl.attributes(message.body[4:])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _head(family: str) -> bytes:
    return _GENMSG.pack(FAMILIES[family], 0, 0)


def _string(kind: int, value: str) -> bytes:
    return nl.attribute(kind, value.encode() + b"\0")


def _counter(family: str, found: Found) -> CounterView | None:
    if int.from_bytes(found[3], "big") != _COUNTER:
        return None
    data = nl.attributes(found[4])
    (size,), (packets,) = _BE64.unpack(data[1]), _BE64.unpack(data[2])
    return CounterView(family, nl.text(found[2]), packets, size)


def _hook(family: str, chain: Found) -> Hook | None:
    """A chain's hook. A device that goes takes its hook with it, but not the chain
    (nft_netdev_event): then it is a hook without a device, which is none of ours."""
    if 4 not in chain:
        return None
    place = nl.attributes(chain[4])
    number = int.from_bytes(place[1], "big")
    names = {value: name for name, value in HOOKS[family].items()}
    policy = "accept" if 5 in chain and int.from_bytes(chain[5], "big") else "drop"
    device = nl.text(place[3]) if 3 in place else ""
    (priority,) = _S32.unpack(place[2])
    return Hook(names.get(number, str(number)), priority, policy, device)


def _same(wanted: NamedSet | None, found: Found) -> NamedSet:
    """The set that is wanted under this name, if the kernel has it so."""
    if wanted is None:
        return UNKNOWN_SET
    asked = nl.attributes(memoryview(set_attributes(wanted)))
    return wanted if all(_value(asked, k) == _value(found, k) for k in _IN_SETS) else UNKNOWN_SET


_IN_SETS = (3, 4, 5, 6, 7, 9, 11)
"""Flags, types and lengths of key and value, description, timeout."""
_DESCRIPTION = 9
_NUMBER = 8
"""The length of an attribute that is a number of 32 bits."""


def _value(found: Found, kind: int) -> bytes:
    data = bytes(found.get(kind, b""))
    if kind == _DESCRIPTION:
        # The kernel does not say which of its attributes are nested, which is in their types.
        return b"".join(_flat(memoryview(data)))
    return b"" if data == bytes(len(data)) else data


def _flat(data: memoryview) -> Iterator[bytes]:
    """Numbers of nested attributes, the size and a list of lengths."""
    for length, payload in _cut(data):
        yield from ([bytes(payload)] if length == _NUMBER else _flat(payload))


def _pairs(kind: NamedSet, listed: memoryview) -> Iterator[tuple[bytes, bytes]]:
    size = kind.key_length
    for _, element in _cut(listed):
        found = nl.attributes(element)
        key = bytes(nl.attributes(found[1])[1])[:size]
        if kind.interval:
            key += bytes(nl.attributes(found[10])[1])[:size]
        yield key, _data(nl.attributes(found[2])) if 2 in found else b""


def _cut(listed: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Each attribute of a list, in which all may be of one type: length and payload."""
    at, end = 0, len(listed)
    while at + 4 <= end:
        length = int.from_bytes(listed[at : at + 2], sys.byteorder)
        yield length, listed[at + 4 : at + length]
        at += length + 3 & ~3


def _data(found: Found) -> bytes:
    if 1 in found:
        return bytes(found[1])
    verdict = nl.attributes(found[2])
    (code,) = _S32.unpack(verdict[1])
    chain = f" {nl.text(verdict[2])}" if 2 in verdict else ""
    return f"{_VERDICTS.get(code, code)}{chain}".encode()
