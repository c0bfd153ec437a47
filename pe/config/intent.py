"""Convert checked sections to ``NodeIntent``; this module alone fills in defaults."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

from controlplane.model.intent import (
    ApiGrant,
    CePortIntent,
    CorePortIntent,
    NodeIntent,
    PeerIntent,
    Policy,
    PrefixLimit,
    StaticRouteIntent,
    TcpApiIntent,
    VrfIntent,
    WorkloadIntent,
)
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix, afi_of, mask
from pe.config.links import link_to
from pe.config.schema import (
    CE_MAX_PREFIX,
    CePortSection,
    MaxPrefixSection,
    NeighborSection,
    NodeSection,
    PeerSection,
    TcpSection,
    VrfSection,
)
from pe.config.secrets import Keys


def build_intent(node: NodeSection, keys: Keys) -> NodeIntent:
    """Return the intent of a file that passed every check."""
    return NodeIntent(
        name=node.name or socket.gethostname(),
        router_id=node.router_id or node.loopback,
        asn=node.asn,
        loopback=node.loopback,
        loopback6=node.loopback_ipv6,
        core_ports=tuple(
            CorePortIntent(
                name=name,
                addresses=tuple(port.addresses),
                mtu=port.mtu or 0,
                accept_explicit_null=port.accept_explicit_null,
                adjacent_pes=tuple(port.adjacent_pes),
            )
            for name, port in node.core_ports.items()
        ),
        management_ports=tuple(node.management_ports),
        peers=tuple(_peer(text, peer, node, keys) for text, peer in node.peers.items()),
        vrfs=tuple(_vrf(name, vrf, node, keys) for name, vrf in node.vrfs.items()),
        label_block=node.label_block,
        label_hold_down=node.timers.label_hold_down,
        restart_time=node.timers.restart_time,
        sync_timeout=node.timers.sync_timeout,
        resolve_via_default=node.resolve_via_default,
        removes_foreign_routes=node.foreign_routes == "remove",
        igp_costs=tuple((ip_address(pe), cost) for pe, cost in node.igp_costs.items()),
        run_dir=node.run_dir,
        state_dir=node.state_dir,
        socket_mode=node.api.socket_mode,
        tcp_api=_tcp(node.api.tcp) if node.api.tcp else None,
        metrics_socket=node.metrics_socket or "",
        speaker_user=node.speaker_user,
        speaker_uids=node.speaker_uids,
        log_level=node.log_level,
        segment_function=node.segment_function,
    )


def _peer(text: str, peer: PeerSection, node: NodeSection, keys: Keys) -> PeerIntent:
    address = ip_address(text)
    families = tuple(dict.fromkeys(peer.families))
    return PeerIntent(
        peer=PeerId("", address),
        asn=node.asn,
        local_as=node.asn,
        local_address=peer.local_address or _loopback(node, address),
        families=families,
        description=peer.description,
        md5=keys.by_session.get(("peers", text)),
        hold_time=peer.hold_time,
        ttl_security=peer.ttl_security or None,
        passive=peer.passive,
        prefix_limits=_limits(peer.max_prefix, families, 0),
        allow_as_in=peer.allowas_in,
        connect_port=peer.tcp_port,
    )


def _loopback(node: NodeSection, peer: IPAddress) -> IPAddress:
    return node.loopback if peer.version == 4 or not node.loopback_ipv6 else node.loopback_ipv6


def _limits(
    section: MaxPrefixSection, families: tuple[Family, ...], otherwise: int
) -> tuple[tuple[Family, PrefixLimit], ...]:
    usual = otherwise if section.maximum is None else section.maximum
    per_afi = {Afi.IPV4: section.ipv4, Afi.IPV6: section.ipv6}
    maxima = ((family, per_afi[family.afi] or usual) for family in families)
    return tuple(
        (family, PrefixLimit(maximum, section.warn_percent, section.idle_hold))
        for family, maximum in maxima
        if maximum
    )


def route_limits(node: NodeSection) -> dict[str, int]:
    """Return the maximum number of prefixes of each VRF, 0 if unlimited. VRFs without a limit of
    their own get equal shares of what the others leave of the node's limit."""
    limits = {name: vrf.limits.routes for name, vrf in node.vrfs.items()}
    unlimited = [name for name, limit in limits.items() if not limit]
    if node.limits.routes and unlimited:
        share = (node.limits.routes - sum(limits.values())) // len(unlimited)
        limits |= dict.fromkeys(unlimited, share)
    return limits


