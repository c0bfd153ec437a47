"""Operations as text that nft would read: for golden files, and for the errors that name one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pe.nft.diff import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    DeleteElements,
    Operation,
    Simple,
)
from pe.nft.model import Hook, NamedSet, Rule, TableId
from pe.nft.types import TYPES, key_words

ELEMENTS_PER_LINE = 500
_TYPEOF: Mapping[tuple[str, ...], str] = {("zone",): "typeof ct zone"}
"""What nft has no name of a type for."""

_FILTER = ("inet", "arp")
"""Families in which the priority 0 has a name."""


def text(operations: Iterable[Operation]) -> str:
    """All of them, a line each."""
    return "".join(f"{line}\n" for operation in operations for line in lines(operation))


def lines(operation: Operation) -> Iterator[str]:
    """One operation; of elements so many lines that people can read them."""
    match operation:
        case Simple(verb, what, table, name):
            yield f"{verb} {what} {_at(table)} {name}".strip()
        case AddSet(table, name, made):
            keyword = "map" if made.value else "set"
            yield f"add {keyword} {_at(table)} {name} {{ {declaration(made)}; }}"
        case AddChain(table, name, hook):
            place = f" {{ {_hook(table, hook)} }}" if hook else ""
            yield f"add chain {_at(table)} {name}{place}"
        case AddRule(table, chain, rule):
            yield f"add rule {_at(table)} {chain} {rule_words(rule)}"
        case AddElements(table, name, made, elements):
            yield from _elements("add", table, name, element_words(made, elements))
        case DeleteElements(table, name, made, keys):
            yield from _elements("delete", table, name, (_key(made, key) for key in keys))


def rule_words(rule: Rule) -> str:
    """A rule as one line."""
    return " ".join(statement.words for statement in rule)


def declaration(made: NamedSet) -> str:
    """What a set or a map is."""
    key = _TYPEOF.get(made.fields) or "type " + " . ".join(made.fields)
    words = [f"{key} : {made.value}" if made.value else key]
    if made.interval:
        words.append("flags interval")
    if made.is_dynamic:
        words += [f"size {made.size}", "flags dynamic" + (",timeout" if made.timeout else "")]
        words += [f"timeout {made.timeout}s"] if made.timeout else []
    return "; ".join(words)


def element_words(made: NamedSet, elements: Mapping[bytes, bytes]) -> Iterator[str]:
    """Each element, with what a map says for it."""
    for key, value in elements.items():
        yield _key(made, key) + (f" : {_value(made, value)}" if made.value else "")


def _value(made: NamedSet, value: bytes) -> str:
    return value.decode() if made.is_verdicts else TYPES[made.value].words(value)


def _key(made: NamedSet, key: bytes) -> str:
    if not made.interval:
        return key_words(made.fields, key)
    first, last = key[: made.key_length], key[made.key_length :]
    return f"{key_words(made.fields, first)} - {key_words(made.fields, last)}"


def _elements(verb: str, table: TableId, name: str, listed: Iterable[str]) -> Iterator[str]:
    ordered = sorted(listed)
    for start in range(0, len(ordered), ELEMENTS_PER_LINE):
        part = ", ".join(ordered[start : start + ELEMENTS_PER_LINE])
        yield f"{verb} element {_at(table)} {name} {{ {part} }}"


def _at(table: TableId) -> str:
    return f"{table.family} {table.name}"


def _hook(table: TableId, hook: Hook) -> str:
    device = f" device {TYPES['ifname'].words(hook.device.encode())}" if hook.device else ""
    priority = "filter" if table.family in _FILTER and hook.priority == 0 else hook.priority
    kind = f"type filter hook {hook.name}{device} priority {priority};"
    return f"{kind} policy {hook.policy};"
