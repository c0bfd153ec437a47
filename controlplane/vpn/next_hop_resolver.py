"""BGP next hops resolved through the kernel's main table (RFC 4364 section 4.3.2, 5).

For a route to a remote loopback of any origin (LDP, SR, static, or an adjacent link), its path
and labels are taken over and the VPN label goes underneath.

A path counts only if it leads to the PE that gave out the VPN label: through a core port, and
either with a label of the core's on top, or over the link to that PE itself (penultimate hop
popping, RFC 3031 section 3.16). Through any other router the VPN label would go out alone, and a
PE there that has given the same number to another VPN would forward into that one. That the PE is
at the other end of an unlabelled path is known from its address being the gateway's, from the
configuration (``adjacent-pes``), or from a probe that the data plane makes (``Adjacency``).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import TypeAlias

import msgspec

from controlplane.model.desired import Adjacency
from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import Afi, IPAddress, Prefix, afi_of, mask


class Resolution(msgspec.Struct, frozen=True):
    """How a next hop is reached: the main-table route that covers it."""

    via: Prefix
    paths: tuple[UnderlayPath, ...]
    metric: int


# Address -> its way before and after.
Turns: TypeAlias = dict[IPAddress, tuple[Resolution | None, Resolution | None]]


class Core(msgspec.Struct, frozen=True):
    """What the configuration says of the ways to other PEs: the ports that labelled packets may
    leave by, each with the PEs that are known to be at its other end, and the IGP's costs."""

    ports: Mapping[str, frozenset[IPAddress]] = {}
    via_default: bool = False
    costs: Mapping[IPAddress, int] = {}


class NextHopResolver:
    """The main table as reported, and the next hops that are tracked in it."""

    def __init__(self, core: Core | None = None) -> None:
        self._core = core or Core()
        self._probes: dict[IPAddress, frozenset[Adjacency]] = {}
        self._answers: dict[Adjacency, bool] = {}
        self._probe_changes: dict[Adjacency, Adjacency | None] = {}
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
            self._set_probes(address, frozenset())
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

    def configure(self, core: Core) -> Turns:
        """Take over what the configuration says; gives the watched addresses that it turned."""
        if core == self._core:
            return {}
        self._core = core
        return self._renew(self._watched)

    def adjacency_changed(self, adjacency: Adjacency, *, adjacent: bool) -> Turns:
        """Take over what a probe found; gives the watched addresses that it turned."""
        if adjacency not in self._probes.get(adjacency.address, ()):
            return {}  # the path that it was about is gone
        self._answers[adjacency] = adjacent
        return self._renew((adjacency.address,))

    def probe_changes(self) -> dict[Adjacency, Adjacency | None]:
        """Return the probes that are wanted since the last call; None: no longer."""
        changes, self._probe_changes = self._probe_changes, {}
        return changes

    @property
    def awaits_probes(self) -> bool:
        """True while a probe has not been answered for the first time."""
        return any(each not in self._answers for of in self._probes.values() for each in of)

    def unusable(self, address: IPAddress) -> str:
        """Say why an address does not resolve, "" if it does."""
        if self.watch(address) is not None:
            return ""
        route = self._route(address)
        if route is None:
            return "no route to the next hop"
        if not any(path.device in self._core.ports for path in route.paths):
            return f"{route.via} does not lead through a core port"
        if any(a not in self._answers for a in self._probes.get(address, ())):
            return f"{route.via} has no label, and the link to the next hop is being probed"
        return f"{route.via} has no label and is not the next hop's own link"

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
        route = self._route(address)
        if route is None:
            self._set_probes(address, frozenset())
            return None
        asked = {path: self._probe(address, path) for path in route.paths}
        self._set_probes(address, frozenset(a for a in asked.values() if a))
        usable = tuple(path for path in route.paths if self._is_usable(path, asked[path]))
        # The kernel's metric is the priority that a routing daemon writes: FRR has one for all.
        metric = self._core.costs.get(address, route.metric)
        if len(usable) == len(route.paths) and metric == route.metric:
            return route
        return Resolution(route.via, usable, metric) if usable else None

    def _probe(self, address: IPAddress, path: UnderlayPath) -> Adjacency | None:
        """Return what has to be found out about a path before it can be used."""
        pes = self._core.ports.get(path.device)
        if path.labels or pes is None or path.gateway in (None, address) or address in pes:
            return None
        return Adjacency(address, path.gateway, path.device)

    def _is_usable(self, path: UnderlayPath, asked: Adjacency | None) -> bool:
        if path.device not in self._core.ports:
            return False
        return asked is None or self._answers.get(asked, False)

    def _set_probes(self, address: IPAddress, wanted: frozenset[Adjacency]) -> None:
        before = self._probes.get(address, frozenset())
        if wanted == before:
            return
        for gone in before - wanted:
            self._answers.pop(gone, None)
            self._probe_changes[gone] = None
        self._probe_changes.update((each, each) for each in wanted - before)
        if wanted:
            self._probes[address] = wanted
        else:
            del self._probes[address]

    def _route(self, address: IPAddress) -> Resolution | None:
        by_length, packed = self._routes[afi_of(address)], address.packed
        for length in sorted(by_length, reverse=True):
            # A default route says nothing about a PE being there, so it resolves only if asked to.
            if length == 0 and not self._core.via_default:
                return None
            found = by_length[length].get(mask(packed, length))
            if found:
                return found
        return None
