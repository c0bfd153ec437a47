"""Which VRFs a policy concerns: the others need not pay for connection tracking and maps."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.policy.language.policy import Mode, Policy
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint, RuleEndpointKind

_BEYOND = frozenset({RuleEndpointKind.ANY, RuleEndpointKind.OUTSIDE, RuleEndpointKind.NETWORK})


def concerns(policy: Policy, vrf: str) -> bool:
    """Return whether a VRF without any workload can be treated otherwise than without a policy."""
    mode = policy.modes.vrfs.get(vrf, policy.modes.default).mode
    if mode is not Mode.VISIBILITY:
        return True
    return any(_acts_outside(rule) for rule in policy.rules if rule.applies_in(vrf))


def _acts_outside(rule: Rule) -> bool:
    """Return True for a rule that can deny or note a flow between two addresses of no workload."""
    if rule.action not in (Action.DENY, Action.LOG):
        return False
    return _beyond(rule.sources) and _beyond(rule.destinations)


def _beyond(endpoints: Iterable[RuleEndpoint]) -> bool:
    return any(endpoint.kind in _BEYOND for endpoint in endpoints)
