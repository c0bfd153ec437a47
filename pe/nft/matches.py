"""Statements that decide whether a rule goes on: comparisons, ranges, sets, maps of verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from pe.nft import expression as x
from pe.nft import fields as f
from pe.nft.compiler import AnonymousSet, RuleCompiler, Statement
from pe.nft.fields import Field
from pe.nft.ranges import Bound, Member, bounds, merged, room
from pe.nft.types import padded

ANONYMOUS = "__set%d"
"""The name with which the kernel is asked to find one (nf_tables_set_alloc_name)."""
_FRAGMENT_HEADER = 44

Value: TypeAlias = int | str | IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Compare:
    """Go on only if a field compares so with a value."""

    field: Field
    operator: str
    value: bytes

    @property
    def words(self) -> str:
        operator = "" if self.operator == "==" else f"{self.operator} "
        return f"{self.field.words} {operator}{self.field.kind.words(self.value)}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.require(self.field.needs)
        rule.add(self.field.load(0))
        if self.field.mask:
            rule.add(x.masked_bytes(0, self.field.mask))
        rule.add(x.compare(0, self.operator, self.field.shifted(self.value)))
        rule.learn(self.field, self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Masked:
    """Go on only if some bits of a field compare so with a value; ``mask_words`` "": in hex."""

    field: Field
    mask: int
    operator: str
    value: int

    @property
    def words(self) -> str:
        names = self.field.kind.names
        mask, value = names.get(self.mask, f"{self.mask:#x}"), names.get(self.value, self.value)
        return f"{self.field.words} & {mask} {self.operator} {value}"

    def compile(self, rule: RuleCompiler) -> None:
        encode = self.field.kind.encode
        rule.require(self.field.needs)
        rule.add(self.field.load(0), x.masked_bytes(0, encode(self.mask)))
        rule.add(x.compare(0, self.operator, encode(self.value)))


@dataclass(frozen=True, slots=True)
class _NewConnection:
    """Go on only for the packets of connections that were not answered yet."""

    words: str = "ct state new"

    def compile(self, rule: RuleCompiler) -> None:
        new = f.CT_STATE.kind.encode("new")
        rule.add(f.CT_STATE.load(0), x.masked_bytes(0, new), x.compare(0, "!=", bytes(4)))


@dataclass(frozen=True, slots=True)
class _IsFragment:
    """Go on only for IPv6 packets with a fragment header."""

    words: str = "exthdr frag exists"

    def compile(self, rule: RuleCompiler) -> None:
        rule.require("ip6")
        rule.add(x.header_extension(_FRAGMENT_HEADER, 0, 1, 0, present=True), x.equal(0, b"\x01"))


@dataclass(frozen=True, slots=True)
class Prefix:
    """Go on only if an address lies in a prefix, or not; ``in_braces`` is how it is written."""

    field: Field
    prefix: IPv4Network | IPv6Network
    operator: str = "=="
    in_braces: bool = False

    @property
    def words(self) -> str:
        operator = "" if self.operator == "==" else f"{self.operator} "
        shown = f"{{ {self.prefix} }}" if self.in_braces else str(self.prefix)
        return f"{self.field.words} {operator}{shown}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.require(self.field.needs)
        first = self.prefix.network_address.packed
        size, rest = divmod(self.prefix.prefixlen, 8)
        if size and not rest:  # whole bytes are compared and no others loaded
            rule.add(self.field.load(0, size), x.compare(0, self.operator, first[:size]))
            return
        rule.add(self.field.load(0), x.masked_bytes(0, self.prefix.netmask.packed))
        rule.add(x.compare(0, self.operator, first))


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Go on only if a field is one of some values, or none of them."""

    field: Field
    values: tuple[bytes, ...]
    negated: bool = False

    @property
    def words(self) -> str:
        listed = ", ".join(map(self.field.kind.words, self.values))
        return f"{self.field.words} {'!= ' * self.negated}{{ {listed} }}"

    def compile(self, rule: RuleCompiler) -> None:
        if len(self.values) == 1:  # nft makes a comparison of it
            operator = "!=" if self.negated else "=="
            Compare(self.field, operator, self.values[0]).compile(rule)
            return
        rule.require(self.field.needs)
        elements = tuple(Bound(self.field.shifted(value)) for value in self.values)
        made = AnonymousSet(
            self.field.kind.name, elements, len(elements), interval=False, place=self.field.place
        )
        rule.add(self.field.load(0))
        if self.field.mask:
            rule.add(x.masked_bytes(0, self.field.mask))
        rule.add(x.member(ANONYMOUS, 0, set_id=rule.new_set(made), inverted=self.negated))


