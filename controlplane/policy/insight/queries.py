"""Answers for people: who is behind an address, and what a policy would mean here.

Directories and compilations are kept for as long as nothing changes: a query over ten thousand
flows asks for one directory.
"""

from __future__ import annotations

from controlplane.model.prefix import IPAddress
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.directory import Directory, Who
from controlplane.policy.compile.full import Compiled, compile_policy
from controlplane.policy.compile.identity import EndpointKind
from controlplane.policy.language.canonical import digest
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.selector import matches
from controlplane.policy.state import PolicyState


class PolicyQueries:
    """Reads a director; holds nothing of its own but what can be made again."""

    def __init__(self, director: PolicyState) -> None:
        self._director = director
        self._version = -1
        self._inventory: Inventory | None = None
        self._directories: dict[int, tuple[Policy, Directory]] = {}
        self._compiled: dict[str, Compiled] = {}

    @property
    def policy(self) -> Policy:
        """The enforced policy."""
        policy = self._director.policy(Slot.ENFORCED)
        assert policy is not None  # noqa: S101 - there always is one, if an empty one
        return policy

    @property
    def inventory(self) -> Inventory:
        """Who is there, in all VRFs of the node."""
        self._refresh()
        if self._inventory is None:
            self._inventory = self._director.inventory()
        return self._inventory

    def directory(self, policy: Policy | None = None) -> Directory:
        """Addresses in words, by the enforced policy or another."""
        policy = policy or self.policy
        inventory = self.inventory
        found = self._directories.get(id(policy))
        if found is None:
            found = self._directories[id(policy)] = (policy, Directory(policy, inventory))
        return found[1]

    def compiled(self, policy: Policy) -> Compiled:
        """A policy in tables for everybody here."""
        inventory, name = self.inventory, digest(policy)
        if name not in self._compiled:
            self._compiled[name] = compile_policy(policy, inventory)
        return self._compiled[name]

    def who(self, vrf: str, address: IPAddress) -> Who:
        """Whoever has an address, by the enforced policy."""
        return self.directory().who(vrf, address)

    def groups_of(self, workload: Workload) -> frozenset[str]:
        """The names of a workload's groups, without looking at anybody else."""
        groups = self.policy.groups.values()
        return frozenset(group.name for group in groups if matches(group.selector, workload.tags))

    def box(self, who: Who) -> tuple[str, str]:
        """The one name under which an address is drawn on a map, and what kind of name it is.

        The smallest declared group says most about a workload; the smallest network set about
        what is outside.
        """
        if who.standing is EndpointKind.OUTSIDE:
            networks = self.policy.networks
            breadth = {n: sum(2.0**-p.length for p in networks[n].prefixes) for n in who.networks}
            return (min(breadth, key=lambda n: (breadth[n], n)), "network") if breadth else (
                "outside", "unknown",
            )  # fmt: skip
        members, groups = self.directory().members, self.policy.groups
        ranked = sorted(who.groups, key=lambda n: (groups[n].implicit, members[n], n))
        if ranked:
            return ranked[0], "group"
        return self.workload(who) or str(who.address), "workload"

    @staticmethod
    def workload(who: Who) -> str:
        """The name of the workload here that has the address, "" if none has."""
        names = [key.removeprefix("workload ") for key in who.claimants if key[:9] == "workload "]
        return names[0] if names else ""

    def _refresh(self) -> None:
        if self._version != self._director.version:
            self._version = self._director.version
            self._inventory = None
            self._directories.clear()
            self._compiled.clear()
