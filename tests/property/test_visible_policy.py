"""The part of a policy that a limited caller sees decides about its VRFs as the whole one does."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from random import Random

from controlplane.model.workload import Inventory
from controlplane.policy.compile.directory import Directory
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.insight.visible import visible_part
from controlplane.policy.language.rule import RuleEndpointKind
from tests.property import segment_worlds as worlds

RED = frozenset({"red"})


def red_of(inventory: Inventory) -> Inventory:
    return Inventory(
        RED,
        tuple(w for w in inventory.workloads if w.vrf in RED),
        tuple(r for r in inventory.remotes if r.vrf in RED),
    )


def test_same_verdict_by_the_same_rule_and_no_name_without_a_member() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        rng = Random(seed)
        inventory = red_of(worlds.inventory_of(worlds.claimants(rng)))
        whole = worlds.policy(rng)
        members = Directory(whole, inventory).members
        part = visible_part(whole, RED, members)
        for probe in worlds.probes(rng, pairs=6):
            if probe.zone not in RED:
                continue
            what = (probe.zone, probe.source, probe.destination, probe.packet)
            by_whole, by_part = (evaluate(p, inventory, *what) for p in (whole, part))
            if by_whole.rule == "default/pending":
                continue  # the ends' groups differ in what the other part of the policy names
            assert (by_whole.allowed, by_whole.rule) == (by_part.allowed, by_part.rule)
            seen["default" if by_whole.rule.startswith("default") else "rule"] += 1
        ends = [end for r in part.rules for end in (*r.sources, *r.destinations)]
        named = {end.name for end in ends if end.kind is RuleEndpointKind.GROUP}
        assert named | part.groups.keys() | part.modes.groups.keys() <= {
            name for name, count in members.items() if count
        }
        assert all(rule.vrfs <= RED for rule in part.rules)
        assert set(part.modes.vrfs) <= RED
        seen["smaller"] += part != whole
    assert min(seen["default"], seen["rule"], seen["smaller"]) > 50
