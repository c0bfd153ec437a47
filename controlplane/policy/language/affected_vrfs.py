"""Which VRFs a policy concerns: the others need not pay for connection tracking and maps."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.policy.language.policy import Mode, Policy
from controlplane.policy.language.rule import Action, Rule, RuleEndpoint, RuleEndpointKind

_BEYOND = frozenset({RuleEndpointKind.ANY, RuleEndpointKind.OUTSIDE, RuleEndpointKind.NETWORK})


class AffectedVrfs:
    """The VRFs that one policy concerns; the rules are read once."""

    def __init__(self, policy: Policy) -> None:
        self._modes = policy.modes
        acting = [rule for rule in policy.rules if _acts_outside(rule)]
        self._everywhere = any(not rule.vrfs for rule in acting)
        self._named = frozenset(vrf for rule in acting for vrf in rule.vrfs)

    def has(self, vrf: str) -> bool:
        """Return whether a VRF without any workload can be treated otherwise than without it."""
        mode = self._modes.vrfs.get(vrf, self._modes.default).mode
        return mode is not Mode.VISIBILITY or self._everywhere or vrf in self._named


def _acts_outside(rule: Rule) -> bool:
    """Return True for a rule that can deny or note a flow between two addresses of no workload."""
    if rule.action not in (Action.DENY, Action.LOG):
        return False
    return _beyond(rule.sources) and _beyond(rule.destinations)


def _beyond(endpoints: Iterable[RuleEndpoint]) -> bool:
    return any(endpoint.kind in _BEYOND for endpoint in endpoints)
