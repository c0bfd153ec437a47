"""The kinds of entries in ``surface.py``, and how each is compared with the installed ExaBGP."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Use:
    """One name of ExaBGP: where it is, and why the worker touches it."""

    owner: Any
    name: str
    reason: str

    def fault(self) -> str:
        """Return what differs from the expectation; "" if nothing does."""
        return "" if hasattr(self.owner, self.name) else "does not exist"

    @property
    def place(self) -> str:
        """Return the entry's full name."""
        module = getattr(self.owner, "__module__", "")
        owner = getattr(self.owner, "__qualname__", None) or self.owner.__name__
        return ".".join(part for part in (module, owner, self.name) if part)

    @property
    def found(self) -> Any:
        """Return what the owner has under the name, None if nothing."""
        return getattr(self.owner, self.name, None)


@dataclass(frozen=True, slots=True)
class Function(Use):
    """A plain function or method with exactly these parameters, in this order."""

    parameters: str = ""
    generates: bool = False

    def fault(self) -> str:
        """Compare kind and parameters: a coroutine in a function's place would never run."""
        if not callable(self.found):
            return "is no function"
        if inspect.iscoroutinefunction(self.found) or inspect.isasyncgenfunction(self.found):
            return "is asynchronous"
        if inspect.isgeneratorfunction(self.found) is not self.generates:
            return "is a generator" if not self.generates else "is not a generator"
        found = " ".join(inspect.signature(self.found).parameters)
        return "" if found == self.parameters else f"takes ({found}) instead of ({self.parameters})"


@dataclass(frozen=True, slots=True)
class Value(Use):
    """A constant; equal to ``value`` unless that is None."""

    value: Any = None

    def fault(self) -> str:
        """Compare the value."""
        if not hasattr(self.owner, self.name):
            return "does not exist"
        if self.value is None or self.found == self.value:
            return ""
        return f"is {self.found!r} instead of {self.value!r}"


@dataclass(frozen=True, slots=True)
class Assigned(Use):
    """Attributes that the constructor of a class gives to each instance; ``name`` lists them."""

    def fault(self) -> str:
        """Look for each among the names that the constructor's code uses."""
        made = self.owner.__init__.__code__.co_names
        lacking = [name for name in self.name.split() if name not in made]
        return f"not set by the constructor: {' '.join(lacking)}" if lacking else ""


@dataclass(frozen=True, slots=True)
class Keys(Use):
    """Keys of a mapping that is a class attribute, all of them read or written."""

    keys: str = ""

    def fault(self) -> str:
        """Look for each key."""
        lacking = [key for key in self.keys.split() if key not in (self.found or {})]
        return f"has no {' '.join(lacking)}" if lacking else ""


@dataclass(frozen=True, slots=True)
class Extensible(Use):
    """A class whose instances take an attribute of the worker's; ``name`` names the attribute."""

    def fault(self) -> str:
        """Refuse slots, and an attribute of the same name of ExaBGP's own."""
        if not self.owner.__dictoffset__:
            return "instances take no attributes"
        return "exists already" if hasattr(self.owner, self.name) else ""


@dataclass(frozen=True, slots=True)
class Asked(Use):
    """What ExaBGP's modules ask of an object of the worker's that stands in for one of theirs.

    ``name`` is the attribute under which they hold it; ``names`` is all that they may take of it.
    """

    modules: tuple[ModuleType, ...] = ()
    names: str = ""

    def fault(self) -> str:
        """Compare with the compiled code of the modules."""
        asked = {n for module in self.modules for a, n in taken(module) if a == self.name}
        more = sorted(asked - set(self.names.split()))
        return f"is asked for {' '.join(more)} too" if more else ""


@functools.cache
def taken(module: ModuleType) -> frozenset[tuple[str, str]]:
    """Return (attribute, name) for each ``<something>.attribute.name`` in a module's functions."""
    found = set()
    for code in codes(module):
        before = ""
        for step in dis.get_instructions(code):
            if before and step.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR"):
                found.add((before, step.argval))
            before = step.argval if step.opname == "LOAD_ATTR" else ""
    return frozenset(found)


def codes(module: ModuleType) -> Iterator[CodeType]:
    """Yield the code of every function that a module defines, inner ones included."""
    waiting: list[CodeType] = []
    for value in vars(module).values():
        inner = vars(value).values() if inspect.isclass(value) else (value,)
        for each in inner:
            function = getattr(each, "__func__", each)
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                waiting.append(function.__code__)
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [const for const in code.co_consts if isinstance(const, CodeType)]
