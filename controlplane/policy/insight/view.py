"""What one caller may see: the endpoints of its VRFs, and the part of the policy that is theirs.

Every query of a caller is answered from a view, so no answer can hold what the view does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.workload import Inventory, RemoteEndpoint, Workload
from controlplane.policy.compile.directory import Directory
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.insight.queries import PolicyQueries
from controlplane.policy.insight.visible import visible_part
from controlplane.policy.language.policy import Policy

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class View:
    """`population` and `inventory` hold what is in `vrfs` and nothing else."""

    vrfs: frozenset[str]
    whole: bool
    population: EndpointRegistry
    inventory: Inventory
    queries: PolicyQueries
    staged: Policy | None

    @classmethod
    def of(
        cls,
        *,
        vrfs: frozenset[str],
        attachments: Mapping[str, Attachment],
        remote: Mapping[EndpointKey, RemoteEndpoint],
        held_down: Mapping[EndpointKey, float],
        enforced: Policy,
        staged: Policy | None,
        whole: bool,
    ) -> View:
        """Return a view; `whole` for a caller that is not limited to some VRFs."""
        population = EndpointRegistry(dict(attachments), dict(remote), dict(held_down))
        inventory = Inventory(vrfs, tuple(_workloads(population)), tuple(population.remotes()))
        view = cls(vrfs, whole, population, inventory, PolicyQueries(enforced, inventory), None)
        seen = [view.part(policy) for policy in (enforced, staged) if policy is not None]
        return cls(
            vrfs,
            whole,
            population,
            inventory,
            PolicyQueries(seen[0], inventory, enforced),
            seen[1] if staged is not None else None,
        )

    def part(self, policy: Policy) -> Policy:
        """Return the part of a policy that this view holds."""
        if self.whole:
            return policy
        return visible_part(policy, self.vrfs, Directory(policy, self.inventory).members)


def _workloads(population: EndpointRegistry) -> Iterator[Workload]:
    return (population.present(name) for name in population.attachments)


def by_vrf(rows: Mapping[str, Mapping[_K, _V]], vrfs: Iterable[str]) -> dict[_K, _V]:
    """Return the rows of some VRFs."""
    return {key: row for vrf in vrfs for key, row in rows.get(vrf, {}).items()}
