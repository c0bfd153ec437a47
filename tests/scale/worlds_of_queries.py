"""Worlds for queries: so many VRFs, each with its workloads, groups, rules and flows."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from controlplane.api.compute.frames import Job
from controlplane.api.compute.worker import answer
from controlplane.model.attachment import Attachment
from controlplane.model.flow import FlowRecord
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.verdict import ALLOW_BIT
from controlplane.model.workload import Workload
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.insight.replica import Replica
from controlplane.policy.insight.replica_feed import Needs, ReplicaFeed
from controlplane.policy.insight.rule_names import by_number
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger
from controlplane.policy.state import PolicyState

POLICY = """
groups: {web: {id: 1, selector: tier=web}, db: {id: 2, selector: tier=db}}
networks: {partners: [203.0.113.0/24]}
rules: [deny partners to workloads on tcp/22, allow web to db on tcp/443]
"""
EVERYTHING = Needs(flows=True, history=True)


def vrf_of(number: int) -> str:
    return f"vrf{number}"


@dataclass
class QueryNode:
    """What a feed reads of a node with ``vrfs`` VRFs."""

    vrfs: int
    workloads: int = 10
    flows: int = 20
    intent: NodeIntent = field(init=False)
    state: PolicyState = field(init=False)
    book: FlowBook = field(default_factory=FlowBook)
    history: History = field(default_factory=History)
    started: float = 0.0
    baselines: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.intent = NodeIntent(
            name="pe1", router_id=ip_address("10.255.0.1"), asn=65000,  # type: ignore[arg-type]
            loopback=ip_address("10.255.0.1"),  # type: ignore[arg-type]
        )  # fmt: skip
        signed = Signature("scale", 0.0, "")
        ledger, revision = Ledger().draft(parse_policy(POLICY))
        ledger = ledger.stage(revision.digest, signed).promote(signed)
        self.state = PolicyState(EndpointRegistry(), ledger)
        self.state.set_vrfs({vrf_of(n): n + 1 for n in range(self.vrfs)})
        for vrf in range(self.vrfs):
            for number in range(self.workloads):
                self.attach(vrf, number)
            for number in range(self.flows):
                self.flow(vrf, number)

    def attach(self, vrf: int, number: int) -> None:
        """One workload more."""
        prefix = parse_prefix(f"10.0.{number >> 8}.{number & 255}")
        tags = {"tier": ("web", "db")[number % 2], "app": f"a{number % 20}"}
        workload = Workload(f"w{vrf}-{number}", vrf_of(vrf), "p", (prefix,), tags)
        self.state.attach(Attachment(workload, 1, 0.0), 0.0)

    def flow(self, vrf: int, number: int) -> None:
        """One flow record more."""
        ends = ip_address("10.0.0.0"), ip_address("10.0.0.1")
        record = FlowRecord(1.0, vrf_of(vrf), *ends, 6, 1, 1000 + number, -1, ALLOW_BIT, None)
        self.book.take([record], 0, 1.0, by_number, by_number)

    def now(self) -> float:
        """A time."""
        return 2.0


def fed(node: QueryNode) -> tuple[Replica, ReplicaFeed]:
    """A replica that holds all of a node, and its feed."""
    replica, feed = Replica(), ReplicaFeed(node, "pe1")
    for change in feed.changes(EVERYTHING):
        replica.apply(change)
    return replica, feed


def ask(replica: Replica, name: str, vrf: str, *arguments: object) -> object:
    """Answer a query of a caller that is limited to a VRF."""
    return answer(replica, Job(name, "viewer", frozenset({vrf}), arguments))
