"""Small stable numbers for things that the kernel cannot hold by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)


class IdsExhaustedError(RuntimeError):
    """Every number of a book is taken."""


class IdAllocator(Generic[_K]):
    """Hands out numbers `first..last`; a key keeps its number until it is given up.

    A number given up is used again only after all numbers that were never used, oldest first:
    a packet, a log line or a conntrack entry still in flight must not change its meaning.
    """

    def __init__(self, first: int, last: int, taken: Mapping[_K, int] | None = None) -> None:
        self._numbers = dict(taken or {})
        self._fresh = max(self._numbers.values(), default=first - 1) + 1
        self._last = last
        used = set(self._numbers.values())
        self._rested = deque(n for n in range(first, self._fresh) if n not in used)

    def assign(self, key: _K) -> int:
        """The number of `key`, a new one if it has none; raises NumbersExhaustedError."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._next()
        return number

    def _next(self) -> int:
        if self._fresh <= self._last:
            self._fresh += 1
            return self._fresh - 1
        if not self._rested:
            raise IdsExhaustedError(f"all numbers up to {self._last} are in use")
        return self._rested.popleft()

    def get(self, key: _K) -> int | None:
        """The number of `key`, if it has one."""
        return self._numbers.get(key)

    def retain(self, keys: Collection[_K]) -> None:
        """Give up the numbers of all other keys."""
        for key in [key for key in self._numbers if key not in keys]:
            self._rested.append(self._numbers.pop(key))

    def items(self) -> Iterator[tuple[_K, int]]:
        """Keys and numbers, to be stored and handed back as `taken`."""
        return iter(self._numbers.items())

    def __len__(self) -> int:
        return len(self._numbers)
