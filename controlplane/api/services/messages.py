"""Rows of the view -> messages of the contract, one function a kind."""

from __future__ import annotations

from bulkhead.v1 import node_pb2 as pb

from controlplane.model import view
from controlplane.model.route_view import RouteSource, RouteView

_STATES = {
    view.SessionState.IDLE: pb.Neighbor.SESSION_STATE_IDLE,
    view.SessionState.CONNECT: pb.Neighbor.SESSION_STATE_CONNECT,
    view.SessionState.ACTIVE: pb.Neighbor.SESSION_STATE_ACTIVE,
    view.SessionState.ESTABLISHED: pb.Neighbor.SESSION_STATE_ESTABLISHED,
    view.SessionState.HELD_DOWN: pb.Neighbor.SESSION_STATE_HELD_DOWN,
}
_SOURCES = {
    RouteSource.CONNECTED: pb.Route.SOURCE_CONNECTED,
    RouteSource.STATIC: pb.Route.SOURCE_STATIC,
    RouteSource.EBGP: pb.Route.SOURCE_EBGP,
    RouteSource.VPN: pb.Route.SOURCE_VPN,
    RouteSource.LEAKED: pb.Route.SOURCE_LEAKED,
    RouteSource.WORKLOAD: pb.Route.SOURCE_WORKLOAD,
    RouteSource.FOREIGN: pb.Route.SOURCE_FOREIGN,
}


def status(row: view.StatusView) -> pb.GetStatusResponse:
    """Return the node."""
    return pb.GetStatusResponse(
        name=row.name,
        version=row.version,
        router_id=row.router_id,
        asn=row.asn,
        loopbacks=row.loopbacks,
        uptime_seconds=int(row.uptime),
        in_sync=row.in_sync,
        failing=row.failing,
        config_file=row.config_file,
        config_loaded_unix=int(row.config_loaded),
        label_block=row.label_block,
        left_out=row.left_out,
        left_out_routes=row.left_out_routes,
        foreign=row.foreign,
        foreign_objects=row.foreign_objects,
        flow_log_problem=row.flow_log_problem,
        enforced_revision=row.enforced_revision,
        workloads=row.workloads,
        held_down=row.held_down,
        hold_down_seconds=int(row.hold_down),
        audit_log=row.audit_log,
    )


def vrf(row: view.VrfView) -> pb.Vrf:
    """Return one VPN."""
    return pb.Vrf(
        name=row.name,
        description=row.description,
        rd=row.rd,
        import_targets=row.import_targets,
        export_targets=row.export_targets,
        table=row.table,
        label=row.label,
        ports=row.ports,
        routes=row.routes,
        active_routes=row.active_routes,
        route_limit=row.route_limit,
        refused_routes=row.refused_routes,
    )


def neighbor(row: view.NeighborView) -> pb.Neighbor:
    """Return one session."""
    return pb.Neighbor(
        vrf=row.vrf,
        address=row.address,
        asn=row.asn,
        local_asn=row.local_asn,
        local_address=row.local_address,
        port=row.port,
        description=row.description,
        state=_STATES[row.state],
        state_seconds=int(row.state_age or 0),
        never_up=row.state_age is None,
        router_id=row.router_id,
        families=[_family(family) for family in row.families],
        hold_time=row.hold_time,
        flaps=row.flaps,
        last_error=row.last_error,
        held_seconds=int(row.held_for),
        md5=row.md5,
        ttl_security=row.ttl_security,
        refused=dict(row.refused),
        refused_routes=map(_refused, row.refused_routes),
        unsent_routes=map(_refused, row.unsent_routes),
    )


def _refused(row: view.RefusedRouteView) -> pb.RefusedRoute:
    return pb.RefusedRoute(
        family=row.family, prefix=row.prefix, rd=row.rd, reason=row.reason,
        age_seconds=int(row.age),
    )  # fmt: skip


def _family(row: view.NeighborFamilyView) -> pb.NeighborFamily:
    return pb.NeighborFamily(
        family=row.family,
        negotiated=row.negotiated,
        received=row.received,
        stale=row.stale,
        sent=row.sent,
        limit=row.limit,
        end_of_rib=row.end_of_rib,
    )


def route(row: RouteView) -> pb.Route:
    """Return one path."""
    return pb.Route(
        vrf=row.vrf,
        prefix=row.prefix,
        source=_SOURCES[row.source],
        next_hop=row.next_hop,
        port=row.port,
        labels=row.labels,
        best=row.best,
        active=row.active,
        age_seconds=None if row.age is None else int(row.age),
        neighbor=row.neighbor,
        rd=row.rd,
        local_preference=row.local_pref,
        med=row.med,
        origin=row.origin,
        as_path=row.as_path,
        communities=row.communities,
        large_communities=row.large_communities,
        route_targets=row.route_targets,
        sites_of_origin=row.sites_of_origin,
        extended_communities=row.extended_communities,
        atomic_aggregate=row.atomic_aggregate,
        aggregator=row.aggregator,
        originator_id=row.originator_id,
        cluster_list=row.cluster_list,
        unknown_attributes=row.unknown_attributes,
        stale=row.stale,
        inactive_reason=row.inactive_reason,
        protocol=row.protocol,
        refused=row.refused,
        type=row.kind,
        metric=row.metric,
        tos=row.tos,
        from_prefix=row.from_prefix,
        advertised_to=row.advertised_to,
    )


def label(row: view.LabelView) -> pb.Label:
    """Return one label."""
    state = pb.Label.STATE_HOLD_DOWN if row.held_down else pb.Label.STATE_IN_USE
    return pb.Label(
        label=row.label,
        vrf=row.vrf,
        state=state,
        table=row.table,
        hold_down_seconds=int(row.hold_down),
    )


def next_hop(row: view.NextHopView) -> pb.NextHop:
    """Return one next hop."""
    paths = [
        pb.NextHopPath(gateway=p.gateway, port=p.port, labels=p.labels, weight=p.weight)
        for p in row.paths
    ]
    return pb.NextHop(
        id=row.id,
        address=row.address,
        vrf=row.vrf,
        vpn_label=row.vpn_label,
        reachable=row.reachable,
        paths=paths,
        routes=row.routes,
    )


def port(row: view.PortView) -> pb.Port:
    """Return one port."""
    return pb.Port(
        name=row.name,
        role=pb.Port.ROLE_CE if row.vrf else pb.Port.ROLE_CORE,
        vrf=row.vrf,
        present=row.present,
        up=row.up,
        addresses=row.addresses,
        mtu=row.mtu,
        source_prefixes=row.sources or (),
        any_source=row.sources is None,
        description=row.description,
        guarded=row.guarded,
        problem=row.problem,
    )


def counter(row: view.CounterView) -> pb.Counter:
    """Return one counter."""
    return pb.Counter(name=row.name, labels=dict(row.labels), value=row.value)


def guard(row: view.GuardView) -> pb.Guard:
    """Return one guard."""
    return pb.Guard(
        requirement=row.requirement,
        name=row.name,
        vrf=row.vrf,
        port=row.port,
        action=row.action,
        traffic_class=row.traffic_class,
        family=row.family,
        packets=row.packets,
        bytes=row.bytes,
    )
