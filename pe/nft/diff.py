"""From one state of our table to another: messages of one nfnetlink batch. Pure.

The kernel takes a batch as a whole and switches to it at once (nf_tables_commit): every packet is
judged by the state before or by the state after, whatever the size of the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pe.netlink.codec import (
    HEADER,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    attribute,
    nested,
)
from pe.nft.expression import be32, verdict_data
from pe.nft.model import Chain, Map, Program
from pe.policy.elements import Change, Elements, difference
from pe.policy.program import HOOKS, TABLE

SUBSYSTEM = 10
INET = 1
NEW_TABLE, DEL_TABLE, NEW_CHAIN, DEL_CHAIN, NEW_RULE, DEL_RULE = 0, 2, 3, 5, 6, 8
NEW_SET, DEL_SET, NEW_ELEMENT, DEL_ELEMENT, NEW_OBJECT, DEL_OBJECT = 9, 11, 12, 14, 18, 20
BATCH_BEGIN, BATCH_END = 16, 17
_MAP, _INTERVAL, _CONCAT = 0x8, 0x4, 0x80
_VERDICT, _MARK = 0xFFFFFF00, 19
_COUNTER = 1
LIST_BYTES = 60_000
"""Of one list of elements: the length of an attribute has 16 bits."""


@dataclass(frozen=True, slots=True)
class Names:
    """What our table holds, by name."""

    chains: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class State:
    """A program and the elements of its maps."""

    program: Program = field(default_factory=Program)
    elements: Elements = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """What it holds."""
        program = self.program
        return Names(frozenset(program.chains), frozenset(program.maps), program.counters)


def change(old: State, new: State) -> list[bytes]:
    """Messages from a known state to another; none if they are equal."""
    if not new.program.chains:
        return [_named(DEL_TABLE)] if old.program.chains else []
    if old.program == new.program:
        return elements(new.program, difference(old.elements, new.elements))
    return list(_Rewrite(old, new).messages())


def rebuild(present: Names | None, new: State) -> list[bytes]:
    """Messages from a table that holds anything under these names (None: no table). Everything is
    deleted and made anew but for the counters, which go on counting."""
    if not new.program.chains:
        return [_named(DEL_TABLE)] if present is not None else []
    return list(_Rewrite(None, new, present or Names()).messages())


class _Rewrite:
    """A change of the program. The order of its parts is that of the kernel's references."""

    def __init__(self, old: State | None, new: State, present: Names = Names()) -> None:
        self.new = new.program
        self.present = old.names if old else present
        chains = old.program.chains if old else {}
        maps = old.program.maps if old else {}
        self.kept_maps = {name for name, kind in self.new.maps.items() if maps.get(name) == kind}
        self.kept_chains = {n for n, c in self.new.chains.items() if chains.get(n) == c}
        # Names alone say nothing about hooks: then chains are made anew, else only refilled.
        self.same_hooks = {
            n
            for n in self.new.chains.keys() & chains.keys()
            if chains[n].hook == self.new.chains[n].hook
        }
        # A chain's rules refer to maps: when one is remade, so are all rules (they are few).
        if any(name in self.present.maps for name in self.new.maps.keys() - self.kept_maps):
            self.kept_chains = set()
        held = {n: e for n, e in old.elements.items() if n in self.kept_maps} if old else {}
        self.elements = difference(held, new.elements)

    def messages(self) -> Iterator[bytes]:
        yield _named(NEW_TABLE)
        for name in sorted(self.new.counters - self.present.counters):
            yield _object(NEW_OBJECT, name)
        for name in sorted(self.present.chains - self.kept_chains):
            yield _named(DEL_RULE, attribute(2, _text(name)))
        for name in sorted(self.present.maps - self.kept_maps):
            yield _named(DEL_SET, attribute(2, _text(name)))
        yield from elements(self.new, {n: (gone, {}) for n, (gone, _) in self.elements.items()})
        for name in sorted(self.present.chains - self.same_hooks):
            yield _named(DEL_CHAIN, attribute(3, _text(name)))
        for name in sorted(self.new.chains.keys() - self.same_hooks):
            yield _chain(name, self.new.chains[name])
        for number, (name, kind) in enumerate(sorted(self.new.maps.items())):
            if name not in self.kept_maps:
                yield _map(number + 1, name, kind)
        yield from elements(self.new, {n: ((), put) for n, (_, put) in self.elements.items()})
        for name, chain in sorted(self.new.chains.items()):
            if name not in self.kept_chains:
                yield from _rules(name, chain)
        for name in sorted(self.present.counters - self.new.counters):
            yield _object(DEL_OBJECT, name)


