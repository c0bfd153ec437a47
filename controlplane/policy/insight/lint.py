"""Warnings: what a policy says validly but hardly on purpose."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.name_list import those
from controlplane.model.verdict import FIRST_RULE, Verdict
from controlplane.model.workload import Inventory
from controlplane.policy.compile.directory import Directory
from controlplane.policy.compile.full import Compiled, prefixes_of
from controlplane.policy.compile.identity import relevant_groups
from controlplane.policy.insight.idle_rules import MOST_EXPLAINED, IdleRules
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.problem import Problem, nearest
from controlplane.policy.language.rule import Action, Rule


def warnings(compiled: Compiled, inventory: Inventory) -> tuple[Problem, ...]:
    """Return VRFs that are not here, rules without effect, groups without members, network sets
    that hide behind workloads."""
    return (
        *unknown_vrfs(compiled.policy, inventory.zones),
        *_idle_rules(compiled, inventory.zones),
        *_empty_groups(compiled, inventory),
        *_covered_workloads(compiled, inventory),
    )


def unknown_vrfs(policy: Policy, here: frozenset[str]) -> Iterator[Problem]:
    """Yield a warning for each place that names a VRF which this node has not."""
    places = [(f"modes.vrfs.{vrf}", vrf) for vrf in policy.modes.vrfs]
    places += [(f"rules.{rule.id}", vrf) for rule in policy.rules for vrf in sorted(rule.vrfs)]
    others = those("VRFs here", here)
    for path, vrf in places:
        if vrf not in here:
            cure = nearest(vrf, here, otherwise=f"right if other nodes have it{others}")
            text = f"means nothing here: this node has no VRF {vrf!r}"
            yield Problem(path, text, cure)


def _idle_rules(compiled: Compiled, here: frozenset[str]) -> Iterator[Problem]:
    used, rules = {*_numbers(compiled), None}, {rule.id: rule for rule in compiled.policy.rules}
    numbers = {name: number for number, name in compiled.rule_ids.items() if number >= FIRST_RULE}
    idle = [
        rule
        for name, rule in rules.items()
        if rule.action is not Action.PASS
        and numbers.get(name) not in used
        and any(rule.applies_in(vrf) for vrf in here)  # otherwise that is said already
    ]
    if idle:
        yield from map(IdleRules(compiled).problem, idle[:MOST_EXPLAINED])
    for rule in idle[MOST_EXPLAINED:]:
        text = "never takes effect: an earlier rule decides first, or no address matches it"
        yield Problem(f"rules.{rule.id}", text, "put it before, or leave it out")


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
    members, policy = Directory(compiled.policy, inventory).members, compiled.policy
    for name in sorted(relevant_groups(policy)):
        if members[name]:
            continue
        path = f"groups.{name}"
        if policy.groups[name].implicit:  # a selector that stands in a rule
            rules = (r.id for r in policy.rules if _names(r, name))
            path = f"rules.{next(rules)}"
        yield Problem(path, f"no workload matches {name}", "check the selector and the tags")


def _names(rule: Rule, group: str) -> bool:
    return any(end.name == group for end in (*rule.sources, *rule.destinations))


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
