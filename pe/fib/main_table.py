"""The main table as the control plane should see it: the best route per prefix, resolved.

Kept from events; where an event alone does not show what is left (an appended or partly deleted
multipath route), it becomes ``stale`` and has to be loaded anew. Routes that vanish in silence
with their device are read again for that device alone. Routes that name a next-hop object are
resolved here, because with ``nexthop_compat_mode=0`` the kernel does not expand them.
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
    """All main-table routes, the next-hop objects they name, and what of it has been reported.

    Routes are found by device and by object, so that an event costs what depends on it.
    """

    def __init__(self) -> None:
        self.stale = True
        self.unverified: set[int] = set()
        """Numbers of devices whose routes have to be read anew."""
        self._routes: dict[Prefix, dict[tuple[int, int], MainRoute]] = {}
        self._by_device: dict[int, dict[Prefix, None]] = {}
        self._by_object: dict[int, dict[Prefix, None]] = {}
        self._objects: dict[int, Content] = {}
        self._objects_on: dict[int, set[int]] = {}
        self._groups_of: dict[int, set[int]] = {}
        self._reported: dict[Prefix, UnderlayRouteChanged] = {}
        self._touched: set[Prefix] = set()

    def load(self, routes: Iterable[MainRoute]) -> None:
        """Replace everything by what a dump found."""
        self._touched.update(self._routes)
        self._routes.clear()
        self._by_device.clear()
        self._by_object.clear()
        for route in routes:
            # Of two IPv4 routes that differ in nothing but their next hop the first is used.
            if _rank(route) not in self._routes.get(route.prefix, {}):
                self._put(route)
        self.stale = False
        self.unverified.clear()

    def load_device(self, device: int, routes: Iterable[MainRoute]) -> None:
        """Replace the routes that use one device by what a dump of those found: IPv4 routes and
        next-hop objects vanish in silence with a device that goes down (fib_sync_down_dev)."""
        found = {(route.prefix, _rank(route)): route for route in reversed([*routes])}
        for prefix in self._users(device):
            for rank, route in [*self._routes.get(prefix, {}).items()]:
                if (prefix, rank) not in found and self._uses(route, device):
                    self._drop(route)
        for route in found.values():
            self._put(route)
        self.unverified.discard(device)

    def _put(self, route: MainRoute) -> None:
        before = self._routes.get(route.prefix, {}).get(_rank(route))
        if before == route:
            return
        if before is not None:
            self._drop(before)
        self._routes.setdefault(route.prefix, {})[_rank(route)] = route
        for path in route.paths:
            self._by_device.setdefault(path.oif, {})[route.prefix] = None
        if route.next_hop:
            self._by_object.setdefault(route.next_hop, {})[route.prefix] = None
        self._touched.add(route.prefix)

    def _drop(self, route: MainRoute) -> None:
        left = self._routes[route.prefix]
        del left[_rank(route)]
        if not left:
            del self._routes[route.prefix]
        for path in route.paths:
            if not any(path.oif == p.oif for other in left.values() for p in other.paths):
                _discard(self._by_device, path.oif, route.prefix)
        if route.next_hop and not any(route.next_hop == o.next_hop for o in left.values()):
            _discard(self._by_object, route.next_hop, route.prefix)
        self._touched.add(route.prefix)

    def _users(self, device: int) -> dict[Prefix, None]:
        """The prefixes that have a route by this device, their own path or an object's."""
        found = dict(self._by_device.get(device, {}))
        for identifier in self._objects_on.get(device, ()):
            for each in (identifier, *self._groups_of.get(identifier, ())):
                found |= self._by_object.get(each, {})
        return found

    def _uses(self, route: MainRoute, device: int) -> bool:
        return any(path.oif == device for path in (*route.paths, *self._resolved(route)))

    def route_event(self, message: nl.Message) -> None:
        """Take in a route notification."""
        route = parse(message.body)
        if route is None:
            return
        known = self._routes.get(route.prefix, {}).get(_rank(route))
        if message.type == nl.RTM_NEWROUTE and (known is None or message.flags & nl.NLM_F_REPLACE):
            self._put(route)
        elif message.type == nl.RTM_DELROUTE and (known is None or known == route):
            if known is not None:
                self._drop(known)
        else:
            self.stale = True
        self._touched.add(route.prefix)

    def object_changed(self, identifier: int, content: Content | None) -> None:
        """Take in a next-hop object of any program: new, changed, or (None) deleted."""
        before = self._objects.get(identifier)
        if before == content:
            return
        self._unindex(identifier, before)
        groups = self._groups_of.get(identifier, set())
        for each in (identifier, *groups):
            self._touched.update(self._by_object.get(each, ()))
        if content is None:
            del self._objects[identifier]
            # Its routes went with it, and those of a group that it was the last member of.
            self.stale |= any(each in self._by_object for each in (identifier, *groups))
            return
        self._objects[identifier] = content
        if isinstance(content, Group):
            for member, _ in content.members:
                self._groups_of.setdefault(member, set()).add(identifier)
        elif content.oif:
            self._objects_on.setdefault(content.oif, set()).add(identifier)

    def _unindex(self, identifier: int, content: Content | None) -> None:
        if isinstance(content, Group):
            for member, _ in content.members:
                self._groups_of.get(member, set()).discard(identifier)
        elif content is not None:
            self._objects_on.get(content.oif, set()).discard(identifier)

    def link_changed(self, device: int, *, gone: bool) -> None:
        """Mark the routes of a device that was added, deleted, or set up or down as touched."""
        users = self._users(device)
        self._touched.update(users)
        if users and gone:
            # With the device went every IPv4 route that had a path by it (NETDEV_UNREGISTER in
            # fib_sync_down_dev); of the IPv6 ones each is reported.
            for prefix in users:
                for route in [*self._routes.get(prefix, {}).values()]:
                    if self._uses(route, device):
                        self._drop(route)
            self.unverified.discard(device)
        elif users:
            self.unverified.add(device)

    def changes(self, links: dict[int, Link]) -> list[UnderlayRouteChanged]:
        """Return what has not been reported to the control plane; ``links`` by device number."""
        news: list[UnderlayRouteChanged] = []
        for prefix in self._touched:
            best = self._best(prefix, links)
            if best != self._reported.get(prefix, UnderlayRouteChanged(prefix, ())):
                news.append(best)
                self._reported[prefix] = best
            if not best.paths:
                self._reported.pop(prefix, None)
        self._touched.clear()
        return news

    def _best(self, prefix: Prefix, links: dict[int, Link]) -> UnderlayRouteChanged:
        candidates = self._routes.get(prefix, {})
        for (tos, metric), route in sorted(candidates.items()):
            paths = tuple(self._usable(route, links)) if tos == 0 else ()
            if paths:
                return UnderlayRouteChanged(prefix, paths, metric)
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
            member = self._objects.get(identifier)
            if isinstance(member, Member) and member.oif:
                yield RawPath(member.oif, member.gateway, member.labels, weight)


def _rank(route: MainRoute) -> tuple[int, int]:
    return route.tos, route.metric


def _discard(index: dict[int, dict[Prefix, None]], key: int, prefix: Prefix) -> None:
    found = index.get(key)
    if found is not None:
        found.pop(prefix, None)
        if not found:
            del index[key]
