"""The main table as the control plane should see it: the best route per prefix, resolved.

Kept from events; where an event alone does not tell what is left (an appended or partly deleted
multipath route, IPv4 routes that vanish in silence with their device: fib_sync_down_dev), it
becomes ``stale`` and has to be loaded anew. Routes that name a next-hop object are resolved
here, because with ``nexthop_compat_mode=0`` the kernel does not expand them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.model.events import UnderlayPath, UnderlayRouteChanged
from controlplane.model.prefix import Prefix
from pe.fib.next_hop_wire import Content, Group, Member
from pe.model.state import Link
from pe.netlink import codec as nl
from pe.netlink.main_routes import MainRoute, RawPath, parse


class MainTableMonitor:
    """All main-table routes, the next-hop objects they name, and what of it has been told."""

    def __init__(self) -> None:
        self.stale = True
        self._routes: dict[Prefix, dict[tuple[int, int], MainRoute]] = {}
        self._objects: dict[int, Content] = {}
        self._told: dict[Prefix, UnderlayRouteChanged] = {}
        self._touched: set[Prefix] = set()

    def load(self, routes: Iterable[MainRoute]) -> None:
        """Replace everything by what a dump found."""
        self._touched.update(self._routes)
        self._routes.clear()
        for route in routes:
            # Of two IPv4 routes that differ in nothing but their next hop the first is used.
            self._routes.setdefault(route.prefix, {}).setdefault(_rank(route), route)
        self._touched.update(self._routes)
        self.stale = False

    def route_event(self, message: nl.Message) -> None:
        """Take in a route notification."""
        route = parse(message.body)
        if route is None:
            return
        known = self._routes.get(route.prefix, {}).get(_rank(route))
        if message.type == nl.RTM_NEWROUTE and (known is None or message.flags & nl.NLM_F_REPLACE):
            self._routes.setdefault(route.prefix, {})[_rank(route)] = route
        elif message.type == nl.RTM_DELROUTE and known == route:
            del self._routes[route.prefix][_rank(route)]
        else:
            self.stale = True
        self._touched.add(route.prefix)

    def object_changed(self, identifier: int, content: Content | None) -> None:
        """A next-hop object of anybody's appeared, changed, or (None) went."""
        if self._objects.get(identifier) == content:
            return
        users = [
            prefix
            for prefix, routes in self._routes.items()
            if any(route.next_hop for route in routes.values())
        ]
        if content is not None:
            self._objects[identifier] = content
        else:
            del self._objects[identifier]
            self.stale = self.stale or bool(users)  # its routes went with it, without a word
        self._touched.update(users)

    def links_changed(self) -> None:
        """A device went up or down: every route may have changed its worth."""
        self._touched.update(self._routes)
        self.stale = True

    def changes(self, links: dict[int, Link]) -> list[UnderlayRouteChanged]:
        """What the control plane has not been told yet; ``links`` by device number."""
        news: list[UnderlayRouteChanged] = []
        for prefix in self._touched:
            best = self._best(prefix, links)
            if best != self._told.get(prefix, UnderlayRouteChanged(prefix, ())):
                news.append(best)
                self._told[prefix] = best
            if not best.paths:
                self._told.pop(prefix, None)
        self._touched.clear()
        return news

    def _best(self, prefix: Prefix, links: dict[int, Link]) -> UnderlayRouteChanged:
        candidates = self._routes.get(prefix, {})
        for (tos, metric), route in sorted(candidates.items()):
            paths = tuple(self._usable(route, links)) if tos == 0 else ()
            if paths:
                return UnderlayRouteChanged(prefix, paths, metric)
        if not candidates:
            self._routes.pop(prefix, None)
        return UnderlayRouteChanged(prefix, ())

    def _usable(self, route: MainRoute, links: dict[int, Link]) -> Iterator[UnderlayPath]:
        for path in self._resolved(route):
            link = links.get(path.oif)
            if link is None or not (link.up and link.carrier) or path.dead or path.labels is None:
                continue
            yield UnderlayPath(path.gateway, link.name, path.labels, path.weight)

    def _resolved(self, route: MainRoute) -> Iterator[RawPath]:
        if not route.next_hop:
            yield from route.paths
            return
        content = self._objects.get(route.next_hop)
        members = content.members if isinstance(content, Group) else ((route.next_hop, 1),)
        for identifier, weight in members:
            leg = self._objects.get(identifier)
            if isinstance(leg, Member) and leg.oif:
                yield RawPath(leg.oif, leg.gateway, leg.labels, weight)


def _rank(route: MainRoute) -> tuple[int, int]:
    return route.tos, route.metric
