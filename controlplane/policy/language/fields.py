"""Typed reading of plain values, collecting faults instead of stopping at the first."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from controlplane.model.name_list import those
from controlplane.policy.language.positions import Located, Value, child
from controlplane.policy.language.problem import MalformedError, Problem, nearest
from controlplane.policy.language.syntax import is_vrf_name

_E = TypeVar("_E", bound=enum.StrEnum)


class Fields:
    """Reads the fields of one document and notes each fault with its path and line."""

    def __init__(self, located: Located) -> None:
        self._lines = located.lines
        self.problems = list(located.problems)

    def fault(self, path: str, message: str, cure: str) -> None:
        """Note a fault at `path`, or at the nearest enclosing field that has a line."""
        self.problems.append(Problem(path, message, cure, self._line(path)))

    def malformed(self, path: str, error: MalformedError) -> None:
        """Note that a selector, service or sentence cannot be read."""
        self.fault(path, error.said, error.cure)

    def unknown(self, path: str, what: str, name: str, known: Collection[str]) -> None:
        """Note that `name` is declared nowhere."""
        cure = nearest(name, known, otherwise=f"declare it first{those('declared', known)}")
        self.fault(path, f"unknown {what} {name!r}", cure)

    def vrf_name(self, path: str, name: str) -> None:
        """Note a fault where no VRF of any node can have that name."""
        if not is_vrf_name(name):
            cure = "a name of a VRF as in pe.yaml; without `in vrf` a rule holds in all of them"
            self.fault(path, f"{name!r} cannot be a VRF", cure)

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
            self.fault(path, f"expected a map, found {_kind(value)}", "write KEY: VALUE in it")
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
            self.fault(path, f"expected a list, found {_kind(value)}", "write - VALUE on lines")
            return
        for index, item in enumerate(value):
            yield child(path, index), item

    def texts(self, value: Value, path: str) -> Iterator[tuple[str, str]]:
        """Yield path and text of each element of a list of texts; one text alone is a list of
        one."""
        if not isinstance(value, list | None):
            value, places = [value], iter((path,))
        else:
            places = (child(path, index) for index in range(len(value or ())))
        for place, item in zip(places, value or (), strict=True):
            if isinstance(item, str):
                yield place, item
            else:
                self._no_text(place, item)

    def words(self, value: Value, path: str) -> Iterator[tuple[str, str]]:
        """Yield path and word of each element, as `texts`; a text is cut at its commas."""
        for place, text in self.texts(value, path):
            for word in text.split(","):
                if word.strip():
                    yield place, word.strip()
                else:
                    self.fault(place, f"a name is missing in {text!r}", "a comma between two names")

    def text(self, value: Value, path: str) -> str:
        """Return a text; "" after a fault."""
        if isinstance(value, str):
            return value
        self._no_text(path, value)
        return ""

    def _no_text(self, path: str, value: Value) -> None:
        cure = 'put it in "quotes"' if isinstance(value, int) else "write a text, or leave it out"
        self.fault(path, f"expected text, found {_kind(value)}", cure)

    def integer(self, value: Value, path: str, low: int, high: int) -> int:
        """Return an integer within bounds; `low` after a fault."""
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        cure = "write it with 0-9, without leading zeros"
        self.fault(path, f"expected a number from {low} to {high}, found {value!r}", cure)
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
