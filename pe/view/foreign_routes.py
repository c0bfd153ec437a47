"""Render the routes of other programs in a VRF's table, and which of a prefix the kernel takes: the
one with the lowest metric, of several IPv4 routes of one metric the first (fib_find_alias)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from controlplane.model.prefix import Prefix
from controlplane.model.route_view import ForeignRouteView, RouteSource, RouteView
from pe.netlink.ownership import ROUTE_METRIC

_CONNECTED_METRIC = {4: 0, 16: 256}
"""Of the routes that the kernel makes of addresses, by the length of an address."""

_Key: TypeAlias = tuple[Prefix, int, str]


class ForeignRows:
    """The foreign routes of one VRF. ``own`` returns the metric of the VRF's own route to a prefix,
    None if the kernel has none."""

    def __init__(
        self,
        vrf: str,
        routes: Iterable[ForeignRouteView],
        own: Callable[[Prefix], int | None],
    ) -> None:
        self._vrf, self._routes, self._own = vrf, [*routes], own
        self._first: dict[_Key, tuple[int, int]] = {}
        for route in self._routes:
            place = (route.metric, route.place)
            self._first[_key(route)] = min(place, self._first.get(_key(route), place))

    def before(self, prefix: Prefix, metric: int = ROUTE_METRIC) -> str:
        """Return why packets do not take the VRF's own route of this metric; "" if they do."""
        first = self._first.get((prefix, 0, ""))
        if first is None or first[0] >= metric:
            return ""
        return f"a route of another program has a lower metric: {first[0]}"

    def __iter__(self) -> Iterator[RouteView]:
        for route in self._routes:
            reason = self._inactive(route)
            yield RouteView(
                vrf=self._vrf, prefix=str(route.prefix), source=RouteSource.FOREIGN,
                next_hop=route.gateway, port=route.port, best=False, active=not reason,
                inactive_reason=reason, protocol=route.protocol, kind=route.kind,
                metric=route.metric, tos=route.tos, labels=route.labels,
                from_prefix=route.from_prefix,
            )  # fmt: skip

    def _inactive(self, route: ForeignRouteView) -> str:
        metric, place = self._first[_key(route)]
        if metric == route.metric and place < route.place and len(route.prefix.packed) == 4:
            return "not best: behind another"
        own = None if route.tos or route.from_prefix else self._own(route.prefix)
        lowest = metric if own is None else min(metric, own)
        return f"not best: metric {lowest} is lower" if lowest < route.metric else ""


def _key(route: ForeignRouteView) -> _Key:
    return route.prefix, route.tos, route.from_prefix


def connected_metric(prefix: Prefix) -> int:
    """Return the metric of the kernel's own route to a port's prefix."""
    return _CONNECTED_METRIC[len(prefix.packed)]
