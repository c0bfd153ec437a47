"""What-if is exact: what it lists changes, what it does not list stays."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from random import Random

from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Packet
from controlplane.policy.compile.full import Compiled, compile_policy
from controlplane.policy.compile.identity import Membership
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import evaluate, point_of
from controlplane.policy.insight.explain import explain
from controlplane.policy.insight.observed import forbidden
from controlplane.policy.insight.whatif import PairChange, what_if
from controlplane.policy.language.service import ANY_SERVICE, Service
from tests.property import segment_worlds as worlds

Readers = tuple[Reader, Reader]
Kind = tuple[str, tuple[Membership, Membership], tuple[Membership, Membership]]


def _kind(compiled: tuple[Compiled, Compiled], readers: Readers, probe: worlds.Probe) -> Kind:
    def both(address: IPAddress) -> tuple[Membership, Membership]:
        old, new = (reader.identity(probe.zone, address) for reader in readers)
        assert old is not None
        assert new is not None
        return compiled[0].identities[old].membership, compiled[1].identities[new].membership

    return probe.zone, both(probe.source), both(probe.destination)


def _listed(services: tuple[Service, ...], named: frozenset[int], packet: Packet) -> bool:
    if ANY_SERVICE in services and packet.protocol not in named:
        return True
    exact = [service for service in services if service != ANY_SERVICE]
    return any(service.covers(packet.protocol, point_of(packet)) for service in exact)


def _said(change: PairChange | None, packet: Packet) -> tuple[bool, bool]:
    if change is None:
        return False, False
    opened = _listed(change.opened, change.named, packet)
    return opened, _listed(change.closed, change.named, packet)


def test_pairs_and_flows_change_exactly_as_the_reference_says() -> None:
    seen: Counter[str] = Counter()
    for seed in range(70):
        rng = Random(seed)
        inventory = worlds.inventory_of(worlds.claimants(rng))
        first, second = worlds.policy(rng), worlds.policy(rng)
        before, after = compile_policy(first, inventory), compile_policy(second, inventory)
        probes = worlds.probes(rng, pairs=4)
        flows = [Flow(p.zone, p.source, p.destination, p.packet) for p in probes]
        answer = what_if(before, after, flows)
        readers = Reader(before.tables), Reader(after.tables)
        changes = {change[:3]: change for change in answer.pairs}
        changed = {id(change.flow) for change in answer.flows}
        gone = {id(flow) for flow in forbidden(Reader(after.tables), flows)}
        for probe, flow in zip(probes, flows, strict=True):
            what = (probe.zone, probe.source, probe.destination, probe.packet)
            was, will = (evaluate(policy, inventory, *what) for policy in (first, second))
            assert (id(flow) in changed) == (was.allowed != will.allowed)
            assert (id(flow) in gone) == (not will.allowed)
            seen[f"{was.allowed} {will.allowed}"] += 1
            if was.rule == "default/malformed":
                continue
            said = _said(changes.get(_kind((before, after), readers, probe)), probe.packet)
            assert said == (will.allowed and not was.allowed, was.allowed and not will.allowed)
            if answer.narrows:
                seen["narrows"] += 1
                assert was.allowed or not will.allowed
    assert min(seen["True False"], seen["False True"], seen["narrows"]) > 100


def test_an_explanation_ends_with_the_rule_that_decides() -> None:
    decided = 0
    for seed in range(60):
        rng = Random(seed)
        inventory = worlds.inventory_of(worlds.claimants(rng))
        policy = worlds.policy(rng)
        for probe in worlds.probes(rng, pairs=2):
            what = (probe.zone, probe.source, probe.destination, probe.packet)
            told = explain(policy, inventory, *what)
            assert told.decision == evaluate(policy, inventory, *what)
            logged = tuple(step.rule.id for step in told.steps if step.answer == "log")
            assert logged == told.decision.logged
            if told.decision.tier is not None:
                decided += 1
                assert told.steps[-1].rule.id == told.decision.rule
                assert (told.steps[-1].answer == "allow") == told.decision.allowed
            else:
                assert all(step.answer not in ("allow", "deny") for step in told.steps)
    assert decided > 200
