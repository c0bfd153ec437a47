"""What the rule numbers in verdicts stood for when the verdict was given.

A rule keeps its number over revisions for as long as it means the same, but its id may be another
one (`application/20` after a rule was put before it), and the numbers of the defaults are those of
every revision. So the names of a number are kept with the time since which the kernel has them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from controlplane.model.verdict import DEFAULT_IDS
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.rule import Rule

MOST_TERMS = 8
"""Revisions of a slot, one after the other, whose names are kept for late records."""
_NEVER = float("inf")


class RuleName(NamedTuple):
    """A rule as it stood: `revision` is the beginning of the digest of its revision, "" for none;
    `meaning` as `meaning_of`, empty for a default."""

    id: str
    revision: str = ""
    meaning: bytes = b""


NameRule = Callable[[int, float], RuleName]
"""The rule behind a number, as of a time (Unix time)."""


def by_number(number: int, at: float) -> RuleName:
    """Name a rule of which nothing else is known."""
    del at
    return RuleName(f"number {number}")


def meaning_of(rule: Rule) -> bytes:
    """Return what is equal for rules that mean the same under any id and order."""
    return blake2b(rule.meaning.encode(), digest_size=8).digest()


def meanings_of(policy: Policy) -> dict[str, bytes]:
    """Return the meanings by id."""
    return {rule.id: meaning_of(rule) for rule in policy.rules}


class Term:
    """The time during which a slot held one revision; it has not begun while the kernel does not
    hold the tables."""

    def __init__(self, compiler: IncrementalCompiler | None) -> None:
        self.since = _NEVER
        self._rules = compiler.numbered_rules if compiler is not None else None
        self._by_number: dict[int, Rule] | None = None
        self._names: dict[int, RuleName] = {}
        self._number = _number(compiler)
        self.revision = f"{self._number:08x}" if self._number else ""

    def is_of(self, compiler: IncrementalCompiler | None) -> bool:
        """Return whether the slot held this revision, or nothing as well."""
        return (self._rules is None) is (compiler is None) and self._number == _number(compiler)

    def begin(self, at: float) -> None:
        """Note since when the kernel has held these tables."""
        self.since = at

    def name(self, number: int) -> RuleName | None:
        """Return the rule of a number; None where it has none in this revision."""
        found = self._names.get(number)
        if found is None and (found := self._found(number)) is not None:
            self._names[number] = found
        return found

    def _found(self, number: int) -> RuleName | None:
        if self._rules is None:
            return None
        if number in DEFAULT_IDS:
            return RuleName(DEFAULT_IDS[number], self.revision)
        if self._by_number is None:
            self._by_number = dict(self._rules)
        rule = self._by_number.get(number)
        return RuleName(rule.id, self.revision, meaning_of(rule)) if rule else None


class RuleNames:
    """Of one slot."""

    def __init__(self) -> None:
        self._terms: deque[Term] = deque(maxlen=MOST_TERMS)

    def follow(self, compiler: IncrementalCompiler | None) -> Term | None:
        """Take in the tables that the kernel should hold; return the term if it is a new one."""
        if self._terms[-1].is_of(compiler) if self._terms else compiler is None:
            return None  # asked in each turn of the node, and hardly ever anything else
        term = Term(compiler)
        self._terms.append(term)
        return term

    def set_back(self, now: float) -> None:
        """Have no term begin in the future: the clock was set back."""
        for term in self._terms:
            if now < term.since < _NEVER:
                term.since = 0.0

    def at(self, number: int, when: float) -> RuleName:
        """Return what a number stood for. A number that the revision of that time does not have
        comes from tables that the kernel took a moment before, or has still."""
        for term in reversed(self._terms):
            if term.since <= when and (found := term.name(number)) is not None:
                return found
            if term.since <= when:
                break
        for term in reversed(self._terms):
            if (found := term.name(number)) is not None:
                return found
        return RuleName(DEFAULT_IDS[number]) if number in DEFAULT_IDS else by_number(number, when)


def _number(compiler: IncrementalCompiler | None) -> int:
    return compiler.policy.revision if compiler is not None else 0
