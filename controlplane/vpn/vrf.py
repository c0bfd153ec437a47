"""One VRF as it runs: its wish, its label and table number, its routes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from controlplane.bgp.path import Path, Protocol, Source
from controlplane.model.attributes import Attributes, Origin
from controlplane.model.desired import NextHopKey
from controlplane.model.intent import CePortIntent, StaticRouteIntent, VrfIntent
from controlplane.model.label import Label
from controlplane.model.prefix import Prefix
from controlplane.vpn.vrf_table import VrfTable

LOCAL = Attributes(origin=Origin.INCOMPLETE)


class Vrf:
    """Runtime of a VRF. ``number`` is the kernel's table."""

    def __init__(self, intent: VrfIntent, label: Label) -> None:
        self.intent = intent
        self.label = label
        self.number = intent.table or int(label)
        self.table = VrfTable()
        self.refused = 0
        self._local: dict[object, tuple[Prefix, Path]] = {}

    @property
    def name(self) -> str:
        """The VRF's name, which is its device's too."""
        return self.intent.name

    @property
    def export_identity(self) -> tuple[object, ...]:
        """What every exported route carries: if it changes, all are announced anew."""
        return (self.intent.rd, self.label, self.intent.export_targets)

    def port(self, name: str) -> CePortIntent | None:
        """The CE port of that name."""
        return next((port for port in self.intent.ports if port.name == name), None)

    def offer(self, prefix: Prefix, path: Path) -> bool:
        """Make a path a candidate, unless the VRF is full (RFC 4381 section 3.3); False if so."""
        limit = self.intent.route_limit
        if limit and len(self.table) >= limit and prefix not in self.table:
            self.refused += 1
            return False
        self.table.put(prefix, path)
        return True

    def lay_local(self) -> None:
        """Offer static and connected routes; a path that was there before stays the same object."""
        local = {}
        for key, prefix, hop, protocol in self._local_routes():
            known = self._local.get(key)
            path = known[1] if known else Path(Source(protocol, self.name), LOCAL, hop)
            local[key] = (prefix, path)
            self.table.put(prefix, path)
        self._local = local

    def _local_routes(self) -> Iterator[tuple[object, Prefix, NextHopKey, Protocol]]:
        for port in self.intent.ports:
            for interface in port.addresses:
                network = ip_network(interface.network)
                prefix = Prefix(network.network_address.packed, network.prefixlen)
                hop = NextHopKey(prefix.afi, None, device=port.name)
                yield (port.name, interface), prefix, hop, Protocol.CONNECTED
        for route in self.intent.static_routes:
            yield route, route.prefix, self._static_hop(route), Protocol.STATIC

    def _static_hop(self, route: StaticRouteIntent) -> NextHopKey:
        port = route.port
        if route.via is not None and not port:
            links = (
                p.name for p in self.intent.ports for a in p.addresses if route.via in a.network
            )
            port = next(links, "")
        return NextHopKey(route.prefix.afi, route.via, device=port)
