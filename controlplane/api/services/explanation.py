"""Why a packet gets through or does not: port, VRF, route, labels, identities, rules, verdict."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.access.status import StatusError, denied
from controlplane.api.services import policy_messages as messages
from controlplane.model.prefix import IPAddress, parse_address
from controlplane.model.protocols import PORT_PROTOCOLS
from controlplane.model.verdict_tables import Slot
from controlplane.model.view import NodeView, RouteFilter, RouteView
from controlplane.model.workload import Packet, Workload
from controlplane.policy.insight.explain import Explanation, explain
from controlplane.policy.insight.flowbook import FlowVerdict
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.service import Service, parse_service
from controlplane.policy.state import PolicyState


class Explainer:
    """Reads the node's routes and the director; changes nothing."""

    def __init__(self, view: NodeView, director: PolicyState, answers: PolicyQueries) -> None:
        self._view = view
        self._director = director
        self._answers = answers

    def explain(self, request: pb.ExplainRequest) -> pb.ExplainResponse:
        """Answer a request; raises Refusal."""
        vrf = self._vrf(request)
        service = _service(request.service)
        source, destination = self._ends(request, vrf)
        packet = _packet(service, source.version)
        policy, staged = self._answers.policy, self._director.policy(Slot.STAGED)
        inventory = self._answers.inventory
        what = (inventory, vrf, source, destination, packet)
        enforced = explain(policy, *what)
        beside = explain(staged, *what) if staged else None
        response = pb.ExplainResponse(
            vrf=vrf,
            ingress_port=self._port(vrf, source),
            source=messages.end(enforced.source),
            destination=messages.end(enforced.destination),
            enforced_steps=map(messages.step, enforced.steps),
            enforced=messages.ruling(_ruling(enforced)),
            staged_steps=map(messages.step, beside.steps if beside else ()),
            staged=messages.ruling(_ruling(beside)) if beside else None,
            reason=enforced.decision.why,
        )
        self._add_route(response, vrf, destination)
        return response

    def _vrf(self, request: pb.ExplainRequest) -> str:
        named = [self._workload(text) for text in (request.source, request.destination)]
        vrf = request.vrf or next((w.vrf for w in named if w), "")
        if not vrf:
            raise _bad("vrf", "is needed where neither end is a workload's name")
        if not CALLER.get().may_see(vrf):
            raise denied(f"VRF {vrf} is not yours")
        if vrf not in self._director.vrfs:
            raise _bad("vrf", f"there is no VRF {vrf!r}", grpc.StatusCode.NOT_FOUND)
        return vrf

    def _workload(self, text: str) -> Workload | None:
        attachment = self._director.population.attachments.get(text)
        return attachment.workload if attachment else None

    def _ends(self, request: pb.ExplainRequest, vrf: str) -> tuple[IPAddress, IPAddress]:
        """Addresses of one family; IPv4 where both ends are names and have it."""
        found = {
            field: self._addresses(field, getattr(request, field), vrf)
            for field in ("source", "destination")
        }
        for source in found["source"]:
            for destination in found["destination"]:
                if source.version == destination.version:
                    return source, destination
        raise _bad("destination", "has no address of the source's family")

    def _addresses(self, field: str, text: str, vrf: str) -> list[IPAddress]:
        workload = self._workload(text)
        if workload is not None and workload.vrf == vrf:
            return [parse_address(str(p).partition("/")[0]) for p in workload.addresses]
        try:
            return [parse_address(text)]
        except ValueError:
            raise _bad(field, f"{text!r} is no address and no workload of VRF {vrf}") from None

    def _port(self, vrf: str, source: IPAddress) -> str:
        route = self._route(vrf, source)
        if route is None:
            return ""
        return f"{route.port} (core)" if route.labels else route.port

    def _route(self, vrf: str, address: IPAddress) -> RouteView | None:
        wanted = RouteFilter(vrf=vrf, prefix=str(address))
        return next((row for row in self._view.routes(wanted) if row.best), None)

    def _add_route(self, response: pb.ExplainResponse, vrf: str, destination: IPAddress) -> None:
        route = self._route(vrf, destination)
        if route is None:
            response.reason += "; there is no route to the destination"
            return
        imports = next((set(v.import_targets) for v in self._view.vrfs() if v.name == vrf), set())
        response.route_prefix = route.prefix
        response.route_target = next((t for t in route.route_targets if t in imports), "")
        response.next_hop = route.next_hop or route.port
        response.labels.extend(route.labels)


def _ruling(explanation: Explanation) -> FlowVerdict:
    return FlowVerdict(explanation.decision.allowed, explanation.decision.rule)


def _service(text: str) -> Service:
    try:
        services: Iterable[Service] = parse_service(text, {})
    except MalformedError as error:
        raise _bad("service", str(error)) from None
    service = next(iter(services))
    if service.protocol is None or service.low != service.high:
        raise _bad("service", "name one: tcp/443, udp/53, icmp/echo-request, gre")
    return service


def _packet(service: Service, family: int) -> Packet:
    protocol = service.protocol or 0
    ported = protocol in PORT_PROTOCOLS
    return Packet(
        family,
        protocol,
        dport=service.low if ported else 0,
        icmp_type=0 if ported else service.low,
    )


def _bad(
    field: str, text: str, code: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT
) -> StatusError:
    return field_refusal(code, [(field, text)])
