"""Rules proposed from what was seen: flows between workloads -> groups and services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import PORT_PROTOCOLS, highest_point
from controlplane.model.verdict import FIRST_RULE
from controlplane.model.workload import Inventory, Packet
from controlplane.policy.compile.directory import Directory, Who
from controlplane.policy.compile.full import Compiled
from controlplane.policy.compile.identity import EndpointKind
from controlplane.policy.compile.reader import Reader
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.rule import RuleEndpoint, RuleEndpointKind
from controlplane.policy.language.service import Service, sorted_services

RANGE_GAP = 16
"""Ports seen at most this far apart may be one range, when RANGE_PORTS or more were seen."""

RANGE_PORTS = 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """One rule that would allow flows that were seen.

    `pairs_seen` of `pairs_possible` address pairs were seen talking: far fewer than possible
    means that the groups are too coarse for this rule.
    """

    source: RuleEndpoint
    destination: RuleEndpoint
    services: tuple[Service, ...]
    hits: int
    first: float
    last: float
    pairs_seen: int
    pairs_possible: int | None
    flows: tuple[Flow, ...]

    @property
    def sentence(self) -> str:
        """The rule, ready to be put into a document."""
        services = ", ".join(str(service) for service in self.services)
        return f"allow {self.source} to {self.destination} on {services}"


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A flow for which no rule can be proposed, and what is missing."""

    flow: Flow
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Proposals, most hits first, and the flows that none of them covers."""

    proposals: tuple[Proposal, ...]
    unplaced: tuple[Unplaced, ...]


def recommend(compiled: Compiled, inventory: Inventory, flows: Iterable[Flow]) -> Advice:
    """Return rules for the allowed flows that no rule allows explicitly yet.

    Each end is named by its smallest declared group (outside: its smallest network set), so
    proposals are as narrow as the tagging permits.
    """
    namer = _Namer(compiled.policy, inventory)
    gathered: dict[tuple[RuleEndpoint, RuleEndpoint], list[Flow]] = {}
    unplaced: list[Unplaced] = []
    for flow in _unruled(compiled, flows):
        ends = [namer.name(flow.zone, address) for address in (flow.source, flow.destination)]
        missing = [end for end in ends if isinstance(end, str)]
        if missing:
            unplaced.append(Unplaced(flow, "; ".join(missing)))
            continue
        source, destination = (end for end in ends if isinstance(end, RuleEndpoint))
        gathered.setdefault((source, destination), []).append(flow)
    proposals = [namer.proposal(*ends, several) for ends, several in gathered.items()]
    proposals.sort(key=lambda proposal: (-proposal.hits, proposal.sentence))
    return Advice(tuple(proposals), tuple(unplaced))


def _unruled(compiled: Compiled, flows: Iterable[Flow]) -> Iterator[Flow]:
    reader = Reader(compiled.tables)
    for flow in flows:
        verdict = reader.verdict(flow.zone, flow.source, flow.destination, flow.packet)
        if flow.allowed and verdict.rule < FIRST_RULE:
            yield flow


class _Namer:
    """Names ends of flows as narrowly as possible."""

    def __init__(self, policy: Policy, inventory: Inventory) -> None:
        self._policy = policy
        self._directory = Directory(policy, inventory)
        self._declared = {name for name, group in policy.groups.items() if not group.implicit}

    def name(self, zone: str, address: IPAddress) -> RuleEndpoint | str:
        """Return the endpoint for an address, or what is missing to have one."""
        who = self._directory.who(zone, address)
        if who.standing is EndpointKind.PENDING:
            return f"the groups of {who.address} are not known"
        return self._outside(who) if who.standing is EndpointKind.OUTSIDE else self._group(who)

    def _group(self, who: Who) -> RuleEndpoint | str:
        members = self._directory.members
        # A declared group reads better than a selector from some rule: prefer it when as small.
        order = sorted(who.groups, key=lambda n: (members[n], n not in self._declared, n))
        if not order:
            return f"{', '.join(who.claimants)} is in no group: {self._cure}"
        return RuleEndpoint(RuleEndpointKind.GROUP, order[0])

    @property
    def _cure(self) -> str:
        if self._declared:
            return "tag it, or declare a group that chooses it"
        return "the policy declares none: declare one that chooses it, such as web: tier=web"

    def _outside(self, who: Who) -> RuleEndpoint | str:
        if not who.networks:
            return f"{who.address} is in no network set: declare one"
        return RuleEndpoint(RuleEndpointKind.NETWORK, min(who.networks, key=self._breadth))

    def _breadth(self, name: str) -> tuple[float, str]:
        prefixes = self._policy.networks[name].prefixes
        return sum(2.0 ** (8 * len(p.packed) - p.length) for p in prefixes), name

    def proposal(
        self, source: RuleEndpoint, destination: RuleEndpoint, flows: list[Flow]
    ) -> Proposal:
        """Return one rule for flows between two endpoints."""
        seen = {(flow.zone, flow.source, flow.destination) for flow in flows}
        return Proposal(
            source,
            destination,
            services_of(flow.packet for flow in flows),
            sum(flow.hits for flow in flows),
            min(flow.first for flow in flows),
            max(flow.last for flow in flows),
            len(seen),
            self._possible(source, destination),
            tuple(flows),
        )

    def _possible(self, source: RuleEndpoint, destination: RuleEndpoint) -> int | None:
        if RuleEndpointKind.NETWORK in (source.kind, destination.kind):
            return None
        members = self._directory.members
        return members[source.name] * members[destination.name]


def services_of(packets: Iterable[Packet]) -> tuple[Service, ...]:
    """Return the services that packets asked for; many ports close together become a range."""
    points: dict[int, set[int]] = {}
    for packet in packets:
        ported = packet.protocol in PORT_PROTOCOLS
        point = packet.dport if ported else packet.icmp_type
        points.setdefault(packet.protocol, set()).add(min(point, highest_point(packet.protocol)))
    return sorted_services(
        service for protocol, found in points.items() for service in _ranges(protocol, found)
    )


def _ranges(protocol: int, points: set[int]) -> Iterator[Service]:
    cluster: list[int] = []
    for point in [*sorted(points), 1 << 20]:
        if cluster and point - cluster[-1] > RANGE_GAP:
            yield from _cluster(protocol, cluster)
            cluster = []
        cluster.append(point)


def _cluster(protocol: int, cluster: list[int]) -> Iterator[Service]:
    if len(cluster) >= RANGE_PORTS and protocol in PORT_PROTOCOLS:
        yield Service(protocol, cluster[0], cluster[-1])
    else:
        yield from (Service(protocol, point, point) for point in cluster)
