"""One VRF as it runs: its intent, its label and table number, its routes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from controlplane.bgp.adj_rib_out import ExportMark
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import Attributes, Origin
from controlplane.model.desired import NextHopKey
from controlplane.model.intent import CePortIntent, StaticRouteIntent, VrfIntent
from controlplane.model.label import Label
from controlplane.model.martians import PrefixCover, is_unique
from controlplane.model.prefix import IPAddress, Prefix
from controlplane.vpn.labels import zone_of
from controlplane.vpn.table_index import TableIndex
from controlplane.vpn.vrf_table import VrfTable
from controlplane.vpn.workload_ways import WorkloadWays

LOCAL = Attributes(origin=Origin.INCOMPLETE)  # not from a routing protocol (RFC 4271 s. 5.1.1)

LocalRoutes: TypeAlias = dict[tuple[Prefix, Source], Path]


class Vrf:
    """Runtime of a VRF. ``number`` is the kernel's table, ``zone`` that of its connections."""

    def __init__(self, intent: VrfIntent, label: Label, index: TableIndex | None = None) -> None:
        self._index = index or TableIndex()
        self._take(intent)
        self.label = label
        self.number = intent.table or int(label)
        self.zone = zone_of(label)
        self.table = VrfTable(intent.name, self._index)
        self.refused = 0  # routes that found the table full, or are none for the Internet
        self.asked_at = float("-inf")  # when they were last asked for again
        self._local: LocalRoutes = {}
        self.workloads = WorkloadWays(self.table)
        self.workloads.speak_at(intent.neighbors)

    def reconfigure(self, intent: VrfIntent) -> None:
        """Take another intent."""
        if intent.route_limit != self.intent.route_limit:
            self.asked_at = float("-inf")
        self._take(intent)
        self.workloads.speak_at(intent.neighbors)

    def _take(self, intent: VrfIntent) -> None:
        self.intent = intent
        self.links = tuple(_network(a.network) for port in intent.ports for a in port.addresses)
        """The prefixes of the VRF's own links."""
        self.cover = PrefixCover(self.links)

    @property
    def name(self) -> str:
        """The VRF's name, which is its device's too."""
        return self.intent.name

    @property
    def mark(self) -> ExportMark:
        """What every exported route carries."""
        intent = self.intent
        return ExportMark(intent.rd, self.label, intent.export_targets, intent.advertise_connected)

    def port(self, name: str) -> CePortIntent | None:
        """Return the CE port of that name."""
        return next((port for port in self.intent.ports if port.name == name), None)

    def offer(self, prefixes: list[Prefix], path: Path) -> list[Prefix]:
        """Make a path a candidate; gives the prefixes that a full VRF had no room for.

        A limit per VRF keeps one customer from filling the node's memory (RFC 4381 s. 3.3).
        """
        if self.intent.internet:
            prefixes = self._unique(prefixes)
        limit = self.intent.route_limit
        if not limit or len(self.table) + len(prefixes) <= limit:
            self.table.put(prefixes, path)
            return []
        return [prefix for prefix in prefixes if not self._offer_one(prefix, path, limit)]

    def _offer_one(self, prefix: Prefix, path: Path, limit: int) -> bool:
        if len(self.table) >= limit and prefix not in self.table:
            self.refused += 1
            self._index.overflowed[self.name] = None
            return False
        self.table.put((prefix,), path)
        return True

    def _unique(self, prefixes: list[Prefix]) -> list[Prefix]:
        """RFC 4364 section 11. What is left out stays with its peer, for a change of mind."""
        unique = [prefix for prefix in prefixes if is_unique(prefix)]
        self.refused += len(prefixes) - len(unique)
        return unique

    @property
    def overflowed(self) -> bool:
        """True while some of the routes that it had no room for are not here."""
        return self.name in self._index.overflowed

    @property
    def has_room(self) -> bool:
        """True once it is worth asking again: not for every single route that comes and goes."""
        limit = self.intent.route_limit
        return not limit or len(self.table) <= limit - max(1, limit // 10)

    def lay_local(self) -> None:
        """Offer static and connected routes as the intent has them, and take back others."""
        # A source names protocol and link: with the prefix, it says all that a local path does.
        found = {(prefix, path.source): path for prefix, path in self._local_routes()}
        wanted = {key: self._local.get(key, path) for key, path in found.items()}
        for key in [key for key in self._local if key not in wanted]:
            self.table.drop(key[0], self._local[key].slot)
        for (prefix, _), path in wanted.items():
            self.table.put((prefix,), path)
        self._local = wanted

    def _local_routes(self) -> Iterator[tuple[Prefix, Path]]:
        for port in self.intent.ports:
            for interface in port.addresses:
                prefix = _network(interface.network)
                hop = NextHopKey(prefix.afi, None, device=port.name)
                yield prefix, self._local_path(RouteProtocol.CONNECTED, hop)
        for prefix, hop in self.static_hops():
            yield prefix, self._local_path(RouteProtocol.STATIC, hop)

    def _local_path(self, protocol: RouteProtocol, hop: NextHopKey) -> Path:
        # The link is part of the source: two ways to one prefix stand beside each other.
        via = f"{hop.device} {hop.address or ''}"
        return Path(Source(protocol, self.name, via=via), LOCAL, hop)

    def static_hops(self) -> Iterator[tuple[Prefix, NextHopKey]]:
        """Yield every static route and where it leads."""
        for route in self.intent.static_routes:
            yield route.prefix, self._static_hop(route)

    def _static_hop(self, route: StaticRouteIntent) -> NextHopKey:
        port = route.port or (self._link_to(route.via) if route.via is not None else "")
        return NextHopKey(route.prefix.afi, route.via, device=port)

    def _link_to(self, address: IPAddress) -> str:
        ports: Iterable[CePortIntent] = self.intent.ports
        return next((p.name for p in ports for a in p.addresses if address in a.network), "")


def _network(network: IPv4Network | IPv6Network) -> Prefix:
    return Prefix(network.network_address.packed, network.prefixlen)
