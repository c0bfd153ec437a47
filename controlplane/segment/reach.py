"""Which VRFs a policy concerns: the others need not pay for connection tracking and maps."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.segment.policy import Mode, Policy
from controlplane.segment.rule import Action, Endpoint, EndpointKind, Rule

_BEYOND = frozenset({EndpointKind.ANY, EndpointKind.OUTSIDE, EndpointKind.NETWORK})


def concerns(policy: Policy, vrf: str) -> bool:
    """Whether a VRF without any workload can be treated otherwise than without a policy."""
    mode = policy.modes.vrfs.get(vrf, policy.modes.default).mode
    if mode is not Mode.VISIBILITY:
        return True
    return any(_acts_outside(rule) for rule in policy.rules if rule.applies_in(vrf))


def _acts_outside(rule: Rule) -> bool:
    """True for a rule that can deny or note a flow between two addresses of no workload."""
    if rule.action not in (Action.DENY, Action.LOG):
        return False
    return _beyond(rule.sources) and _beyond(rule.destinations)


def _beyond(endpoints: Iterable[Endpoint]) -> bool:
    return any(endpoint.kind in _BEYOND for endpoint in endpoints)
