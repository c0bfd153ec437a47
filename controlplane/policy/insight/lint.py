"""Warnings: what a policy says validly but hardly on purpose."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.verdict import FIRST_RULE, Verdict
from controlplane.model.workload import Inventory
from controlplane.policy.compile.directory import Directory
from controlplane.policy.compile.full import Compiled, prefixes_of
from controlplane.policy.compile.identity import relevant_groups
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import Problem, nearest
from controlplane.policy.language.rule import Action


def warnings(compiled: Compiled, inventory: Inventory) -> tuple[Problem, ...]:
    """Return VRFs that are not here, rules without effect, groups without members, network sets
    that hide behind workloads."""
    return (
        *_unknown_vrfs(compiled.policy, inventory.zones),
        *_idle_rules(compiled),
        *_empty_groups(compiled, inventory),
        *_covered_workloads(compiled, inventory),
    )


def _unknown_vrfs(policy: Policy, here: frozenset[str]) -> Iterator[Problem]:
    """Yield a warning for each place that names a VRF which this node has not."""
    places = [(f"modes.vrfs.{vrf}", vrf) for vrf in policy.modes.vrfs]
    places += [(f"rules.{rule.id}", vrf) for rule in policy.rules for vrf in sorted(rule.vrfs)]
    for path, vrf in places:
        if vrf not in here:
            cure = nearest(vrf, here, otherwise="right if other nodes have it")
            yield Problem(path, f"means nothing here: this node has no VRF {vrf!r}", cure)


def _idle_rules(compiled: Compiled) -> Iterator[Problem]:
    used = set(_numbers(compiled))
    rules = {rule.id: rule for rule in compiled.policy.rules}
    for number, name in compiled.rule_ids.items():
        if number >= FIRST_RULE and number not in used:
            rule = rules[name]
            if rule.action is not Action.PASS:
                cure = "earlier rules decide first, or no address matches it"
                yield Problem(f"rules.{name}", f"never takes effect: {rule}", cure)


def _numbers(compiled: Compiled) -> Iterator[int]:
    tables = compiled.tables
    for elements in (
        tables.contracts,
        tables.protocols,
        tables.ports,
        tables.port_ranges,
        tables.icmp,
    ):
        verdicts: Iterator[Verdict] = iter(elements.values())
        for verdict in verdicts:
            yield verdict.rule
            yield from verdict.logs


def _empty_groups(compiled: Compiled, inventory: Inventory) -> Iterator[Problem]:
    members = Directory(compiled.policy, inventory).members
    for name in sorted(relevant_groups(compiled.policy)):
        if not members[name]:
            yield Problem(f"groups.{name}", "has no member", "check the selector and the tags")


def _covered_workloads(compiled: Compiled, inventory: Inventory) -> Iterator[Problem]:
    for name, network in compiled.policy.networks.items():
        inside = [
            claimant.key
            for claimant in inventory.claimants()
            for prefix in prefixes_of(claimant)
            if any(p.length and p.contains(prefix) for p in network.prefixes)
        ]
        if inside:
            message = f"contains {len(inside)} addresses of workloads, {inside[0]} for one"
            cure = "rules for a network set do not apply to workloads: use groups for them"
            yield Problem(f"networks.{name}", message, cure)
