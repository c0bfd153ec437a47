"""Prefixes of one VRF and family -> disjoint address ranges that cover the whole space.

The longest claimed prefix decides; where nothing is claimed, every network set that contains
the address counts. Prefixes nest or are disjoint, so one sweep with a stack does it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from controlplane.model.prefix import Prefix
from controlplane.policy.compile.identity import OUTSIDE, EndpointKind, Membership

T = TypeVar("T")


class AddressRange(NamedTuple):
    """Inclusive, in network byte order."""

    first: bytes
    last: bytes


class _Opened(NamedTuple, Generic[T]):
    """A prefix whose range the sweep is in, and what holds inside it."""

    end: int
    value: T


def cover(
    width: int,
    claims: Mapping[Prefix, Membership],
    networks: Iterable[tuple[Prefix, str]],
) -> dict[AddressRange, Membership]:
    """Return ranges over all addresses of `width` bytes (4 or 16), adjacent equals merged.

    `claims` and `networks` hold prefixes of that width only; `networks` pairs a prefix with
    the name of a set that it belongs to.
    """
    sets: dict[Prefix, set[str]] = {}
    for prefix, name in networks:
        sets.setdefault(prefix, set()).add(name)

    def inside(around: Membership, prefix: Prefix) -> Membership:
        return _inside(around, claims.get(prefix), sets.get(prefix, set()))

    return _ranges(width, _sweep(width, OUTSIDE, claims.keys() | sets.keys(), inside))


def cut(width: int, values: Mapping[Prefix, T]) -> dict[AddressRange, T]:
    """Return ranges in which the value of the longest prefix holds; none where there is no
    prefix."""

    def inside(around: T | None, prefix: Prefix) -> T | None:
        del around
        return values[prefix]

    found = _ranges(width, _sweep(width, None, values.keys(), inside))
    return {ends: value for ends, value in found.items() if value is not None}


def _ranges(width: int, pieces: Iterator[tuple[int, int, T]]) -> dict[AddressRange, T]:
    return {
        AddressRange(first.to_bytes(width), last.to_bytes(width)): value
        for first, last, value in _merged(pieces)
    }


def _sweep(
    width: int, outermost: T, prefixes: Collection[Prefix], inside: Callable[[T, Prefix], T]
) -> Iterator[tuple[int, int, T]]:
    position = 0
    stack = [_Opened(1 << width * 8, outermost)]
    for prefix in sorted(prefixes):
        start = int.from_bytes(prefix.packed)
        while stack[-1].end <= start:
            closed = stack.pop()
            yield position, closed.end - 1, closed.value
            position = closed.end
        yield position, start - 1, stack[-1].value
        position = start
        inner = inside(stack[-1].value, prefix)
        stack.append(_Opened(start + (1 << width * 8 - prefix.length), inner))
    for closed in reversed(stack):
        yield position, closed.end - 1, closed.value
        position = closed.end


def _inside(around: Membership, claim: Membership | None, names: set[str]) -> Membership:
    if claim is not None:
        return claim
    if around.standing is not EndpointKind.OUTSIDE:
        return around
    return Membership(EndpointKind.OUTSIDE, around.names | names)


def _merged(pieces: Iterator[tuple[int, int, T]]) -> Iterator[tuple[int, int, T]]:
    held: tuple[int, int, T] | None = None
    for first, last, value in pieces:
        if last < first:
            continue
        if held is not None and held[2] == value:
            held = (held[0], last, value)
            continue
        if held is not None:
            yield held
        held = (first, last, value)
    if held is not None:
        yield held
