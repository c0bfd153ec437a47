"""BGP next hops resolved through the kernel's main table (RFC 4364 section 4.3.2, 5).

Whatever put the route to a remote loopback there (LDP, SR, static, or an adjacent link), its path
and labels are taken over and the VPN label goes underneath.
"""

from __future__ import annotations

import msgspec

from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import Afi, IPAddress, Prefix, afi_of, mask


class Resolution(msgspec.Struct, frozen=True):
    """How a next hop is reached: the main-table route that covers it."""

    via: Prefix
    paths: tuple[UnderlayPath, ...]
    metric: int


class Underlay:
    """The main table as far as it was told, and the next hops that are watched in it."""

    def __init__(self, *, via_default: bool = False) -> None:
        self.via_default = via_default
        self._routes: dict[Afi, dict[int, dict[bytes, Resolution]]] = {a: {} for a in Afi}
        self._watched: dict[IPAddress, Resolution | None] = {}

    def watch(self, address: IPAddress) -> Resolution | None:
        """Resolve an address and go on doing so."""
        if address not in self._watched:
            self._watched[address] = self._look_up(address)
        return self._watched[address]

    def unwatch(self, address: IPAddress) -> None:
        """Stop following an address."""
        self._watched.pop(address, None)

    @property
    def watched(self) -> dict[IPAddress, Resolution | None]:
        """Every address that is followed, with what it resolves to."""
        return self._watched

    def change(
        self, prefix: Prefix, paths: tuple[UnderlayPath, ...], metric: int
    ) -> list[IPAddress]:
        """Take over one route of the main table; gives the watched addresses whose way changed."""
        routes = self._routes[prefix.afi].setdefault(prefix.length, {})
        if paths:
            routes[prefix.packed] = Resolution(prefix, paths, metric)
        else:
            routes.pop(prefix.packed, None)
        return [a for a in list(self._watched) if prefix.contains(_host(a)) and self._renew(a)]

    def _renew(self, address: IPAddress) -> bool:
        old, new = self._watched[address], self._look_up(address)
        self._watched[address] = new
        return old != new

    def _look_up(self, address: IPAddress) -> Resolution | None:
        by_length, packed = self._routes[afi_of(address)], address.packed
        for length in sorted(by_length, reverse=True):
            # A default route says nothing about a PE being there, so it resolves only if asked to.
            if length == 0 and not self.via_default:
                return None
            found = by_length[length].get(mask(packed, length))
            if found:
                return found
        return None


def _host(address: IPAddress) -> Prefix:
    return Prefix(address.packed, address.max_prefixlen)