def _vrf(name: str, vrf: VrfSection, node: NodeSection, keys: Keys) -> VrfIntent:
    return VrfIntent(
        name=name,
        rd=vrf.rd,
        import_targets=frozenset((*vrf.route_target, *vrf.import_route_target)),
        export_targets=frozenset((*vrf.route_target, *vrf.export_route_target)),
        table=vrf.table or 0,
        ports=tuple(_port(name, port, section, vrf) for port, section in vrf.ports.items()),
        static_routes=tuple(_statics(vrf)),
        neighbors=tuple(
            _neighbor(name, text, neighbor, vrf, node, keys)
            for text, neighbor in vrf.neighbors.items()
        ),
        advertise_connected=vrf.advertise_connected,
        internet=vrf.internet,
        route_limit=route_limits(node)[name],
        conntrack_limit=vrf.limits.conntrack,
        new_flows_per_second=vrf.limits.new_flows_per_second,
        workload_limit=vrf.limits.workloads,
        description=vrf.description,
        workloads=tuple(
            WorkloadIntent(
                name=workload,
                port=section.port,
                addresses=tuple(dict.fromkeys(section.addresses)),
                tags=tuple(sorted(section.tags.items())),
            )
            for workload, section in vrf.workloads.items()
        ),
    )


def _neighbor(
    vrf_name: str,
    text: str,
    section: NeighborSection,
    vrf: VrfSection,
    node: NodeSection,
    keys: Keys,
) -> PeerIntent:
    address = ip_address(text)
    link = link_to(vrf, address, section.port)
    if link is None:
        raise ValueError(f"{address} is on no link of {vrf_name}")  # the checks let none through
    families = tuple(dict.fromkeys(section.families)) or (Family.of(afi_of(address), vpn=False),)
    return PeerIntent(
        peer=PeerId(vrf_name, address),
        asn=section.asn,
        local_as=node.asn,
        local_address=link.interface.ip,
        families=families,
        description=section.description,
        md5=keys.by_session.get(("vrfs", vrf_name, "neighbors", text)),
        hold_time=section.hold_time,
        ttl_security=section.ttl_security or None,
        passive=section.passive,
        prefix_limits=_limits(section.max_prefix, families, CE_MAX_PREFIX),
        port=link.port,
        import_policy=section.import_,
        export_policy=section.export,
        as_override=section.as_override,
        allow_as_in=section.allowas_in,
        enforce_first_as=section.enforce_first_as,
        third_party_next_hop=section.third_party_next_hop,
        site_of_origin=section.site_of_origin,
        remove_private_as=section.remove_private_as,
        internet=vrf.internet,
        connect_port=section.tcp_port,
    )


def _statics(vrf: VrfSection) -> list[StaticRouteIntent]:
    """Return the routes, each with the port that its next hop is on."""
    routes = []
    for route in vrf.static_routes:
        link = link_to(vrf, route.via, route.port) if route.via else None
        port = route.port or (link.port if link else "")
        routes.append(StaticRouteIntent(prefix=route.prefix, via=route.via, port=port))
    return routes


def _port(vrf_name: str, name: str, port: CePortSection, vrf: VrfSection) -> CePortIntent:
    return CePortIntent(
        name=name,
        vrf=vrf_name,
        addresses=tuple(port.addresses),
        parent=port.parent or "",
        vlan=port.vlan or 0,
        mtu=port.mtu or 0,
        sources=_sources(name, port, vrf),
        description=port.description,
    )


def _sources(name: str, port: CePortSection, vrf: VrfSection) -> tuple[Prefix, ...] | None:
    """Return the source prefixes, by default those that the site may advertise."""
    if not isinstance(port.source_prefixes, str):
        return port.source_prefixes
    found = {
        Prefix(mask(i.ip.packed, i.network.prefixlen), i.network.prefixlen) for i in port.addresses
    }
    found |= {route.prefix for route in _statics(vrf) if route.port == name}
    found |= {p for w in vrf.workloads.values() if w.port == name for p in w.addresses}
    for policy in _policies_on(name, vrf):
        if policy.accept is None or policy.default_route:
            return None
        found |= {rule.prefix for rule in policy.accept}
    return tuple(sorted(found, key=lambda prefix: (prefix.afi, prefix)))


def _policies_on(port: str, vrf: VrfSection) -> Iterator[Policy]:
    for text, neighbor in vrf.neighbors.items():
        link = link_to(vrf, ip_address(text), neighbor.port)
        if link and link.port == port:
            yield neighbor.import_


def _tcp(tcp: TcpSection) -> TcpApiIntent:
    return TcpApiIntent(
        address=tcp.address,
        port=tcp.port,
        certificate=tcp.certificate,
        key=tcp.key,
        client_ca=tcp.client_ca,
        client_crl=tcp.client_crl or "",
        grants=tuple(
            ApiGrant(identity=g.identity, role=g.role, vrfs=tuple(g.vrfs)) for g in tcp.grants
        ),
        bind_device=tcp.bind_device or "",
    )
