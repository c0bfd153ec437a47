"""Sentences: `allow tier=web to tier=app on tcp/443 in vrf red`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from controlplane.policy.language.problem import nearest
from controlplane.policy.language.rule import Action
from controlplane.policy.language.selector import Selector, read_selector
from controlplane.policy.language.syntax import Cursor, is_name

Term = str | Selector
"""An endpoint as written: a word (`any`, a group, a network set) or a selector."""

_T = TypeVar("_T")

SHAPE = "allow|deny|log|pass FROM to TO [on SERVICES] [in vrf NAMES]"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A rule as written; names are not resolved yet."""

    action: Action
    sources: tuple[Term, ...]
    destinations: tuple[Term, ...]
    services: tuple[str, ...] = ("any",)
    vrfs: tuple[str, ...] = ()


def parse_sentence(text: str) -> Sentence:
    """Read one sentence; raises MalformedError with the column and a cure."""
    cursor = Cursor(text)
    action = _action(cursor)
    sources = _several(cursor, _term)
    cursor.expect("to", f"a rule reads: {SHAPE}")
    destinations = _several(cursor, _term)
    services = _several(cursor, _service) if cursor.accept("on") else ("any",)
    vrfs = _vrfs(cursor)
    cursor.finish(f"a rule reads: {SHAPE}")
    return Sentence(action, sources, destinations, services, vrfs)


def parse_terms(text: str) -> tuple[Term, ...]:
    """Read the `from` or `to` of a structured rule: one endpoint or several, by commas."""
    cursor = Cursor(text)
    terms = _several(cursor, _term)
    cursor.finish("separate endpoints with commas")
    return terms


def _action(cursor: Cursor) -> Action:
    known = [action.value for action in Action]
    if cursor.peek().text not in known:
        cure = nearest(cursor.peek().text, known, otherwise=f"a rule reads: {SHAPE}")
        raise cursor.fault("expected allow, deny, log or pass", cure)
    return Action(cursor.take().text)


def _several(cursor: Cursor, item: Callable[[Cursor], _T]) -> tuple[_T, ...]:
    found = [item(cursor)]
    while cursor.accept(","):
        found.append(item(cursor))
    return tuple(found)


def _term(cursor: Cursor) -> Term:
    first, second = cursor.peek(), cursor.peek(1).text
    if first.text[:1].isdigit() and ("." in first.text or ":" in first.text):
        raise cursor.fault("an address is no endpoint", "declare a network set and use its name")
    if first.text in ("(", "not", "has") or second in ("=", "!=", "==", "not"):
        return read_selector(cursor)
    if second == "in" and cursor.peek(2).text == "(":
        return read_selector(cursor)
    return _endpoint_word(cursor)


def _endpoint_word(cursor: Cursor) -> str:
    word = cursor.peek().text
    if word not in ("any", "workloads", "outside") and not is_name(word):
        cure = f"a rule reads: {SHAPE}"
        raise cursor.fault("expected a group, a network set or a selector", cure)
    return cursor.take().text


def _service(cursor: Cursor) -> str:
    return cursor.word("a service", "write tcp/443, icmp/echo-request or any").text


def _vrfs(cursor: Cursor) -> tuple[str, ...]:
    if not cursor.accept("in"):
        return ()
    cursor.expect("vrf", "write: in vrf NAME")
    return _several(cursor, lambda c: c.word("the name of a VRF", "write: in vrf NAME").text)
