"""Gather what an auditor asks about the workloads that a selector chooses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bulkhead.v1 import evidence_pb2 as pb

from controlplane.api.access.caller import CALLER
from controlplane.api.access.status import invalid
from controlplane.api.answers import policy_messages as messages
from controlplane.api.answers.asked import span_of
from controlplane.api.answers.flows import loss
from controlplane.api.answers.groups import member
from controlplane.api.answers.selectors import read_selector
from controlplane.model.prefix import IPAddress, host_prefix
from controlplane.model.workload import Endpoint, Workload
from controlplane.policy.compile.full import prefixes_of
from controlplane.policy.compile.reference import Party, is_endpoint
from controlplane.policy.endpoints.held import Held
from controlplane.policy.insight.flowbook import Seen
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.view import View
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint
from controlplane.policy.language.selector import Selector, matches, text_of

MOST_DENIED = 5_000


def get_evidence(replica: Replica, request: bytes) -> Iterator[bytes]:
    """Yield all that concerns some workloads, in one answer."""
    query, now = pb.GetEvidenceRequest.FromString(request), replica.now
    selector = read_selector(query.selector)
    if selector is None:
        raise invalid("selector: say which workloads, such as scope=pci")
    since, until = span_of(query, "", now)
    evidence = _Evidence(replica.view(CALLER.get().vrfs), selector)
    seen = replica.flows.seen(evidence.view.vrfs, since, until)
    flows = evidence.flows([each for each in seen if not each.older])
    history = [line for line in replica.history if since <= line.when <= until]
    trail = [entry for entry in replica.trail if since <= entry.signed.when <= until]
    yield pb.GetEvidenceResponse(
        node=replica.node,
        selector=text_of(selector),
        since=messages.stamp(max(since, min(replica.started, now))),
        until=messages.stamp(until),
        made_at=messages.stamp(now),
        revision=replica.enforced,
        members=(member(evidence.view, each) for each in evidence.members),
        allowed=evidence.allowed(flows),
        denied=list(evidence.denied(flows))[:MOST_DENIED],
        changes=map(messages.change, trail),
        loss=loss(replica),
        membership_changes=[
            messages.membership_change(line)
            for line in history
            if line.workload in evidence.names or _speaks_of(line.before, line.after, selector)
        ],
    ).SerializeToString()


class _Evidence:
    """Members of one selector in one view, and what concerns them."""

    def __init__(self, view: View, selector: Selector) -> None:
        self.view = view
        self._answers = view.queries
        self.members = list(self._members(selector))
        self.names = {each.name for each in self.members if isinstance(each, Workload)}

    def flows(self, seen: Iterable[Seen]) -> list[Seen]:
        """Return those with a member at either end."""
        scope = _Scope(self.members)
        return [each for each in seen if scope.touches(each)]

    def _members(self, selector: Selector) -> Iterator[Endpoint]:
        """Yield workloads here by their tags; those of other nodes by the group that means the
        same."""
        policy, directory = self._answers.policy, self._answers.directory()
        same = {g.name for g in policy.groups.values() if g.selector == selector}
        for claimant in self._answers.inventory.claimants():
            if isinstance(claimant, Workload):
                if matches(selector, claimant.tags):
                    yield claimant
            elif same & (directory.groups_of(claimant) or frozenset()):
                yield claimant

    def allowed(self, flows: list[Seen]) -> list[pb.AllowedPair]:
        """Return every rule that opens something to or from a member, used or not, then what was
        allowed without a rule."""
        parties = [self._party(each) for each in self.members]
        rules = [r for r in self._answers.policy.rules if r.action is Action.ALLOW]
        found: list[pb.AllowedPair] = []
        # By its meaning: its id may have been another rule's. Of two that mean the same, the first
        # decides.
        ruled: dict[bytes, list[Seen]] = {}
        rest: list[Seen] = []
        meanings = self._answers.meanings
        known = {meanings[rule.id] for rule in rules}
        for seen in flows:
            if seen.enforced.meaning in known:
                ruled.setdefault(seen.enforced.meaning, []).append(seen)
            elif seen.enforced.allowed:
                rest.append(seen)
        for rule in rules:
            its = ruled.pop(meanings[rule.id], [])
            if _means(rule.sources, parties) or _means(rule.destinations, parties):
                found += self._pairs(rule, its)
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
            source, destination = (self._answers.box(who)[0] for who in self._answers.ends(seen))
            key = (source, destination, str(seen.service), self._rule(seen))
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

    def _rule(self, seen: Seen) -> str:
        """Return the rule of a flow; with its revision, if the id is not that rule's any more."""
        verdict = seen.enforced
        if self._answers.is_in_force(verdict):
            return verdict.rule
        return f"{verdict.rule} of {verdict.revision}"

    def denied(self, flows: Iterable[Seen]) -> Iterator[pb.DeniedAttempt]:
        """Yield denied flows, those seen last first."""
        for seen in sorted(flows, key=lambda seen: -seen.last):
            if not seen.enforced.allowed:
                source, destination = self._answers.ends(seen)
                yield pb.DeniedAttempt(
                    source=messages.end(source),
                    destination=messages.end(destination),
                    service=str(seen.service),
                    rule=self._rule(seen),
                    count=seen.count,
                    first=messages.stamp(seen.first),
                    last=messages.stamp(seen.last),
                )


class _Scope:
    """The addresses of the members."""

    def __init__(self, members: Iterable[Endpoint]) -> None:
        members = list(members)
        self._keys = {member.key for member in members}
        self._prefixes = {(m.vrf, prefix) for m in members for prefix in prefixes_of(m)}
        self._wide = [(v, p) for v, p in self._prefixes if p.length < 8 * len(p.packed)]

    def touches(self, seen: Seen) -> bool:
        """Return whether a member is at either end."""
        ends = (seen.source, seen.source_held), (seen.destination, seen.destination_held)
        return any(self._has(seen.vrf, *end) for end in ends)

    def _has(self, vrf: str, address: IPAddress, held: Held) -> bool:
        """Return whether a member had an address. A workload that has moved between this node and
        others is known by its address, another workload of this node by its name."""
        if any(each.key in self._keys for each in held.claimants):
            return True
        if not held.claimants or held.names:
            return False
        host = host_prefix(address)
        if (vrf, host) in self._prefixes:
            return True
        return any(v == vrf and p.contains(host) for v, p in self._wide)


def _means(endpoints: Iterable[RuleEndpoint], parties: list[Party]) -> bool:
    return any(is_endpoint(endpoint, party) for endpoint in endpoints for party in parties)


def _speaks_of(before: str, after: str, selector: Selector) -> bool:
    """Return whether a line of history is about a workload that was or became a member."""
    for text in (before, after):
        pairs = (word.partition("=") for word in text.split())
        if matches(selector, {key: value for key, _, value in pairs}) and text:
            return True
    return False