@dataclass(frozen=True, slots=True)
class Within:
    """Go on only if an address is in one of some ranges, or in none of them."""

    field: Field
    members: tuple[Member, ...]
    negated: bool = False

    @property
    def words(self) -> str:
        listed = ", ".join(map(str, self.members))
        return f"{self.field.words} {'!= ' * self.negated}{{ {listed} }}"

    def compile(self, rule: RuleCompiler) -> None:
        rule.require(self.field.needs)
        size, ranges = self.field.kind.size, merged(self.members)
        elements = tuple(bounds(ranges, size))
        made = AnonymousSet(
            self.field.kind.name, elements, room(ranges), interval=True, place=self.field.place
        )
        found = x.member(ANONYMOUS, 0, set_id=rule.new_set(made), inverted=self.negated)
        rule.add(self.field.load(0), found)


@dataclass(frozen=True, slots=True)
class InSet:
    """Go on only if these fields are in a named set, or are not."""

    fields: tuple[Field, ...]
    name: str
    negated: bool = False

    @property
    def words(self) -> str:
        return f"{_key_words(self.fields)} {'!= ' * self.negated}@{self.name}"

    def compile(self, rule: RuleCompiler) -> None:
        _load_key(self.fields, rule)
        rule.add(x.member(self.name, 0, inverted=self.negated))


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """Do what a map says for these fields."""

    fields: tuple[Field, ...]
    name: str

    @property
    def words(self) -> str:
        return f"{_key_words(self.fields)} vmap @{self.name}"

    def compile(self, rule: RuleCompiler) -> None:
        _load_key(self.fields, rule)
        rule.add(x.lookup_verdict(self.name, 0))


def _key_words(fields: Sequence[Field]) -> str:
    return " . ".join(part.words for part in fields)


def _load_key(fields: Sequence[Field], rule: RuleCompiler) -> None:
    for part in fields:
        rule.require(part.needs)
    at = 0
    for part in fields:
        rule.add(part.load(at))
        at += padded(part.kind.size) // 4


NEW_CONNECTION, IS_FRAGMENT = _NewConnection(), _IsFragment()


def equal(compared: Field, value: Value) -> Compare:
    """Go on only if a field is this."""
    return Compare(compared, "==", compared.kind.encode(value))


def compare(compared: Field, operator: str, value: int) -> Compare:
    """Go on only if a number compares so."""
    return Compare(compared, operator, compared.kind.encode(value))


def any_of(compared: Field, values: Iterable[Value]) -> AnyOf:
    """Go on only if a field is one of these."""
    return AnyOf(compared, tuple(map(compared.kind.encode, values)))


def within(compared: Field, members: Iterable[Member], *, negated: bool = False) -> Statement:
    """Go on only if an address is in one of these, or in none of them; they are written in the
    order of their words. Of a single one nft makes a comparison."""
    ordered = tuple(sorted(members, key=str))
    if len(ordered) == 1:
        only = ordered[0]
        if isinstance(only, IPv4Address | IPv6Address):
            return AnyOf(compared, (only.packed,), negated)
        if only.prefixlen:
            return Prefix(compared, only, "!=" if negated else "==", in_braces=True)
    return Within(compared, ordered, negated)


def in_set(name: str, *compared: Field, negated: bool = False) -> InSet:
    """Go on only if these fields are in a named set, or are not."""
    return InSet(compared, name, negated)


def verdict_map(name: str, *compared: Field) -> VerdictMap:
    """Do what a map says for these fields."""
    return VerdictMap(compared, name)
