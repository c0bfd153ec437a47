"""Operations as messages of one nfnetlink batch. Pure.

What nft (1.0.6) keeps for itself with a set (NFTA_SET_USERDATA) is sent as nft sends it: without
the order of a key's bytes its ``nft list`` prints nonsense, or aborts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pe.netlink.codec import (
    HEADER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    attribute,
    nested,
)
from pe.nft.compiler import AnonymousSet, RuleCompiler
from pe.nft.diff import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    DeleteElements,
    Operation,
    Simple,
)
from pe.nft.expression import CT, be32, verdict_data
from pe.nft.matches import ANONYMOUS
from pe.nft.model import Hook, NamedSet, TableId
from pe.nft.ranges import Bound
from pe.nft.types import TYPES

SUBSYSTEM = 10
FAMILIES = {"inet": 1, "arp": 3, "netdev": 5}
NEW_TABLE, DEL_TABLE, NEW_CHAIN, DEL_CHAIN, NEW_RULE, DEL_RULE = 0, 2, 3, 5, 6, 8
NEW_SET, DEL_SET, NEW_ELEMENT, DEL_ELEMENT, NEW_OBJECT, DEL_OBJECT = 9, 11, 12, 14, 18, 20
BATCH_BEGIN, BATCH_END = 16, 17
LIST_BYTES = 60_000
"""Of one list of elements: the length of an attribute has 16 bits."""
HOOKS = {
    "inet": {"prerouting": 0, "input": 1, "forward": 2, "output": 3},
    "arp": {"input": 0, "output": 1},
    "netdev": {"ingress": 0, "egress": 1},
}
_COUNTER = 1
_ANONYMOUS, _CONSTANT, _INTERVAL, _MAP, _TIMEOUT, _EVAL, _CONCAT = 1, 2, 4, 8, 0x10, 0x20, 0x80
_VERDICT_TYPE, _VERDICT_BYTES = 0xFFFFFF00, 16
_ELEMENT_END = 1
_KEY_ORDER, _DATA_ORDER, _MERGED, _KEY_EXPRESSION, _DATA_INTERVAL = 0, 1, 2, 3, 6
"""NFTNL_UDATA_SET_*: what nft keeps with a set."""
_OPEN_RANGE = b"\x01\x04\x01\x00\x00\x00"
"""Userdata of an element: a range that ends with the keys (NFTNL_SET_ELEM_F_INTERVAL_OPEN)."""
_PAYLOAD_EXPRESSION, _CT_EXPRESSION, _CONCATENATION = 7, 12, 13
"""EXPR_PAYLOAD, EXPR_CT and EXPR_CONCAT of nft's enum expr_types."""


class Encoder:
    """Messages of one transaction. Sets are numbered: a rule finds one without a name by it."""

    def __init__(self) -> None:
        self._sets = 0

    def messages(self, operation: Operation) -> Iterator[bytes]:
        """The messages of one operation, in their order."""
        match operation:
            case Simple():
                yield _simple(operation)
            case AddSet(table, name, made):
                yield self._set(table, name, made)
            case AddChain(table, name, hook):
                yield _chain(table, name, hook)
            case AddRule(table, chain, _):
                yield from self._rule(table, chain, operation)
            case AddElements(table, name, made, elements):
                yield from element_messages(NEW_ELEMENT, table, name, _pairs(made, elements))
            case DeleteElements(table, name, made, keys):
                yield from element_messages(DEL_ELEMENT, table, name, _keys(made, keys))

    def _set(self, table: TableId, name: str, made: NamedSet) -> bytes:
        self._sets += 1
        found = _named(table, 2, name) + set_attributes(made) + be32(10, self._sets)
        return _message(NEW_SET, table, found + attribute(13, _userdata(made)), NLM_F_CREATE)

    def _rule(self, table: TableId, chain: str, operation: AddRule) -> Iterator[bytes]:
        compiler = RuleCompiler(table.family, self._sets + 1)
        for statement in operation.rule:
            statement.compile(compiler)
        for made in compiler.sets:
            self._sets += 1
            yield _anonymous_set(table, self._sets, made)
            listed = [_bound(bound) for bound in made.elements]
            yield from element_messages(NEW_ELEMENT, table, ANONYMOUS, listed, set_id=self._sets)
        body = nested(4, *(expression.wire for expression in compiler.expressions))
        flags = NLM_F_CREATE | NLM_F_APPEND
        yield _message(NEW_RULE, table, _named(table, 2, chain) + body, flags)


