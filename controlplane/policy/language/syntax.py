"""Tokens of the policy language: what selectors and sentences are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from controlplane.policy.language.problem import MalformedError

KEYWORDS = frozenset({"to", "on", "and", "or", "not", "in", "has", "vrf"})
"""Words of the grammar: no group, network set, service or tag key may be called so."""

ENDPOINT_WORDS = frozenset({"any", "workloads", "outside"})
"""Endpoints that need no declaration; equally reserved."""

_TOKEN = re.compile(
    r"(?P<word>[A-Za-z0-9_][A-Za-z0-9_.:/-]*)|(?P<mark>!=|==|=|\(|\)|,)|(?P<gap>\s+)"
)
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_VRF = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")
_NO_VRFS = frozenset({"lo", "all", "default", "bulkhead-void", "main", "local", "core"})


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a mark and the 0-based column where it starts; the last token is ""."""

    text: str
    start: int
    is_word: bool = False


def is_name(text: str) -> bool:
    """Return whether `text` may name a group, network set, service, rule or tag key."""
    return bool(_NAME.fullmatch(text)) and text not in KEYWORDS and text not in ENDPOINT_WORDS


def is_vrf_name(text: str) -> bool:
    """Return whether a VRF of any node can be called so: it names a Linux device there."""
    return bool(_VRF.fullmatch(text)) and text not in _NO_VRFS


def tokens(text: str) -> list[Token]:
    """Cut `text` into tokens, ended by an empty one; MalformedError on a foreign character."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise MalformedError(
                text,
                position,
                f"unexpected character {text[position]!r}",
                "words hold letters, digits and _ . : / -",
            )
        if match.lastgroup != "gap":
            found.append(Token(match.group(), position, match.lastgroup == "word"))
        position = match.end()
    found.append(Token("", len(text)))
    return found


class Cursor:
    """Reads the tokens of one text from left to right; `terms` counts comparisons on the way."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.terms = 0
        self._tokens = tokens(text)
        self._next = 0

    def peek(self, ahead: int = 0) -> Token:
        """Return the token `ahead` places further, or the closing empty one."""
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Return the next token, consumed."""
        token = self.peek()
        self._next += 1
        return token

    def accept(self, text: str) -> bool:
        """Consume the next token if it reads `text`."""
        if self.peek().text != text:
            return False
        self._next += 1
        return True

    def expect(self, text: str, cure: str) -> None:
        """Consume `text`, or raise MalformedError."""
        if not self.accept(text):
            raise self.fault(f"expected {text!r}", cure)

    def word(self, what: str, cure: str) -> Token:
        """Consume any word, or raise MalformedError naming `what` was wanted."""
        if not self.peek().is_word:
            raise self.fault(f"expected {what}", cure)
        return self.take()

    def finish(self, cure: str) -> None:
        """Raise MalformedError unless everything was read."""
        if self.peek().text:
            raise self.fault("expected the end", cure)

    def fault(self, message: str, cure: str) -> MalformedError:
        """Return a MalformedError at the next token, to be raised."""
        token = self.peek()
        found = f"found {token.text!r}" if token.text else "the text ends here"
        return MalformedError(self.text, token.start, f"{message}, {found}", cure)
