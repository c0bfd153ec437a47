"""Say why a rule never takes effect: whom it names in vain, or which rule decides first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from controlplane.model.protocols import PORT_PROTOCOLS
from controlplane.model.workload import Packet
from controlplane.policy.compile.full import Compiled
from controlplane.policy.compile.identity import EndpointKind, Identity
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import Party, is_endpoint
from controlplane.policy.language.problem import Problem
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint, RuleEndpointKind
from controlplane.policy.language.service import Service

MOST_EXPLAINED = 100
"""Rules of one document: each is compared with every identity."""
_MOST_PAIRS, _MOST_NAMED = 64, 3
_TCP = 6


class IdleRules:
    """Explains the rules of one compiled policy that no verdict of its tables names."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._rules = {rule.id: rule for rule in compiled.policy.rules}
        self._reader = Reader(compiled.tables)
        self._parties = [(n, each.zone, _party(each)) for n, each in compiled.identities.items()]

    def problem(self, rule: Rule) -> Problem:
        """Return a warning that names what stands in the way."""
        path = f"rules.{rule.id}"
        ends: list[list[tuple[int, str]]] = []
        for endpoints in (rule.sources, rule.destinations):
            found = [(n, zone) for n, zone, party in self._parties
                     if rule.applies_in(zone) and _means(endpoints, party)]  # fmt: skip
            if not found:
                text = f"never takes effect: {_nothing(endpoints)}"
                return Problem(path, text, "check the selector and the tags, or leave the rule out")
            ends.append(found)
        if next(_pairs(*ends), None) is None:
            return Problem(
                path, "never takes effect: no VRF has both of its ends", "check the VRFs"
            )
        names = list(islice(dict.fromkeys(self._earlier(rule, *ends)), _MOST_NAMED))
        if not names:
            text = "never takes effect: earlier rules decide first"
            return Problem(path, text, "put it before them, or leave it out")
        decide = "decides" if len(names) == 1 else "decide"
        text = f"never takes effect: rule {', '.join(names)} {decide} first"
        return Problem(path, text, "put it before, or leave it out")

    def _earlier(
        self, rule: Rule, sources: list[tuple[int, str]], destinations: list[tuple[int, str]]
    ) -> Iterator[str]:
        """Yield the rules that decide what this one is about, pair by pair."""
        for source, destination in islice(_pairs(sources, destinations), _MOST_PAIRS):
            contract = self._reader.contract(source, destination)
            for service in rule.services:
                verdict = self._reader.in_contract(contract, _packet(service))
                decided = self._rules.get(self._compiled.rule_ids.get(verdict.rule, ""))
                if decided is not None and decided.rank < rule.rank:
                    yield decided.id
                else:
                    yield from self._passes(rule, service)

    def _passes(self, rule: Rule, service: Service) -> Iterator[str]:
        """Yield the rules by which a packet leaves the tier before this rule is asked."""
        packet = _packet(service)
        point = packet.dport if packet.protocol in PORT_PROTOCOLS else packet.icmp_type
        for other in self._rules.values():
            if (
                other.action is Action.PASS
                and other.tier is rule.tier
                and other.rank < rule.rank
                and other.covers(packet.protocol, point)
            ):
                yield other.id


def _pairs(
    sources: list[tuple[int, str]], destinations: list[tuple[int, str]]
) -> Iterator[tuple[int, int]]:
    """Yield numbers of identities in one VRF."""
    by_zone: dict[str, list[int]] = {}
    for number, zone in destinations:
        by_zone.setdefault(zone, []).append(number)
    for number, zone in sources:
        yield from ((number, other) for other in by_zone.get(zone, ()))


def _party(identity: Identity) -> Party:
    names, standing = identity.membership.names, identity.membership.standing
    if standing is EndpointKind.OUTSIDE:
        return Party(workload=False, networks=names)
    return Party(workload=True, pending=standing is EndpointKind.PENDING, groups=names)


def _means(endpoints: Iterable[RuleEndpoint], party: Party) -> bool:
    return not party.pending and any(is_endpoint(endpoint, party) for endpoint in endpoints)


def _nothing(endpoints: Iterable[RuleEndpoint]) -> str:
    named = list(endpoints)
    whom = "no workload" if all(e.kind is RuleEndpointKind.GROUP for e in named) else "no address"
    return f"{whom} matches {', '.join(map(str, named))}"


def _packet(service: Service) -> Packet:
    protocol = _TCP if service.protocol is None else service.protocol
    return Packet(4, protocol, dport=service.low, icmp_type=service.low)