def messages(operations: Iterable[Operation]) -> tuple[list[bytes], list[Operation]]:
    """The messages of a transaction, and of which operation each is."""
    encoder = Encoder()
    found: list[bytes] = []
    whose: list[Operation] = []
    for operation in operations:
        made = list(encoder.messages(operation))
        found += made
        whose += [operation] * len(made)
    return found, whose


def batch(body: Sequence[bytes], generation: int | None = None) -> bytes:
    """One transaction; refused with ERESTART unless the ruleset is still of this generation.

    Numbers the messages from 1 on; only the last one before the end asks for an answer.
    """
    parts = [_limit(BATCH_BEGIN, b"" if generation is None else be32(1, generation))]
    for number, message in enumerate(body, 1):
        flags = NLM_F_REQUEST | (NLM_F_ACK if number == len(body) else 0)
        length, kind, own, _, _ = HEADER.unpack_from(message)
        parts.append(HEADER.pack(length, kind, own | flags, number, 0) + message[16:])
    parts.append(_limit(BATCH_END, b""))
    return b"".join(parts)


def _limit(kind: int, attributes: bytes) -> bytes:
    head = HEADER.pack(20 + len(attributes), kind, NLM_F_REQUEST, 0, 0)
    return head + bytes((0, 0, 0, SUBSYSTEM)) + attributes


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _named(table: TableId, kind: int, name: str) -> bytes:
    return attribute(1, _text(table.name)) + attribute(kind, _text(name))


def _message(kind: int, table: TableId, attributes: bytes, flags: int = 0) -> bytes:
    head = HEADER.pack(20 + len(attributes), SUBSYSTEM << 8 | kind, flags, 0, 0)
    return head + bytes((FAMILIES[table.family], 0, 0, 0)) + attributes


_SIMPLE = {
    ("add", "counter"): (NEW_OBJECT, 2),
    ("delete", "counter"): (DEL_OBJECT, 2),
    ("delete", "set"): (DEL_SET, 2),
    ("delete", "map"): (DEL_SET, 2),
    ("flush", "chain"): (DEL_RULE, 2),
    ("flush", "set"): (DEL_ELEMENT, 2),
    ("flush", "map"): (DEL_ELEMENT, 2),
    ("delete", "chain"): (DEL_CHAIN, 3),
}
"""Kind of message, and the attribute of the name."""


def _simple(operation: Simple) -> bytes:
    table = operation.table
    if operation.what == "table":
        kind, flags = (NEW_TABLE, NLM_F_CREATE) if operation.verb == "add" else (DEL_TABLE, 0)
        return _message(kind, table, attribute(1, _text(table.name)), flags)
    kind, name = _SIMPLE[operation.verb, operation.what]
    found = _named(table, name, operation.name)
    if operation.what == "counter":
        found += be32(3, _COUNTER)
    if kind == NEW_OBJECT:
        return _message(kind, table, found + nested(4), NLM_F_CREATE)
    return _message(kind, table, found)


def _chain(table: TableId, name: str, hook: Hook | None) -> bytes:
    found = _named(table, 3, name)
    if hook:
        place = be32(1, HOOKS[table.family][hook.name]) + be32(2, hook.priority)
        if hook.device:
            place += attribute(3, _text(hook.device))
        found += nested(4, place) + be32(5, int(hook.policy == "accept"))
        found += attribute(7, b"filter\0")
    return _message(NEW_CHAIN, table, found, NLM_F_CREATE)


def set_attributes(made: NamedSet) -> bytes:
    """What the kernel is given of a set, and dumps of it."""
    flags = (_MAP if made.value else 0) | (_INTERVAL if made.interval else 0)
    flags |= _CONCAT if made.interval and len(made.fields) > 1 else 0
    flags |= (_EVAL if made.is_dynamic else 0) | (_TIMEOUT if made.timeout else 0)
    found = be32(3, flags) + be32(4, made.key_type) + be32(5, made.key_length)
    if made.is_verdicts:
        found += be32(6, _VERDICT_TYPE) + be32(7, _VERDICT_BYTES)
    elif made.value:
        value = TYPES[made.value]
        found += be32(6, value.number) + be32(7, value.size)
    if made.timeout:
        found += attribute(11, (made.timeout * 1000).to_bytes(8, "big"))
    return found + _described(made)


def _described(made: NamedSet) -> bytes:
    """NFTA_SET_DESC: its size if it is limited, and the fields of a range's key."""
    parts = [be32(1, made.size)] if made.size else []
    if made.interval and len(made.fields) > 1:
        parts.append(nested(2, *(nested(1, be32(1, size)) for size in made.sizes)))
    return nested(9, *parts)


def _kept(kind: int, data: bytes) -> bytes:
    """A piece of userdata: type, length and bytes."""
    return bytes((kind, len(data))) + data


