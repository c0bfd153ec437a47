"""What is wrong with a policy, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_AROUND = 100
"""Characters of a long text that are shown before and after a fault."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault of a document.

    `path` is the field (`rules.application[2].services[0]`), `line` the 1-based line when the
    document came as text, `cure` what would make it right.
    """

    path: str
    message: str
    cure: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}: {self.path}" if self.line else self.path
        cure = f" ({self.cure})" if self.cure else ""
        return f"{place}: {self.message}{cure}" if place else f"{self.message}{cure}"


class PolicyError(ValueError):
    """A document was refused; `problems` holds every fault found, in document order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class MalformedError(ValueError):
    """A selector, service or sentence cannot be read; `position` is a 0-based column."""

    def __init__(self, text: str, position: int, message: str, cure: str) -> None:
        self.text = text
        self.position = position
        self.message = message
        self.cure = cure
        self.said = f"{message} at column {position + 1} of {_excerpt(text, position)!r}"
        super().__init__(f"{self.said} ({cure})" if cure else self.said)


def _excerpt(text: str, position: int) -> str:
    """Return a text, or of a long one what is around a column."""
    if len(text) <= 2 * _AROUND:
        return text
    start = max(0, position - _AROUND)
    return f"...{text[start : position + _AROUND]}..."


def nearest(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Return a cure that names the known word closest to `word`, or `otherwise`."""
    if len(word) > _AROUND:
        return otherwise
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise
