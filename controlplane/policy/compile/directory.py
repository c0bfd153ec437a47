"""Who has an address, in names: workloads, groups and network sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controlplane.model.prefix import IPAddress, Prefix, host_prefix, mask
from controlplane.model.workload import Endpoint, Inventory, Workload
from controlplane.policy.compile.full import prefixes_of
from controlplane.policy.compile.identity import EndpointKind
from controlplane.policy.compile.meanings import groups_under, names_by_id
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.selector import matches


@dataclass(frozen=True, slots=True)
class Who:
    """An address in words. `claimants` are keys (`workload web-1`, `route red 10.0.0.0/24`)."""

    address: IPAddress
    standing: EndpointKind
    claimants: tuple[str, ...] = ()
    groups: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()

    def __str__(self) -> str:
        named = sorted(self.groups | self.networks)
        parts = [self.standing.value, *self.claimants]
        return f"{self.address} ({', '.join(parts)}; {', '.join(named) or 'in no group'})"


def group_ids(policy: Policy, workload: Workload) -> frozenset[int]:
    """Return the ids that travel with a workload's routes, one large community each.

    All groups count, those that only selectors in rules make as well: another PE may hold a
    rule that needs them.
    """
    groups = policy.groups.values()
    return frozenset(group.id for group in groups if matches(group.selector, workload.tags))


class Directory:
    """Answers for one policy and inventory, by one lookup per prefix length in use."""

    def __init__(self, policy: Policy, inventory: Inventory) -> None:
        self._policy = policy
        self._names = names_by_id(policy)
        self._claims: dict[tuple[str, Prefix], list[Endpoint]] = {}
        for claimant in inventory.claimants():
            for prefix in prefixes_of(claimant):
                self._claims.setdefault((claimant.vrf, prefix), []).append(claimant)
        self._lengths = sorted({prefix.length for _, prefix in self._claims}, reverse=True)
        self._tagged: dict[frozenset[tuple[str, str]], frozenset[str]] = {}
        self.members: dict[str, int] = dict.fromkeys(policy.groups, 0)
        for claimant in inventory.claimants():
            for name in self.groups_of(claimant) or ():
                self.members[name] += 1

    def who(self, zone: str, address: IPAddress) -> Who:
        """Return the endpoint that has `address` in VRF `zone`."""
        return self.who_of(address, self._claimants(zone, address))

    def who_of(self, address: IPAddress, claimants: Sequence[Endpoint]) -> Who:
        """Return `address` in words if it is theirs; the groups are those of this policy."""
        if not claimants:
            return Who(address, EndpointKind.OUTSIDE, networks=self._networks(address))
        keys = tuple(sorted(claimant.key for claimant in claimants))
        found = {self.groups_of(claimant) for claimant in claimants}
        groups = found.pop() if len(found) == 1 else None
        if groups is None:
            return Who(address, EndpointKind.PENDING, keys)
        return Who(address, EndpointKind.WORKLOAD, keys, groups)

    def groups_of(self, claimant: Endpoint) -> frozenset[str] | None:
        """Return all groups of a claimant, used by a rule or not; None while they are not known."""
        if isinstance(claimant, Workload):
            return self._by_tags(claimant)
        ids = groups_under(claimant, self._policy.revision, self._names)
        if ids is None:
            return None
        return frozenset(self._names[number] for number in ids if number in self._names)

    def _by_tags(self, workload: Workload) -> frozenset[str]:
        tags = frozenset(workload.tags.items())
        found = self._tagged.get(tags)
        if found is None:
            groups = self._policy.groups.values()
            named = (g.name for g in groups if matches(g.selector, workload.tags))
            found = self._tagged[tags] = frozenset(named)
        return found

    def _claimants(self, zone: str, address: IPAddress) -> list[Endpoint]:
        packed = address.packed
        for length in self._lengths:
            if length <= 8 * len(packed):
                found = self._claims.get((zone, Prefix(mask(packed, length), length)))
                if found:
                    return found
        return []

    def _networks(self, address: IPAddress) -> frozenset[str]:
        wanted = host_prefix(address)
        return frozenset(
            name
            for name, network in self._policy.networks.items()
            if any(prefix.contains(wanted) for prefix in network.prefixes)
        )
