"""Values of microsegmentation -> messages of the contract, one function per kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bulkhead.v1 import evidence_pb2, flows_pb2, groups_pb2, policy_pb2, workloads_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from controlplane.model.attachment import Attachment, MembershipChange
from controlplane.model.observed import Flow
from controlplane.model.protocols import PORT_PROTOCOLS
from controlplane.model.revision import Entry, State
from controlplane.model.workload import HERE, Packet, Workload
from controlplane.policy.compile.directory import Who
from controlplane.policy.endpoints.registry import EndpointRegistry, places
from controlplane.policy.insight.explain import Step
from controlplane.policy.insight.flowbook import FlowVerdict, Seen
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.language.outline import Outline
from controlplane.policy.language.policy import Group, Policy
from controlplane.policy.language.revision import Revision
from controlplane.policy.language.selector import text_of
from controlplane.policy.language.service import Service

_STATES = {
    State.DRAFT: policy_pb2.Revision.STATE_DRAFT,
    State.STAGED: policy_pb2.Revision.STATE_STAGED,
    State.ENFORCED: policy_pb2.Revision.STATE_ENFORCED,
    State.SUPERSEDED: policy_pb2.Revision.STATE_SUPERSEDED,
}


def stamp(seconds: float) -> Timestamp:
    """Return Unix time."""
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))


def seconds_of(at: Timestamp) -> float:
    """Return Unix time."""
    return at.seconds + at.nanos / 1e9


def workload(
    attachment: Attachment, groups: Iterable[str], population: EndpointRegistry
) -> workloads_pb2.Workload:
    """Return one workload with its groups, which are those of the enforced revision, and its
    conflicts."""
    it = attachment.workload
    return workloads_pb2.Workload(
        name=it.name,
        vrf=it.vrf,
        port=it.port,
        addresses=[short(str(prefix)) for prefix in it.addresses],
        tags=dict(it.tags),
        generation=attachment.generation,
        groups=sorted(groups),
        attached_at=stamp(attachment.since),
        configured=attachment.configured,
        conflicts=_conflicts(it, population),
    )


def _conflicts(it: Workload, population: EndpointRegistry) -> Iterator[str]:
    for place in places(it):
        remote = population.remote.get(place)
        if remote is not None and remote.conflict:
            where = ", ".join(node for node in remote.conflict if node != HERE)
            yield f"{short(str(place[1]))}: also at {where}"


def short(prefix: str) -> str:
    """Return a host prefix as the address that it is."""
    address, _, length = prefix.partition("/")
    return address if length == ("128" if ":" in address else "32") else prefix


def group(it: Group, policy: Policy, local: int, remote: int) -> groups_pb2.Group:
    """Return one group; `local` and `remote` are its members."""
    setting = policy.modes.groups.get(it.name)
    return groups_pb2.Group(
        name=it.name,
        id=it.id,
        selector=text_of(it.selector),
        implicit=it.implicit,
        mode=setting.mode.value if setting else "",
        local_members=local,
        remote_members=remote,
    )


def ruling(it: FlowVerdict) -> flows_pb2.Ruling:
    """Return a verdict."""
    return flows_pb2.Ruling(
        allowed=it.allowed, rule=it.rule, logged=it.logged, revision=it.revision
    )


def end(who: Who) -> flows_pb2.FlowEnd:
    """Return one end of a flow, in names."""
    return flows_pb2.FlowEnd(
        address=str(who.address),
        workload=PolicyQueries.workload(who),
        groups=sorted(who.groups),
        networks=sorted(who.networks),
    )


def flow(it: Seen, answers: PolicyQueries) -> flows_pb2.Flow:
    """Return a flow as it was seen."""
    source, destination = answers.ends(it)
    enforced = ruling(it.enforced)
    enforced.former = not answers.is_in_force(it.enforced)
    return flows_pb2.Flow(
        vrf=it.vrf,
        source=end(source),
        destination=end(destination),
        service=str(it.service),
        count=it.count,
        first=stamp(it.first),
        last=stamp(it.last),
        enforced=enforced,
        staged=ruling(it.staged) if it.staged is not None else None,
        last_source_port=it.sport,
        older=it.older,
        staged_count=it.staged_count,
    )


def observed(it: Flow, answers: PolicyQueries) -> flows_pb2.Flow:
    """Return a flow of a baseline."""
    return flows_pb2.Flow(
        vrf=it.zone,
        source=end(answers.who(it.zone, it.source)),
        destination=end(answers.who(it.zone, it.destination)),
        service=str(service_of(it.packet)),
        count=it.hits,
        first=stamp(it.first),
        last=stamp(it.last),
        enforced=flows_pb2.Ruling(allowed=it.allowed),
    )


def service_of(packet: Packet) -> Service:
    """Return what a packet asks for."""
    point = packet.dport if packet.protocol in PORT_PROTOCOLS else packet.icmp_type
    return Service(packet.protocol, point, point)


def loss(count: int, last: float) -> flows_pb2.TelemetryLoss:
    """Return how many flow records were lost, and when the last one was."""
    return flows_pb2.TelemetryLoss(lost=count, last_lost=stamp(last) if count else None)


def revision(it: Revision, outline: Outline) -> policy_pb2.Revision:
    """Return a revision without its document."""
    return policy_pb2.Revision(
        digest=it.digest,
        name=outline.name,
        state=_STATES[it.state],
        rules=outline.rules,
        groups=outline.groups,
        problem=it.problem,
    )


def change(it: Entry) -> policy_pb2.PolicyChange:
    """Return who moved a revision."""
    return policy_pb2.PolicyChange(
        move=it.move,
        before=it.before,
        after=it.after,
        who=it.signed.who,
        when=stamp(it.signed.when),
        why=it.signed.why,
    )


def membership_change(it: MembershipChange) -> evidence_pb2.MembershipChange:
    """Return what happened to a workload."""
    return evidence_pb2.MembershipChange(
        workload=it.workload,
        change=it.change,
        before=it.before,
        after=it.after,
        who=it.who,
        when=stamp(it.when),
    )


def step(it: Step) -> policy_pb2.ExplainStep:
    """Return one rule that was asked."""
    return policy_pb2.ExplainStep(
        tier=it.tier.value, rule=it.rule.id, sentence=str(it.rule), answer=it.answer
    )
