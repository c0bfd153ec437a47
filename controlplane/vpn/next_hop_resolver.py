"""BGP next hops resolved through the kernel's main table (RFC 4364 section 4.3.2, 5).

For a route to a remote loopback of any origin (LDP, SR, static, or an adjacent link), its path
and labels are taken over and the VPN label goes underneath.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TypeAlias

import msgspec

from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import Afi, IPAddress, Prefix, afi_of, mask


class Resolution(msgspec.Struct, frozen=True):
    """How a next hop is reached: the main-table route that covers it."""

    via: Prefix
    paths: tuple[UnderlayPath, ...]
    metric: int


# Address -> its way before and after.
Turns: TypeAlias = dict[IPAddress, tuple[Resolution | None, Resolution | None]]


class NextHopResolver:
    """The main table as reported, and the next hops that are tracked in it."""

    def __init__(self, *, via_default: bool = False) -> None:
        self._via_default = via_default
        self._routes: dict[Afi, dict[int, dict[bytes, Resolution]]] = {a: {} for a in Afi}
        self._watched: dict[IPAddress, Resolution | None] = {}
        # The same addresses in order, by family: those inside a prefix lie side by side.
        self._ordered: dict[Afi, list[bytes]] = {a: [] for a in Afi}

    def watch(self, address: IPAddress) -> Resolution | None:
        """Resolve an address and go on doing so."""
        try:
            return self._watched[address]
        except KeyError:
            found = self._watched[address] = self._look_up(address)
            insort(self._ordered[afi_of(address)], address.packed)
            return found

    def watch_only(self, addresses: set[IPAddress]) -> None:
        """Stop following every other address."""
        for address in self._watched.keys() - addresses:
            del self._watched[address]
        for afi, ordered in self._ordered.items():
            ordered[:] = sorted(a.packed for a in self._watched if afi_of(a) is afi)

    @property
    def watched(self) -> dict[IPAddress, Resolution | None]:
        """Every address that is followed, with what it resolves to."""
        return self._watched

    def change(self, prefix: Prefix, paths: tuple[UnderlayPath, ...], metric: int) -> Turns:
        """Take over one route of the main table; gives the watched addresses that it turned."""
        by_length = self._routes[prefix.afi]
        routes = by_length.setdefault(prefix.length, {})
        if paths:
            routes[prefix.packed] = Resolution(prefix, paths, metric)
        else:
            routes.pop(prefix.packed, None)
            if not routes:
                del by_length[prefix.length]
        return self._renew(self._inside(prefix))

    def resolve_via_default(self, wanted: bool) -> Turns:
        """Return whether a default route is good enough to reach a PE through."""
        self._via_default = wanted
        return self._renew(self._watched)

    def _inside(self, prefix: Prefix) -> list[IPAddress]:
        ordered = self._ordered[prefix.afi]
        host_bits = (1 << (prefix.afi.bits - prefix.length)) - 1
        last = int.from_bytes(prefix.packed, "big") | host_bits
        first = bisect_left(ordered, prefix.packed)
        end = bisect_right(ordered, last.to_bytes(len(prefix.packed), "big"))
        return [ip_address(packed) for packed in ordered[first:end]]

    def _renew(self, addresses: Iterable[IPAddress]) -> Turns:
        turns = {a: (self._watched[a], self._look_up(a)) for a in addresses}
        turns = {address: (old, new) for address, (old, new) in turns.items() if old != new}
        self._watched.update((address, new) for address, (_, new) in turns.items())
        return turns

    def _look_up(self, address: IPAddress) -> Resolution | None:
        by_length, packed = self._routes[afi_of(address)], address.packed
        for length in sorted(by_length, reverse=True):
            # A default route says nothing about a PE being there, so it resolves only if asked to.
            if length == 0 and not self._via_default:
                return None
            found = by_length[length].get(mask(packed, length))
            if found:
                return found
        return None
