"""Small stable numbers for things that the kernel cannot hold by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)


class IdsExhaustedError(RuntimeError):
    """No number may be given to this key."""


class IdAllocator(Generic[_K]):
    """Give numbers `first..last` to keys; a key keeps its number while it is referred to.

    `acquire` and `release` count references: the tables of both slots share one allocator, and a
    number becomes free when neither refers to it. It is then held down until `confirm` says that
    the kernel holds tables without it, and given to another key only after all numbers that were
    never used, the one freed first first: a packet, a log line or a conntrack entry that still
    carries it must not change its meaning.
    """

    def __init__(self, first: int, last: int, taken: Mapping[_K, int] | None = None) -> None:
        self._numbers = dict(taken or {})
        self._references: dict[_K, int] = {}
        self._fresh = max(self._numbers.values(), default=first - 1) + 1
        self._last = last
        used = set(self._numbers.values())
        self._free = deque(n for n in range(first, self._fresh) if n not in used)
        self._held_down: list[int] = []

    def assign(self, key: _K) -> int:
        """Return the number of `key`, a new one if it has none, without a reference to it.

        Raises IdsExhaustedError.
        """
        number = self._numbers.get(key)
        if number is None:
            self._admit(key)
            number = self._numbers[key] = self._next()
        return number

    def acquire(self, key: _K) -> int:
        """Return the number of `key` and count a reference. Raises IdsExhaustedError."""
        number = self.assign(key)
        self._references[key] = self._references.get(key, 0) + 1
        return number

    def release(self, key: _K) -> None:
        """Take back one reference; with the last one the number is held down."""
        left = self._references.pop(key) - 1
        if left:
            self._references[key] = left
        else:
            self._held_down.append(self._numbers.pop(key))
            self._forget(key)

    def confirm(self) -> None:
        """Note that the kernel holds the tables of all changes made so far."""
        self._free.extend(self._held_down)
        self._held_down.clear()

    def _admit(self, key: _K) -> None:
        """Raise IdsExhaustedError if `key` must not have a number now."""

    def _forget(self, key: _K) -> None:
        """Note that `key` has no number any more."""

    def _next(self) -> int:
        if self._fresh <= self._last:
            self._fresh += 1
            return self._fresh - 1
        if not self._free:
            raise IdsExhaustedError(f"all numbers up to {self._last} are in use or held down")
        return self._free.popleft()

    @property
    def room(self) -> int:
        """How many keys may be given a number now."""
        return self._last - self._fresh + 1 + len(self._free)

    def get(self, key: _K) -> int | None:
        """Return the number of `key`, if it has one."""
        return self._numbers.get(key)

    def items(self) -> Iterator[tuple[_K, int]]:
        """Return keys and numbers."""
        return iter(self._numbers.items())

    def __len__(self) -> int:
        return len(self._numbers)
