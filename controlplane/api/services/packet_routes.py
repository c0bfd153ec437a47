"""Add the way of a packet through the node to an explanation: port, route, labels."""

from __future__ import annotations

from bulkhead.v1 import policy_pb2 as pb

from controlplane.model.prefix import IPAddress
from controlplane.model.route_view import RouteFilter, RouteView
from controlplane.model.view import NodeView


def add_route(
    view: NodeView, response: pb.ExplainResponse, source: IPAddress, destination: IPAddress
) -> None:
    """Fill in what the VRF's routes say of both ends."""
    vrf = response.vrf
    inward, _ = _route(view, vrf, source)
    if inward is not None:
        response.ingress_port = f"{inward.port} (core)" if inward.labels else inward.port
    route, why_not = _route(view, vrf, destination)
    if route is None:
        response.reason += f"; there is no route to the destination{why_not}"
        return
    imports = next((set(v.import_targets) for v in view.vrfs() if v.name == vrf), set())
    response.route_prefix = route.prefix
    response.route_target = next((t for t in route.route_targets if t in imports), "")
    response.next_hop = route.next_hop or route.port
    response.labels.extend(route.labels)


def _route(view: NodeView, vrf: str, address: IPAddress) -> tuple[RouteView | None, str]:
    """Return the route by which the VRF reaches an address; if there is none, why not."""
    rows = list(view.routes(RouteFilter(vrf=vrf, prefix=str(address))))
    why_not = "".join(f": {row.prefix}: {row.inactive_reason}" for row in rows[:1])
    return next((row for row in rows if row.best), None), why_not
