"""A dictionary whose changes can be followed: a copy of it is kept by what changed, not by
comparing all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Generic, TypeVar
from weakref import WeakSet

_K = TypeVar("_K")
_V = TypeVar("_V")


class Follower(Generic[_K, _V]):
    """Keys that changed since they were taken; at first all. It follows for as long as it is
    referenced."""

    def __init__(self, followed: FollowedDict[_K, _V]) -> None:
        self._followed = followed
        self.changed: dict[_K, None] = dict.fromkeys(dict(followed))

    def take(self, most: int) -> dict[_K, _V | None]:
        """Up to `most` changed keys with their values, None where a key is gone."""
        keys = list(islice(self.changed, most))
        for key in keys:
            del self.changed[key]
        return {key: self._followed.get(key) for key in keys}


class FollowedDict(dict[_K, _V]):
    """A dictionary of values that are not None; every way to change it notes the keys."""

    def __init__(self, items: Mapping[_K, _V] | None = None) -> None:
        super().__init__(items or {})
        self._followers: WeakSet[Follower[_K, _V]] = WeakSet()

    def follow(self) -> Follower[_K, _V]:
        """Note changes from now on."""
        follower = Follower(self)
        self._followers.add(follower)
        return follower

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        self._note((key,))

    def __delitem__(self, key: _K) -> None:
        super().__delitem__(key)
        self._note((key,))

    def pop(self, key: _K, *default: Any) -> Any:
        """As of every dictionary."""
        value = super().pop(key, *default)
        self._note((key,))
        return value

    def update(self, *others: Any, **more: Any) -> None:
        """As of every dictionary."""
        new: dict[Any, Any] = dict(*others, **more)
        super().update(new)
        self._note(new)

    def setdefault(self, *_: object) -> Any:
        """Not needed, so not followed."""
        raise NotImplementedError

    def popitem(self) -> tuple[_K, _V]:
        """Not needed, so not followed."""
        raise NotImplementedError

    def clear(self) -> None:
        """As of every dictionary."""
        keys = list(self)
        super().clear()
        self._note(keys)

    def __ior__(self, other: Any) -> FollowedDict[_K, _V]:  # type: ignore[misc,override]
        self.update(other)
        return self

    def _note(self, keys: Iterable[_K]) -> None:
        for follower in self._followers:
            follower.changed.update(dict.fromkeys(keys))
