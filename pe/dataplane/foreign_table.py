"""Follow the foreign routes of one table as the kernel keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from controlplane.model.prefix import Prefix
from pe.netlink import codec as nl
from pe.netlink.foreign import ForeignRoute, RouteKey, Way
from pe.netlink.ownership import ROUTE_METRIC

_SHARED_METRICS = (0, 256, ROUTE_METRIC)
"""Metrics of the kernel's connected routes and of ours: which route a replacement was put in the
place of, or what becomes of it after that, an event does not say."""


class ForeignTable:
    """The foreign routes of a table by key: several ways of a key one after the other, as a lookup
    finds them. ``more`` counts those that are not kept, ``at_our_metric`` has the prefixes of those
    that a route of ours may take the place of."""

    def __init__(self, routes: Iterable[ForeignRoute] = (), more: int = 0) -> None:
        self.ways: dict[RouteKey, tuple[Way, ...]] = {}
        self.at_our_metric: set[Prefix] = set()
        self.count, self.more = 0, more
        for _, key, way in routes:
            self._set(key, (*self.ways.get(key, ()), way))

    def __iter__(self) -> Iterator[tuple[RouteKey, Way]]:
        return ((key, way) for key, ways in self.ways.items() for way in ways)

    def in_order(self) -> list[tuple[int, RouteKey, Way]]:
        """Return the routes as they are now, each with its place among those of its key."""
        every = self.ways.items()
        return [(place, key, way) for key, ways in every for place, way in enumerate(ways)]

    def _set(self, key: RouteKey, ways: tuple[Way, ...]) -> None:
        self.count += len(ways) - len(self.ways.get(key, ()))
        if ways:
            self.ways[key] = ways
        else:
            self.ways.pop(key, None)
        if key.metric == ROUTE_METRIC:
            (self.at_our_metric.add if ways else self.at_our_metric.discard)(key.prefix)

    def take(self, message: nl.Message, key: RouteKey, way: Way, *, room: bool) -> bool:
        """Take in a notification, a new key only where there is room. Returns False if it does
        not show what is left: the table has to be read."""
        replaces = bool(message.flags & nl.NLM_F_REPLACE)
        if not way.is_foreign:  # by another program than ours, in our name or the kernel's
            return key not in self.ways or not (replaces or _is_ipv6(key))
        if message.type == nl.RTM_DELROUTE:
            return self._drop(key, way)
        if key not in self.ways and not room:
            self.more += not replaces
            return True
        if replaces:
            return self._replace(key, way)
        if message.flags & nl.NLM_F_EXCL:  # the first one of its key
            self._set(key, (way,))
            return key.metric != ROUTE_METRIC  # ours may have taken its place by now
        if _is_ipv6(key):
            return self._add_ipv6(key, way)
        ways = tuple(other for other in self.ways.get(key, ()) if other != way)
        appended = bool(message.flags & nl.NLM_F_APPEND)
        self._set(key, (*ways, way) if appended else (way, *ways))
        return appended or key.metric != ROUTE_METRIC  # one before ours is replaced by ours

    def _add_ipv6(self, key: RouteKey, way: Way) -> bool:
        """Add a route, or next hops: those come with all the others of the route, and its maker may
        be the one of any of them."""
        ways = self.ways.get(key, ())
        joined = [other for other in ways if other != way and _is_part(other, way)]
        others = tuple(other for other in ways if other != way and other not in joined)
        self._set(key, (*others, way))
        if len(way.hops) < 2:
            return not joined
        return len(joined) == 1 and replace(joined[0], hops=way.hops) == way

    def _replace(self, key: RouteKey, way: Way) -> bool:
        """Put a way in the place of the first one; of an IPv6 route all next hops are replaced, but
        none of a route that shares no packets with others."""
        ways = self.ways.get(key, ())
        self._set(key, (way, *(other for other in ways[1:] if other != way)))
        if not ways:
            return key.metric != ROUTE_METRIC
        alike = not _is_ipv6(key) or _joins(ways[0]) == _joins(way)
        is_only = len(ways) == 1 and not _may_hide(key, ways[0])
        return is_only and alike and key.metric not in _SHARED_METRICS

    def _drop(self, key: RouteKey, way: Way) -> bool:
        ways = self.ways.get(key)
        if ways is None:
            self.more = max(self.more - 1, 0)
            return True
        if way in ways:
            at = ways.index(way)
            self._set(key, ways[:at] + ways[at + 1 :])
            return not _may_hide(key, way)
        if _is_ipv6(key):  # one of several next hops
            left = (_without(w, way) if _is_part(way, w) else w for w in ways)
            self._set(key, tuple(w for w in left if w is not None))
        return False

    def depends(self, devices: set[int], objects: set[int], *, sources: bool) -> bool:
        """True if a route may be gone because one of these devices or next-hop objects is, or
        (``sources``) an address of this machine: of that the kernel does not notify (fib_flush)."""
        return any(
            way.next_hop in objects
            or (sources and way.source)
            or (devices and (way.next_hop or any(hop.oif in devices for hop in way.hops)))
            for ways in self.ways.values()
            for way in ways
        )


def _is_ipv6(key: RouteKey) -> bool:
    return len(key.prefix.packed) == 16


def _may_hide(key: RouteKey, way: Way) -> bool:
    """True if a dump may leave out other routes of the key: those between the first and the last of
    its next hops (fib6_dump_node)."""
    return _is_ipv6(key) and len(way.hops) > 1


def _joins(way: Way) -> bool:
    """True if the kernel makes one IPv6 route of it and others (rt6_qualify_for_ecmp)."""
    return not way.next_hop and all(hop.gateway is not None for hop in way.hops)


def _is_part(way: Way, whole: Way) -> bool:
    """True if all next hops of an IPv6 route are next hops of another, by gateways."""
    hops = {(hop.oif, hop.gateway) for hop in way.hops if hop.gateway}
    return bool(hops) and hops <= {(hop.oif, hop.gateway) for hop in whole.hops}


def _without(whole: Way, way: Way) -> Way | None:
    gone = {(hop.oif, hop.gateway) for hop in way.hops}
    left = tuple(hop for hop in whole.hops if (hop.oif, hop.gateway) not in gone)
    return replace(whole, hops=left) if left else None
