"""The part of a policy that decides about some VRFs, without what is other tenants'.

A document speaks of all VRFs. A caller that is limited to some sees of it what can decide about
their addresses: the same packets get the same verdict by the same rule (property test), and no
group, network set, rule or VRF is named that has nothing to do with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.policy.language.policy import Modes, Policy
from controlplane.policy.language.rule import Rule, RuleEndpoint, RuleEndpointKind


def visible_part(policy: Policy, vrfs: frozenset[str], members: Mapping[str, int]) -> Policy:
    """Return the part for `vrfs`; `members` counts the members of each group in these VRFs."""
    groups = {name for name in policy.groups if members.get(name)}
    rules = tuple(seen for rule in policy.rules if (seen := _rule(rule, vrfs, groups)) is not None)
    networks = {end.name for end in _ends(rules) if end.kind is RuleEndpointKind.NETWORK}
    modes = policy.modes
    return Policy(
        {name: group for name, group in policy.groups.items() if name in groups},
        {name: network for name, network in policy.networks.items() if name in networks},
        Modes(
            modes.default,
            {vrf: setting for vrf, setting in modes.vrfs.items() if vrf in vrfs},
            {name: setting for name, setting in modes.groups.items() if name in groups},
        ),
        rules,
        policy.name,
        policy.revision,
    )


def _rule(rule: Rule, vrfs: frozenset[str], groups: set[str]) -> Rule | None:
    """Return a rule with the ends and VRFs that are the caller's; None if it decides nothing
    there."""
    named = rule.vrfs & vrfs
    sources, destinations = (
        tuple(e for e in ends if e.kind is not RuleEndpointKind.GROUP or e.name in groups)
        for ends in (rule.sources, rule.destinations)
    )
    if (rule.vrfs and not named) or not sources or not destinations:
        return None
    return replace(rule, sources=sources, destinations=destinations, vrfs=named)


def _ends(rules: Iterable[Rule]) -> Iterable[RuleEndpoint]:
    return (end for rule in rules for end in (*rule.sources, *rule.destinations))
