"""Selectors: which tags a workload must carry to be in a group.

`env=prod and tier in (web, app) and not scope=pci`. A missing tag equals nothing, so
`scope!=pci` holds for a workload without `scope`; `has scope` asks for the tag itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.syntax import ENDPOINT_WORDS, KEYWORDS, Cursor, is_name

MAX_DEPTH = 40
"""Nesting beyond which a selector is refused: it bounds the recursion of everything below."""
MOST_TERMS = 256
"""Comparisons in one selector: each is looked at for each workload. `in (...)` is one."""

_VALUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,62}")

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Among:
    """`key in (values)`; with one value it is `key=value`."""

    key: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Has:
    """`has key`."""

    key: str


@dataclass(frozen=True, slots=True)
class Not:
    """`not item`; of one comparison it is `key!=value` or `key not in (values)`."""

    item: Selector


@dataclass(frozen=True, slots=True)
class Every:
    """`a and b`."""

    items: frozenset[Selector]


@dataclass(frozen=True, slots=True)
class Either:
    """`a or b`."""

    items: frozenset[Selector]


Selector = Among | Has | Not | Every | Either


def matches(selector: Selector, tags: Tags) -> bool:
    """Return whether a workload with `tags` is selected."""
    match selector:
        case Among(key, values):
            return tags.get(key) in values
        case Has(key):
            return key in tags
        case Not(item):
            return not matches(item, tags)
        case Every(items):
            return all(matches(item, tags) for item in items)
        case Either(items):
            return any(matches(item, tags) for item in items)


def text_of(selector: Selector) -> str:
    """Return the canonical text: equal for selectors that differ in spacing or order only."""
    match selector:
        case Among(key, values):
            return _comparison(key, "=", "in", values)
        case Has(key):
            return f"has {key}"
        case Not(Among(key, values)):
            return _comparison(key, "!=", "not in", values)
        case Not(item):
            return f"not {_grouped(item)}"
        case Every(items):
            return " and ".join(sorted(_grouped(item) for item in items))
        case Either(items):
            return " or ".join(sorted(_grouped(item) for item in items))


def _comparison(key: str, one: str, many: str, values: frozenset[str]) -> str:
    if len(values) == 1:
        return f"{key}{one}{next(iter(values))}"
    return f"{key} {many} ({', '.join(sorted(values))})"


def _grouped(selector: Selector) -> str:
    text = text_of(selector)
    return f"({text})" if isinstance(selector, Every | Either) else text


def negated(item: Selector) -> Selector:
    """`not item`, without a double negation."""
    return item.item if isinstance(item, Not) else Not(item)


def every(items: Iterable[Selector]) -> Selector:
    """Return all of `items`, flattened; one alone is itself. Raises ValueError when empty."""
    flat = frozenset(part for item in items for part in _parts(item, Every))
    return _only(flat) or Every(flat)


def either(items: Iterable[Selector]) -> Selector:
    """Return any of `items`, flattened; one alone is itself. Raises ValueError when empty."""
    flat = frozenset(part for item in items for part in _parts(item, Either))
    return _only(flat) or Either(flat)


def _parts(item: Selector, kind: type[Every] | type[Either]) -> Iterable[Selector]:
    return item.items if isinstance(item, kind) else (item,)


def _only(flat: frozenset[Selector]) -> Selector | None:
    if not flat:
        raise ValueError("a selector needs at least one term")
    return next(iter(flat)) if len(flat) == 1 else None


def parse_selector(text: str) -> Selector:
    """Read a whole selector; raises MalformedError with the column and a cure."""
    cursor = Cursor(text)
    selector = read_selector(cursor)
    cursor.finish("join terms with 'and' or 'or'")
    return selector


def read_selector(cursor: Cursor) -> Selector:
    """Read the longest selector that starts at the cursor (a sentence goes on after it)."""
    end = cursor.terms + MOST_TERMS
    selector = _disjunction(cursor, 0)
    if cursor.terms > end:
        cure = f"{MOST_TERMS} at most; write key in (a, b), or name parts as groups"
        raise cursor.fault("too many terms", cure)
    # The canonical text has parentheses that the written one may leave out (`a and b or c`), and
    # it has to be read again.
    if _levels(selector) > MAX_DEPTH:
        raise _too_deep(cursor)
    return selector


def _levels(selector: Selector) -> int:
    """Return how deeply the canonical text of a selector is nested."""
    match selector:
        case Not(Among()):
            return 0
        case Not(item):
            return 1 + _grouped_levels(item)
        case Every(items) | Either(items):
            return max(map(_grouped_levels, items))
    return 0


def _grouped_levels(selector: Selector) -> int:
    return _levels(selector) + isinstance(selector, Every | Either)


def _too_deep(cursor: Cursor) -> MalformedError:
    return cursor.fault("too deeply nested", f"at most {MAX_DEPTH} levels; name parts as groups")


def _disjunction(cursor: Cursor, depth: int) -> Selector:
    return either(_list(cursor, "or", lambda: _conjunction(cursor, depth)))


def _conjunction(cursor: Cursor, depth: int) -> Selector:
    return every(_list(cursor, "and", lambda: _term(cursor, depth)))


def _list(cursor: Cursor, word: str, item: Callable[[], Selector]) -> list[Selector]:
    found = [item()]
    while cursor.accept(word):
        found.append(item())
    return found


def _term(cursor: Cursor, depth: int) -> Selector:
    if depth > MAX_DEPTH:
        raise _too_deep(cursor)
    if cursor.accept("not"):
        return negated(_term(cursor, depth + 1))
    if cursor.accept("("):
        inner = _disjunction(cursor, depth + 1)
        cursor.expect(")", "close the parenthesis")
        return inner
    if cursor.accept("has"):
        return Has(_key(cursor))
    return _compare(_key(cursor), cursor)


def _key(cursor: Cursor) -> str:
    cursor.terms += 1
    if cursor.peek().is_word and not is_name(cursor.peek().text):
        raise cursor.fault("expected a tag", "a tag key starts with a-z and holds a-z 0-9 _ . -")
    return cursor.word("a tag", "write a term such as env=prod").text


def _compare(key: str, cursor: Cursor) -> Selector:
    if cursor.accept("="):
        return Among(key, frozenset((_value(cursor),)))
    if cursor.accept("!="):
        return Not(Among(key, frozenset((_value(cursor),))))
    if cursor.accept("in"):
        return Among(key, _values(cursor))
    if cursor.accept("not"):
        cursor.expect("in", f"write {key} not in (a, b)")
        return Not(Among(key, _values(cursor)))
    cure = "write a single =" if cursor.peek().text == "==" else f"write {key}=VALUE or has {key}"
    raise cursor.fault(f"expected =, != or in after {key!r}", cure)


def _values(cursor: Cursor) -> frozenset[str]:
    cursor.expect("(", "write the values in parentheses: (web, app)")
    values = {_value(cursor)}
    while cursor.accept(","):
        values.add(_value(cursor))
    cursor.expect(")", "separate values with commas and close the parenthesis")
    return frozenset(values)


def _value(cursor: Cursor) -> str:
    cure = "1 to 63 letters, digits and _ . : / -"
    if not _VALUE.fullmatch(cursor.peek().text):
        raise cursor.fault("expected a value", cure)
    return cursor.word("a value", cure).text


def tag_fault(key: str, value: str) -> str:
    """Return why `key=value` cannot be a tag, or "" when it can."""
    if key in KEYWORDS or key in ENDPOINT_WORDS:
        return f"{key!r} is a word of the policy language"
    if not is_name(key):
        return f"tag key {key!r} must start with a-z and hold a-z 0-9 _ . - (63 at most)"
    if not _VALUE.fullmatch(value):
        return f"tag value {value!r} must be 1 to 63 letters, digits and _ . : / -"
    return ""
