"""Explain why a packet is allowed or denied: identities, rules, verdict.

The node adds what is not policy: the port, the route and its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import grpc
from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.details import field_refusal
from controlplane.api.access.status import StatusError
from controlplane.api.answers import policy_messages as messages
from controlplane.model.name_list import those
from controlplane.model.prefix import IPAddress, parse_address
from controlplane.model.protocols import PORT_PROTOCOLS
from controlplane.model.workload import Packet, Workload
from controlplane.policy.insight.explain import Explanation, explain
from controlplane.policy.insight.flowbook import FlowVerdict
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import MalformedError
from controlplane.policy.language.service import PROTOCOLS, Service, parse_service


def explain_packet(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield the answer but for the route; then the addresses that were chosen, each in a part."""
    query = pb.ExplainRequest.FromString(request)
    view = replica.view(CALLER.get().vrfs)
    vrf = _vrf(view, query)
    service = _service(query.service)
    source, destination = _ends(view, query, vrf)
    packet = _packet(service, source.version)

    def of(whole: Policy, part: Policy) -> Explanation:
        """Decide by the whole policy, list the steps of the part that the caller may see."""
        what = (view.inventory, vrf, source, destination, packet)
        return _visible(explain(whole, *what), explain(part, *what), part)

    enforced = of(replica.policy(replica.enforced), view.queries.policy)
    beside = of(replica.policy(replica.staged), view.staged) if view.staged else None
    yield pb.ExplainResponse(
        vrf=vrf,
        source=messages.end(enforced.source),
        destination=messages.end(enforced.destination),
        enforced_steps=map(messages.step, enforced.steps),
        enforced=messages.ruling(_ruling(enforced)),
        staged_steps=map(messages.step, beside.steps if beside else ()),
        staged=messages.ruling(_ruling(beside)) if beside else None,
        reason=enforced.decision.why,
    ).SerializeToString()
    yield str(source).encode()
    yield str(destination).encode()


def _visible(whole: Explanation, part: Explanation, policy: Policy) -> Explanation:
    """Return a decision whose reason names the visible form of its rule."""
    rule = next((rule for rule in policy.rules if rule.id == whole.decision.rule), None)
    decision = whole.decision
    if rule is not None:
        decision = replace(decision, why=f"rule {rule.id}: {rule}")
    return replace(part, decision=decision)


def _vrf(view: View, query: pb.ExplainRequest) -> str:
    """Return the VRF of the request. One that is not the caller's does not exist for it."""
    named = [_workload(view, text) for text in (query.source, query.destination)]
    vrf = query.vrf or next((w.vrf for w in named if w), "")
    if not vrf:
        raise _bad(
            "vrf", f"is needed: neither {query.source!r} nor {query.destination!r} names a workload"
        )
    if vrf not in view.vrfs:
        text = f"there is no VRF {vrf!r}{those('VRFs', view.vrfs)}"
        raise _bad("vrf", text, grpc.StatusCode.NOT_FOUND)
    return vrf


def _workload(view: View, text: str) -> Workload | None:
    attachment = view.population.attachments.get(text)
    return attachment.workload if attachment else None


def _ends(view: View, query: pb.ExplainRequest, vrf: str) -> tuple[IPAddress, IPAddress]:
    """Return addresses of one family; IPv4 where both ends are names and have it."""
    found = {
        field: _addresses(view, field, getattr(query, field), vrf)
        for field in ("source", "destination")
    }
    for source in found["source"]:
        for destination in found["destination"]:
            if source.version == destination.version:
                return source, destination
    raise _bad("destination", "has no address of the source's family")


def _addresses(view: View, field: str, text: str, vrf: str) -> list[IPAddress]:
    workload = _workload(view, text)
    if workload is not None and workload.vrf == vrf:
        return [parse_address(str(p).partition("/")[0]) for p in workload.addresses]
    try:
        return [parse_address(text)]
    except ValueError:
        here = (n for n, a in view.population.attachments.items() if a.workload.vrf == vrf)
        what = f"{text!r} is no address and no workload of VRF {vrf}{those('workloads', here)}"
        raise _bad(field, what) from None


def _ruling(explanation: Explanation) -> FlowVerdict:
    decision = explanation.decision
    return FlowVerdict(decision.allowed, decision.rule, bool(decision.logged))


def _service(text: str) -> Service:
    try:
        services: Iterable[Service] = parse_service(text, {})
    except MalformedError as error:
        raise _bad("service", str(error)) from None
    service = next(iter(services))
    if service.protocol is not None and text in PROTOCOLS and service.low != service.high:
        missing = "port" if service.protocol in PORT_PROTOCOLS else "type"
        raise _bad("service", f"{text} without a {missing}: write {text}/{missing.upper()}")
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
