"""Prefixes of one VRF and family -> disjoint address ranges that cover the whole space.

The longest claimed prefix decides; where nothing is claimed, every network set that contains
the address counts. Prefixes nest or are disjoint, so one sweep with a stack does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from controlplane.model.prefix import Prefix
from controlplane.segment.identity import OUTSIDE, Membership, Standing


class AddressRange(NamedTuple):
    """Inclusive, in network byte order."""

    first: bytes
    last: bytes


class _Opened(NamedTuple):
    """A prefix whose range the sweep is in, and what holds inside it."""

    end: int
    membership: Membership


def cover(
    width: int,
    claims: Mapping[Prefix, Membership],
    networks: Iterable[tuple[Prefix, str]],
) -> dict[AddressRange, Membership]:
    """Ranges over all addresses of `width` bytes (4 or 16), adjacent equals merged.

    `claims` and `networks` hold prefixes of that width only; `networks` pairs a prefix with
    the name of a set that it belongs to.
    """
    sets: dict[Prefix, set[str]] = {}
    for prefix, name in networks:
        sets.setdefault(prefix, set()).add(name)
    pieces = _sweep(width, claims, sets)
    return {
        AddressRange(first.to_bytes(width), last.to_bytes(width)): membership
        for first, last, membership in _merged(pieces)
    }


_Piece = tuple[int, int, Membership]


def _sweep(
    width: int, claims: Mapping[Prefix, Membership], sets: Mapping[Prefix, set[str]]
) -> Iterator[_Piece]:
    position = 0
    stack = [_Opened(1 << width * 8, OUTSIDE)]
    for prefix in sorted(claims.keys() | sets.keys()):
        start = int.from_bytes(prefix.packed)
        while stack[-1].end <= start:
            closed = stack.pop()
            yield position, closed.end - 1, closed.membership
            position = closed.end
        yield position, start - 1, stack[-1].membership
        position = start
        inner = _inside(stack[-1].membership, claims.get(prefix), sets.get(prefix, set()))
        stack.append(_Opened(start + (1 << width * 8 - prefix.length), inner))
    for closed in reversed(stack):
        yield position, closed.end - 1, closed.membership
        position = closed.end


def _inside(around: Membership, claim: Membership | None, names: set[str]) -> Membership:
    if claim is not None:
        return claim
    if around.standing is not Standing.OUTSIDE:
        return around
    return Membership(Standing.OUTSIDE, around.names | names)


def _merged(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    held: _Piece | None = None
    for first, last, membership in pieces:
        if last < first:
            continue
        if held is not None and held[2] == membership:
            held = (held[0], last, membership)
            continue
        if held is not None:
            yield held
        held = (first, last, membership)
    if held is not None:
        yield held
