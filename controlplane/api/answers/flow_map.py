"""Draw the map: boxes for groups, arrows for the flows between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from bulkhead.v1 import flows_pb2 as pb

from controlplane.api.answers.policy_messages import stamp
from controlplane.policy.insight.flowbook import Seen
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.insight.recommend import services_of
from controlplane.policy.language.policy import ModeSetting, Policy

_KINDS = {
    "group": pb.MapNode.KIND_GROUP,
    "network": pb.MapNode.KIND_NETWORK_SET,
    "workload": pb.MapNode.KIND_WORKLOAD,
    "unknown": pb.MapNode.KIND_UNKNOWN,
}


@dataclass(slots=True)
class _Edge:
    flows: list[Seen] = field(default_factory=list)


def draw(flows: Iterable[Seen], answers: PolicyQueries, vrfs: Iterable[str]) -> pb.GetMapResponse:
    """Return a map with every workload of these VRFs, with or without flows."""
    nodes: dict[tuple[str, str], pb.MapNode] = {}
    _furnish(nodes, answers, frozenset(vrfs))
    edges: dict[tuple[str, str, str], _Edge] = {}
    for seen in flows:
        ends = []
        for who in answers.ends(seen):
            name, kind = answers.box(who)
            nodes.setdefault((seen.vrf, name), _node(seen.vrf, name, kind, answers.policy))
            ends.append(name)
        edges.setdefault((seen.vrf, ends[0], ends[1]), _Edge()).flows.append(seen)
    return pb.GetMapResponse(
        nodes=[nodes[key] for key in sorted(nodes)],
        edges=[_edge(key, edges[key].flows) for key in sorted(edges)],
    )


def _furnish(
    nodes: dict[tuple[str, str], pb.MapNode], answers: PolicyQueries, vrfs: frozenset[str]
) -> None:
    for workload in answers.inventory.workloads:
        if workload.vrf not in vrfs or not workload.addresses:
            continue
        first = workload.addresses[0]
        name, kind = answers.box(answers.who(workload.vrf, ip_address(first.packed)))
        key = (workload.vrf, name)
        nodes.setdefault(key, _node(workload.vrf, name, kind, answers.policy)).members += 1


def _node(vrf: str, name: str, kind: str, policy: Policy) -> pb.MapNode:
    setting = policy.modes.groups.get(name) if kind == "group" else None
    return pb.MapNode(name=name, kind=_KINDS[kind], vrf=vrf, mode=_mode(setting, vrf, policy))


def _mode(setting: ModeSetting | None, vrf: str, policy: Policy) -> str:
    return (setting or policy.modes.vrfs.get(vrf, policy.modes.default)).mode.value


def _edge(key: tuple[str, str, str], flows: list[Seen]) -> pb.MapEdge:
    vrf, source, destination = key
    return pb.MapEdge(
        vrf=vrf,
        source=source,
        destination=destination,
        services=map(str, services_of(seen.packet for seen in flows)),
        count=sum(seen.count for seen in flows),
        first=stamp(min(seen.first for seen in flows)),
        last=stamp(max(seen.last for seen in flows)),
        allowed=_count(flows, enforced=True),
        denied=_count(flows, enforced=False),
        staged_would_deny=_count(flows, enforced=True, staged=False),
        staged_would_allow=_count(flows, enforced=False, staged=True),
    )


def _count(flows: list[Seen], *, enforced: bool, staged: bool | None = None) -> int:
    return sum(
        seen.count if staged is None else seen.staged_count
        for seen in flows
        if seen.enforced.allowed is enforced
        and (staged is None or (seen.staged is not None and seen.staged.allowed is staged))
    )