def _kept_number(kind: int, number: int) -> bytes:
    return _kept(kind, number.to_bytes(4, "little"))


def _userdata(made: NamedSet) -> bytes:
    found = _kept_number(_KEY_ORDER, made.order)
    if made.value:
        found += _kept_number(_DATA_ORDER, 0 if made.is_verdicts else TYPES[made.value].order)
    if len(made.fields) > 1:
        inner = _kept_number(0, _CONCATENATION) + _kept(1, b"")
        found += _kept(_KEY_EXPRESSION, inner)
    if made.fields == ("zone",):  # nft has no name of a type for it, but lists it as `ct zone`
        either_way = _kept_number(0, CT["zone"]) + _kept_number(1, 0xFFFFFFFF)
        inner = _kept_number(0, _CT_EXPRESSION) + _kept(1, either_way)
        found += _kept(_KEY_EXPRESSION, inner)
    if made.value:
        found += _kept_number(_DATA_INTERVAL, 0)
    return found


def _anonymous_set(table: TableId, number: int, made: AnonymousSet) -> bytes:
    kind = TYPES[made.kind]
    flags = _ANONYMOUS | _CONSTANT | (_INTERVAL if made.interval else 0)
    found = _named(table, 2, ANONYMOUS) + be32(3, flags)
    found += be32(4, kind.number) + be32(5, kind.size) + be32(10, number)
    kept = _kept_number(_KEY_ORDER, kind.order)
    if made.interval:
        kept += _kept_number(_MERGED, 1)
    if made.place and made.place.header:
        place = _kept_number(0, made.place.header) + _kept_number(1, made.place.number)
        inner = _kept_number(0, _PAYLOAD_EXPRESSION) + _kept(1, place)
        kept += _kept(_KEY_EXPRESSION, inner)
    found += nested(9, be32(1, made.size)) + attribute(13, kept)
    return _message(NEW_SET, table, found, NLM_F_CREATE)


def _bound(bound: Bound) -> bytes:
    found = be32(3, _ELEMENT_END) if bound.end else b""
    found += nested(1, attribute(1, bound.key))
    return nested(1, found + (attribute(6, _OPEN_RANGE) if bound.open else b""))


def element_messages(
    kind: int, table: TableId, name: str, elements: Iterable[bytes], *, set_id: int = 0
) -> Iterator[bytes]:
    """Messages that add or delete elements, each in its own attribute already."""
    listed = list(elements)
    if not listed:
        return
    head = _named(table, 2, name) + (be32(4, set_id) if set_id else b"")
    flags = NLM_F_CREATE if kind == NEW_ELEMENT else 0
    step = max(1, LIST_BYTES // max(map(len, listed)))
    for start in range(0, len(listed), step):
        part = nested(3, *listed[start : start + step])
        yield _message(kind, table, head + part, flags)


class _Frame:
    """The bytes around a key of a set; they are the same for all of its elements."""

    def __init__(self, made: NamedSet) -> None:
        self.size, self.interval = made.key_length, made.interval
        key = attribute(1, bytes(self.size))
        self.first = nested(1, key)[: -(self.size + 3 & ~3)]
        self.last = nested(10, key)[: -(self.size + 3 & ~3)]
        self.pad = bytes(-self.size % 4)

    def key(self, key: bytes) -> bytes:
        if self.interval:
            size = self.size
            return self.first + key[:size] + self.last + key[size:]
        return self.first + key + self.pad

    def element(self, *more: bytes) -> bytes:
        """The head of an element of which this follows on the key: all are of one length."""
        some = bytes(2 * self.size if self.interval else self.size)
        return nested(1, self.key(some), *more)[:4]


def _keys(made: NamedSet, keys: Iterable[bytes]) -> Iterator[bytes]:
    frame = _Frame(made)
    head = frame.element()
    return (head + frame.key(key) for key in keys)


def _pairs(made: NamedSet, pairs: Mapping[bytes, bytes]) -> Iterator[bytes]:
    if not made.value:
        yield from _keys(made, pairs)
        return
    frame = _Frame(made)
    if made.is_verdicts:
        for key, words in pairs.items():
            verdict, _, chain = words.decode().partition(" ")
            yield nested(1, frame.key(key), verdict_data(2, verdict, chain))
        return
    value_head = nested(2, attribute(1, bytes(4)))[:-4]
    head = frame.element(value_head, bytes(4))
    if frame.interval:
        for key, value in pairs.items():
            yield head + frame.key(key) + value_head + value
        return
    # Most elements by far: nothing but the key and the value is put together for each.
    before, between = head + frame.first, frame.pad + value_head
    for key, value in pairs.items():
        yield before + key + between + value
