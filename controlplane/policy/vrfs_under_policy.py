"""Which VRFs are under policy: those with an endpoint, and those that a policy treats otherwise."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.model.revision import State
from controlplane.model.verdict_tables import Slot
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.in_force import policy_of, unreadable_in
from controlplane.policy.language.affected_vrfs import AffectedVrfs
from controlplane.policy.language.outline import PossiblyAffectedVrfs
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger

REMEMBERED = 4
"""Policies whose VRFs are remembered: two in force, and two that are about to be."""


class VrfsUnderPolicy:
    """``vrfs`` are those of this node with their conntrack zones."""

    def __init__(self, population: EndpointRegistry) -> None:
        self.vrfs: dict[str, int] = {}
        self._population = population
        self._affected: dict[int, tuple[Policy, AffectedVrfs]] = {}
        self._possibly: tuple[str, PossiblyAffectedVrfs] | None = None

    def under(self, ledger: Ledger) -> dict[str, int]:
        """Return the VRFs that a ledger puts under policy, with their conntrack zones."""
        policies = [policy for slot in Slot if (policy := policy_of(ledger, slot))]
        affected: list[Callable[[str], bool]]
        affected = [self._affected_by(policy).has for policy in policies]
        affected += [
            self._possibly_by(revision.document).has
            for revision in unreadable_in(ledger)
            if revision.state is State.ENFORCED
        ]
        return {
            vrf: zone
            for vrf, zone in self.vrfs.items()
            if self._population.has_any(vrf) or any(has(vrf) for has in affected)
        }

    def _affected_by(self, policy: Policy) -> AffectedVrfs:
        known = self._affected.get(id(policy))
        if known is None:
            if len(self._affected) >= REMEMBERED:
                del self._affected[next(iter(self._affected))]
            # The policy is kept too: its id would be another's after it.
            known = self._affected[id(policy)] = (policy, AffectedVrfs(policy))
        return known[1]

    def _possibly_by(self, document: str) -> PossiblyAffectedVrfs:
        if self._possibly is None or self._possibly[0] != document:
            self._possibly = (document, PossiblyAffectedVrfs(document))
        return self._possibly[1]