def elements(program: Program, changes: Change) -> list[bytes]:
    """Messages that delete and add elements."""
    deleted: list[bytes] = []
    added: list[bytes] = []
    for name, (gone, put) in changes.items():
        kind = program.maps[name]
        deleted += _element_messages(DEL_ELEMENT, name, [*_keys(kind, gone)])
        added += _element_messages(NEW_ELEMENT, name, [*_pairs(kind, put)])
    return deleted + added


def batch(messages: Iterable[bytes], generation: int | None = None) -> bytes:
    """One transaction; refused with ERESTART unless the ruleset is still of this generation.

    Numbers the messages from 1 on; only the last one before the end asks for an answer.
    """
    body = list(messages)
    parts = [_bound(BATCH_BEGIN, b"" if generation is None else be32(1, generation))]
    for number, message in enumerate(body, 1):
        flags = NLM_F_REQUEST | (NLM_F_ACK if number == len(body) else 0)
        length, kind, own, _, _ = HEADER.unpack_from(message)
        parts.append(HEADER.pack(length, kind, own | flags, number, 0) + message[16:])
    parts.append(_bound(BATCH_END, b""))
    return b"".join(parts)


def _bound(kind: int, attributes: bytes) -> bytes:
    head = HEADER.pack(20 + len(attributes), kind, NLM_F_REQUEST, 0, 0)
    return head + bytes((0, 0, 0, SUBSYSTEM)) + attributes


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _message(kind: int, attributes: bytes, flags: int = 0) -> bytes:
    head = HEADER.pack(20 + len(attributes), SUBSYSTEM << 8 | kind, flags, 0, 0)
    return head + bytes((INET, 0, 0, 0)) + attributes


def _named(kind: int, attributes: bytes = b"") -> bytes:
    """A message about our table, or about something in it."""
    flags = NLM_F_CREATE if kind == NEW_TABLE else 0
    return _message(kind, attribute(1, _text(TABLE)) + attributes, flags)


def _object(kind: int, name: str) -> bytes:
    found = attribute(1, _text(TABLE)) + attribute(2, _text(name)) + be32(3, _COUNTER)
    return _message(kind, found + (nested(4) if kind == NEW_OBJECT else b""), NLM_F_CREATE)


def _chain(name: str, chain: Chain) -> bytes:
    found = attribute(1, _text(TABLE)) + attribute(3, _text(name))
    if chain.hook:
        hook, priority = HOOKS[chain.hook]
        found += nested(4, be32(1, hook), be32(2, priority))
        found += be32(5, 1) + attribute(7, b"filter\0")
    return _message(NEW_CHAIN, found, NLM_F_CREATE)


def _rules(name: str, chain: Chain) -> Iterator[bytes]:
    head = attribute(1, _text(TABLE)) + attribute(2, _text(name))
    for rule in chain.rules:
        body = head + nested(4, *(expression.wire for expression in rule))
        yield _message(NEW_RULE, body, NLM_F_CREATE | NLM_F_APPEND)


def _map(number: int, name: str, kind: Map) -> bytes:
    concatenated = len(kind.fields) > 1
    flags = _MAP | (_INTERVAL if kind.interval else 0) | (_CONCAT if concatenated else 0)
    found = attribute(1, _text(TABLE)) + attribute(2, _text(name)) + be32(3, flags)
    found += be32(4, kind.key_type) + be32(5, kind.key_length)
    found += be32(6, _VERDICT if kind.verdicts else _MARK) + be32(7, 0 if kind.verdicts else 4)
    if concatenated:
        sizes = [nested(1, be32(1, size)) for size in kind.sizes]
        found += nested(9, nested(2, *sizes))
    return _message(NEW_SET, found + be32(10, number), NLM_F_CREATE)


def _element_messages(kind: int, name: str, listed: list[bytes]) -> Iterator[bytes]:
    if not listed:
        return
    head = attribute(1, _text(TABLE)) + attribute(2, _text(name))
    flags = NLM_F_CREATE if kind == NEW_ELEMENT else 0
    step = max(1, LIST_BYTES // max(map(len, listed)))
    for start in range(0, len(listed), step):
        part = nested(3, *listed[start : start + step])
        yield _message(kind, head + part, flags)


class _Frame:
    """The bytes around a key of a map; they are the same for all of its elements."""

    def __init__(self, kind: Map) -> None:
        self.size, self.interval = kind.key_length, kind.interval
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


def _keys(kind: Map, keys: Iterable[bytes]) -> Iterator[bytes]:
    frame = _Frame(kind)
    head = frame.element()
    return (head + frame.key(key) for key in keys)


def _pairs(kind: Map, pairs: Mapping[bytes, bytes]) -> Iterator[bytes]:
    frame = _Frame(kind)
    if kind.verdicts:
        for key, chain in pairs.items():
            yield nested(1, frame.key(key), verdict_data(2, "goto", chain.decode()))
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
