"""Typed reading of plain values, collecting faults instead of stopping at the first."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from controlplane.policy.language.positions import Located, Value, child
from controlplane.policy.language.problem import Problem, nearest

_E = TypeVar("_E", bound=enum.StrEnum)


class Fields:
    """Reads the fields of one document and notes each fault with its path and line."""

    def __init__(self, located: Located) -> None:
        self._lines = located.lines
        self.problems = list(located.problems)

    def fault(self, path: str, message: str, cure: str = "") -> None:
        """Note a fault at `path`, or at the nearest enclosing field that has a line."""
        self.problems.append(Problem(path, message, cure, self._line(path)))

    def unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        """Note that `name` is declared nowhere."""
        cure = nearest(name, known, otherwise="declare it first")
        self.fault(path, f"unknown {what} {name!r}", cure)

    def has(self, path: str) -> bool:
        """Return whether the document itself has that field (a sentence alone has no `.rule`)."""
        return path in self._lines

    def _line(self, path: str) -> int:
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._lines.get(path, 0)

    def mapping(
        self, value: Value, path: str, allowed: Sequence[str] | None = None
    ) -> dict[str, Value]:
        """Return a map (nothing counts as empty); keys outside `allowed` are faults."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fault(path, f"expected a map, found {_kind(value)}")
            return {}
        for key in value:
            if allowed is not None and key not in allowed:
                cure = nearest(key, allowed, otherwise="known: " + ", ".join(allowed))
                self.fault(child(path, key), f"unknown field {key!r}", cure)
        return value

    def items(self, value: Value, path: str) -> Iterator[tuple[str, Value]]:
        """Yield path and value of each element of a list (nothing counts as empty)."""
        if value is None:
            return
        if not isinstance(value, list):
            self.fault(path, f"expected a list, found {_kind(value)}")
            return
        for index, item in enumerate(value):
            yield child(path, index), item

    def texts(self, value: Value, path: str) -> Iterator[tuple[str, str]]:
        """Yield path and text of each element of a list of texts; one text alone is a list of
        one."""
        if isinstance(value, str):
            yield path, value
            return
        for place, item in self.items(value, path):
            if isinstance(item, str):
                yield place, item
            else:
                self.fault(place, f"expected text, found {_kind(item)}")

    def text(self, value: Value, path: str) -> str:
        """Return a text; "" after a fault."""
        if isinstance(value, str):
            return value
        self.fault(path, f"expected text, found {_kind(value)}")
        return ""

    def integer(self, value: Value, path: str, low: int, high: int) -> int:
        """Return an integer within bounds; `low` after a fault."""
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.fault(path, f"expected a number from {low} to {high}, found {value!r}")
        return low

    def choice(self, value: Value, path: str, kind: type[_E]) -> _E | None:
        """Return a member of an enumeration; None after a fault."""
        known = [member.value for member in kind]
        if isinstance(value, str) and value in known:
            return kind(value)
        cure = nearest(str(value), known, otherwise="one of " + ", ".join(known))
        self.fault(path, f"unknown {kind.__name__.lower()} {value!r}", cure)
        return None


def _kind(value: Value) -> str:
    if value is None:
        return "nothing"
    names = {dict: "a map", list: "a list", str: "text", int: "a number", bool: "true or false"}
    return names.get(type(value), type(value).__name__)
