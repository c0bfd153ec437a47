"""Revisions are staged and promoted PE by PE, in any order: what that means for the others.

Staging changes no verdict in force, neither there nor at another PE; but a PE that enforces that
very revision judges by it from then on: it judges the workloads of another PE by the revision that
it enforces as soon as the other has it, staged or enforced.
"""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address
from random import Random

from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attachment import Attachment
from controlplane.model.desired import NextHopKey
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, parse_prefix
from controlplane.model.revision import Signature, State
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Inventory, Workload, WorkloadAttached
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger, MoveError
from controlplane.policy.orders import LayRoutes, Order
from controlplane.policy.state import PolicyState
from controlplane.vpn.claims import Marking
from tests.property import segment_worlds as worlds
from tests.unit.policy.kernel import FakeKernel

SEEDS, STEPS = 40, 16
MOVES = ("stage", "stage", "stage", "promote", "promote", "unstage", "roll back", "roll back")
SIGNED = Signature("ada", 1.0, "")
MARKING = Marking(65000, 1)
LOOPBACK = IPv4Address("10.255.0.9")
VRFS = dict(zip(worlds.ZONES, range(1, 9), strict=False))


class Pe:
    """A policy state, its kernel, and what its routes carry."""

    def __init__(self, name: str) -> None:
        self.name, self.kernel = name, FakeKernel()
        self.state = PolicyState(EndpointRegistry(), Ledger())
        self.routes: list[WorkloadAttached] = []
        self.do(self.state.set_vrfs(VRFS))
        self.do(self.state.begin())

    def do(self, orders: list[Order]) -> None:
        done = self.kernel.settle(self.state, orders)
        self.routes += [e for o in done if isinstance(o, LayRoutes)
                        for e in o.routes if isinstance(e, WorkloadAttached)]  # fmt: skip

    def receive(self, route: WorkloadAttached) -> None:
        """Take in a route of another PE, as far as its communities say."""
        source = Source(RouteProtocol.BGP, peer=PeerId("", LOOPBACK))
        path = Path(source, MARKING.attributes(route), NextHopKey(Afi.IPV4, LOOPBACK))
        said = MARKING.claim(path)
        assert said is not None
        remote = dict.fromkeys(route.prefixes, said)
        self.do(self.state.take_remote_endpoints(route.vrf, dict(remote), 1.0))

    def move(self, what: str, policy: Policy) -> bool:
        ledger = self.state.ledger
        try:
            match what:
                case "stage":
                    ledger, revision = ledger.draft(policy)
                    ledger = ledger.stage(revision.digest, SIGNED)
                case "unstage":
                    ledger = ledger.unstage(SIGNED)
                case "promote":
                    ledger = ledger.promote(SIGNED)
                case "roll back":
                    ledger = ledger.roll_back(SIGNED)
        except MoveError:
            return False
        self.do(self.state.take_ledger(ledger))
        return True

    def in_state(self, state: State) -> str:
        revision = self.state.ledger.in_state(state)
        return revision.digest if revision else ""

    def verdicts(self, probes: list[worlds.Probe]) -> list[bool]:
        held = self.kernel.held[Slot.ENFORCED]
        assert held is not None
        reader = Reader(held)
        return [reader.verdict(p.zone, p.source, p.destination, p.packet).allowed for p in probes]


def exchange(pes: tuple[Pe, Pe]) -> None:
    for pe, other in (pes, pes[::-1]):
        routes, pe.routes = pe.routes, []
        for route in routes:
            other.receive(route)


def attach(pes: tuple[Pe, Pe], rng: Random) -> list[Workload]:
    """Workloads of which no two have the same prefix, at either PE."""
    found = worlds.workloads_apart(rng)
    for each in found:
        pe = rng.choice(pes)
        pe.do(pe.state.attach(Attachment(each, 1, 0.0), 1.0))
    # Each VRF is under policy from the start: which ones are is not what is asked here.
    for number, pe in enumerate(pes):
        for zone in VRFS:
            address = parse_prefix(f"203.0.113.{number}")
            there = Workload(f"{zone}{number}", zone, "p", (address,))
            pe.do(pe.state.attach(Attachment(there, 1, 0.0), 1.0))
            found.append(there)
    return found


def test_every_order_of_staging_and_promoting() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        rng = Random(seed)
        pes = (Pe("pe1"), Pe("pe2"))
        everybody = attach(pes, rng)
        exchange(pes)
        policies = [worlds.policy(rng) for _ in range(3)]
        probes = [p for p in worlds.probes(rng) if p.zone in VRFS]
        for _ in range(STEPS):
            before = [pe.verdicts(probes) for pe in pes]
            staged = {pe.in_state(State.STAGED) for pe in pes}
            pe, what = rng.choice(pes), rng.choice(MOVES)
            if not pe.move(what, rng.choice(policies)):
                continue
            exchange(pes)
            after = [pe.verdicts(probes) for pe in pes]
            seen[what] += 1
            if what in ("stage", "unstage"):
                staged |= {pe.in_state(State.STAGED) for pe in pes}
                ahead = [pe.in_state(State.ENFORCED) in staged - {""} for pe in pes]
                seen["caught up"] += any(ahead)
                for number in range(2):
                    assert ahead[number] or after[number] == before[number], (seed, what)
            seen["another verdict"] += after != before
            whole = Inventory(frozenset(VRFS), tuple(everybody))
            for one, other, verdicts in zip(pes, pes[::-1], after, strict=True):
                enforced = one.in_state(State.ENFORCED)
                if enforced and enforced in (
                    other.in_state(State.ENFORCED), other.in_state(State.STAGED)
                ):  # fmt: skip
                    seen["both have it"] += 1
                    seen["only staged"] += enforced != other.in_state(State.ENFORCED)
                    policy = one.state.ledger.revisions[enforced].policy
                    wanted = [
                        evaluate(policy, whole, p.zone, p.source, p.destination, p.packet).allowed
                        for p in probes
                    ]
                    assert verdicts == wanted, (seed, what)
    assert min(seen[k] for k in ("stage", "unstage", "promote")) >= 20, seen
    assert seen["roll back"], seen
    assert min(seen[k] for k in ("another verdict", "both have it", "only staged")) >= 20, seen
