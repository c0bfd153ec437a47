"""Elements of an interval set: ranges as the kernel has them, each bound an element. Pure.

The kernel keeps a range as its first key, and the key behind its last as an element that ends it
(NFT_SET_ELEM_INTERVAL_END). A last range that goes to the end of all keys has no end. A set whose
first range does not begin at zero begins with an end there (nft's interval_map_decompose wants
it so; nft_rbtree finds lower keys by it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Member: TypeAlias = IPv4Address | IPv6Address | IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Bound:
    """One element: where a range begins, or with ``end`` where it has ended. ``open``: the range
    that begins here has no end."""

    key: bytes
    end: bool = False
    open: bool = False


def first_and_last(member: Member) -> tuple[int, int]:
    """A member as numbers."""
    if isinstance(member, IPv4Address | IPv6Address):
        return int(member), int(member)
    return int(member.network_address), int(member.broadcast_address)


def merged(members: Iterable[Member]) -> list[tuple[int, int]]:
    """Ranges in order; those that overlap or touch are one."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(map(first_and_last, members)):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def bounds(ranges: list[tuple[int, int]], size: int) -> list[Bound]:
    """The elements for ranges that do not touch, of keys of ``size`` bytes."""
    found = [Bound(bytes(size), end=True)] if ranges and ranges[0][0] else []
    for first, last in ranges:
        is_open = last + 1 == 1 << 8 * size
        found.append(Bound(first.to_bytes(size, "big"), open=is_open))
        if not is_open:
            found.append(Bound((last + 1).to_bytes(size, "big"), end=True))
    return found


def room(ranges: list[tuple[int, int]]) -> int:
    """The size that nft gives to an anonymous set of these."""
    return 2 * len(ranges) + bool(ranges and ranges[0][0])
