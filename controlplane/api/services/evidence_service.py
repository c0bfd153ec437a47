"""The Evidence service: what an auditor asks about the workloads that a selector chooses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from bulkhead.v1 import evidence_pb2 as pb
from bulkhead.v1 import evidence_pb2_grpc

from controlplane.api.access.status import invalid
from controlplane.api.services import policy_messages as messages
from controlplane.api.services.group_service import GroupService
from controlplane.api.services.workload_service import read_selector
from controlplane.model.prefix import IPAddress, host_prefix
from controlplane.model.workload import Endpoint, Workload
from controlplane.policy.compile.full import prefixes_of
from controlplane.policy.compile.reference import Party, is_endpoint
from controlplane.policy.controller import PolicyController
from controlplane.policy.insight.flowbook import Seen
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint
from controlplane.policy.language.selector import Selector, matches, text_of

MOST_DENIED = 5_000
Context = grpc.aio.ServicerContext[Any, Any]


class EvidenceService(evidence_pb2_grpc.EvidenceServicer):
    """Gathers evidence from what the node has seen and done itself."""

    def __init__(
        self, conductor: PolicyController, answers: PolicyQueries, groups: GroupService, node: str
    ) -> None:
        self._conductor = conductor
        self._answers = answers
        self._groups = groups
        self._node = node

    async def GetEvidence(
        self, request: pb.GetEvidenceRequest, context: Context
    ) -> pb.GetEvidenceResponse:
        """All that concerns some workloads, in one answer."""
        selector = read_selector(request.selector)
        if selector is None:
            raise invalid("selector: say which workloads, such as scope=pci")
        conductor, now = self._conductor, self._conductor.now()
        since = messages.seconds_of(request.since) if request.HasField("since") else 0.0
        until = messages.seconds_of(request.until) if request.HasField("until") else now
        members = list(self._members(selector))
        scope = _Scope(members)
        flows = [seen for seen in conductor.book.seen(since, until) if scope.touches(seen)]
        enforced = self._answers.policy
        ledger = conductor.director.ledger
        revision = next((r for r in ledger.revisions.values() if r.policy is enforced), None)
        names = {member.name for member in members if isinstance(member, Workload)}
        history = [line for line in conductor.history if since <= line.when <= until]
        return pb.GetEvidenceResponse(
            node=self._node,
            selector=text_of(selector),
            since=messages.stamp(max(since, min(conductor.started, now))),
            until=messages.stamp(until),
            made_at=messages.stamp(now),
            revision=revision.digest if revision else "",
            members=map(self._groups.member, members),
            allowed=self._allowed(members, flows),
            denied=list(self._denied(flows))[:MOST_DENIED],
            changes=[messages.change(e) for e in ledger.trail if since <= e.signed.when <= until],
            loss=messages.loss(conductor.book),
            membership_changes=[
                messages.membership_change(line)
                for line in history
                if line.workload in names or _speaks_of(line.before, line.after, selector)
            ],
        )

    def _members(self, selector: Selector) -> Iterator[Endpoint]:
        """Workloads here by their tags; those of other nodes by the group that means the same."""
        policy, directory = self._answers.policy, self._answers.directory()
        same = {g.name for g in policy.groups.values() if g.selector == selector}
        for claimant in self._answers.inventory.claimants():
            if isinstance(claimant, Workload):
                if matches(selector, claimant.tags):
                    yield claimant
            elif same & (directory.groups_of(claimant) or frozenset()):
                yield claimant

    def _allowed(self, members: list[Endpoint], flows: list[Seen]) -> list[pb.AllowedPair]:
        """Every rule that opens something to or from a member, used or not, then what was
        allowed without a rule."""
        parties = [self._party(member) for member in members]
        rules = [r for r in self._answers.policy.rules if r.action is Action.ALLOW]
        found: list[pb.AllowedPair] = []
        for rule in rules:
            if _means(rule.sources, parties) or _means(rule.destinations, parties):
                found += self._pairs(rule, [f for f in flows if f.enforced.rule == rule.id])
        ruled = {rule.id for rule in rules}
        rest = [f for f in flows if f.enforced.allowed and f.enforced.rule not in ruled]
        return found + list(self._unruled(rest))

    def _party(self, member: Endpoint) -> Party:
        groups = self._answers.directory().groups_of(member)
        return Party(workload=True, groups=groups or frozenset())

    def _pairs(self, rule: Rule, flows: list[Seen]) -> Iterator[pb.AllowedPair]:
        for service in rule.services:
            used = [f for f in flows if service.covers(f.protocol, f.point)]
            yield pb.AllowedPair(
                source=", ".join(map(str, rule.sources)),
                destination=", ".join(map(str, rule.destinations)),
                service=str(service),
                rule=rule.id,
                last_hit=messages.stamp(max(f.last for f in used)) if used else None,
                count=sum(f.count for f in used),
            )

    def _unruled(self, flows: Iterable[Seen]) -> Iterator[pb.AllowedPair]:
        gathered: dict[tuple[str, str, str, str], list[Seen]] = {}
        for seen in flows:
            source, destination = (
                self._answers.box(self._answers.who(seen.vrf, address))[0]
                for address in (seen.source, seen.destination)
            )
            key = (source, destination, str(seen.service), seen.enforced.rule)
            gathered.setdefault(key, []).append(seen)
        for (source, destination, service, rule), several in sorted(gathered.items()):
            yield pb.AllowedPair(
                source=source,
                destination=destination,
                service=service,
                rule=rule,
                last_hit=messages.stamp(max(seen.last for seen in several)),
                count=sum(seen.count for seen in several),
            )

    def _denied(self, flows: Iterable[Seen]) -> Iterator[pb.DeniedAttempt]:
        who = self._answers.who
        for seen in sorted(flows, key=lambda seen: -seen.last):
            if not seen.enforced.allowed:
                yield pb.DeniedAttempt(
                    source=messages.end(who(seen.vrf, seen.source)),
                    destination=messages.end(who(seen.vrf, seen.destination)),
                    service=str(seen.service),
                    rule=seen.enforced.rule,
                    count=seen.count,
                    first=messages.stamp(seen.first),
                    last=messages.stamp(seen.last),
                )


class _Scope:
    """The addresses of the members."""

    def __init__(self, members: Iterable[Endpoint]) -> None:
        self._prefixes = {(m.vrf, prefix) for m in members for prefix in prefixes_of(m)}
        self._wide = [(v, p) for v, p in self._prefixes if p.length < 8 * len(p.packed)]

    def touches(self, seen: Seen) -> bool:
        """Whether a member is at either end."""
        return any(self._has(seen.vrf, address) for address in (seen.source, seen.destination))

    def _has(self, vrf: str, address: IPAddress) -> bool:
        host = host_prefix(address)
        if (vrf, host) in self._prefixes:
            return True
        return any(v == vrf and p.contains(host) for v, p in self._wide)


def _means(endpoints: Iterable[RuleEndpoint], parties: list[Party]) -> bool:
    return any(is_endpoint(endpoint, party) for endpoint in endpoints for party in parties)


def _speaks_of(before: str, after: str, selector: Selector) -> bool:
    """Whether a line of history is about somebody who was or became a member."""
    for text in (before, after):
        pairs = (word.partition("=") for word in text.split())
        if matches(selector, {key: value for key, _, value in pairs}) and text:
            return True
    return False
