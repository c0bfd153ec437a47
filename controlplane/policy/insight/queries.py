"""Answer who has an address and what a policy means, over one inventory.

Directories and compilations are kept for as long as the inventory is the same: a query over ten
thousand flows makes one directory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property

from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.directory import Directory, Who
from controlplane.policy.compile.full import Compiled, compile_policy
from controlplane.policy.compile.identity import EndpointKind
from controlplane.policy.endpoints.held import Held
from controlplane.policy.insight.flowbook import FlowVerdict, Seen
from controlplane.policy.insight.rule_names import meanings_of
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.selector import matches

MOST_KEPT = 4
"""Policies whose directory and tables are kept."""
MOST_ADDRESSES = 100_000
"""Addresses whose endpoint is kept."""


class PolicyQueries:
    """Answers by `policy`, the enforced one, unless another is given."""

    def __init__(self, policy: Policy, inventory: Inventory, whole: Policy | None = None) -> None:
        """`whole` is the policy of which `policy` is the part that the caller may see."""
        self.policy = policy
        self._whole = whole or policy
        self.inventory = inventory
        # By identity: a policy of ten thousand rules takes long to compare. The policy is kept
        # beside the value, so that its identity is not given to another meanwhile.
        self._directories: OrderedDict[int, tuple[Policy, Directory]] = OrderedDict()
        self._compiled: OrderedDict[int, tuple[Policy, Compiled]] = OrderedDict()
        self._who: dict[tuple[str, IPAddress, bytes | None], Who] = {}

    def directory(self, policy: Policy | None = None) -> Directory:
        """Return addresses in words, by the enforced policy or another."""
        policy = policy or self.policy
        found = self._directories.get(id(policy))
        if found is None:
            found = self._directories[id(policy)] = (policy, Directory(policy, self.inventory))
            if len(self._directories) > MOST_KEPT:
                self._directories.popitem(last=False)
        return found[1]

    def compiled(self, policy: Policy) -> Compiled:
        """Return the tables of a policy for the whole inventory."""
        found = self._compiled.get(id(policy))
        if found is None:
            found = self._compiled[id(policy)] = (policy, compile_policy(policy, self.inventory))
            if len(self._compiled) > MOST_KEPT:
                self._compiled.popitem(last=False)
        return found[1]

    def who(self, vrf: str, address: IPAddress) -> Who:
        """Return the endpoint that has an address, by the enforced policy."""
        return self._kept((vrf, address, None), lambda: self.directory().who(vrf, address))

    def who_then(self, vrf: str, address: IPAddress, held: Held) -> Who:
        """Return an address as of the time when these endpoints had it: with their tags of then,
        in the groups of the enforced policy."""
        key = (vrf, address, held.token)
        return self._kept(key, lambda: self.directory().who_of(address, held.claimants))

    def _kept(self, key: tuple[str, IPAddress, bytes | None], find: Callable[[], Who]) -> Who:
        found = self._who.get(key)
        if found is None:
            if len(self._who) >= MOST_ADDRESSES:
                self._who.clear()
            found = self._who[key] = find()
        return found

    def ends(self, seen: Seen) -> tuple[Who, Who]:
        """Return source and destination of a flow as of the time when it was seen."""
        return (
            self.who_then(seen.vrf, seen.source, seen.source_held),
            self.who_then(seen.vrf, seen.destination, seen.destination_held),
        )

    @cached_property
    def meanings(self) -> dict[str, bytes]:
        """The meanings of the enforced rules by id, also of those that the caller sees in part."""
        return meanings_of(self._whole)

    def is_in_force(self, verdict: FlowVerdict) -> bool:
        """Return whether the rule of a verdict still has its id and meaning."""
        return not verdict.meaning or self.meanings.get(verdict.rule) == verdict.meaning

    def groups_of(self, workload: Workload) -> frozenset[str]:
        """Return the names of a workload's groups, without looking at other workloads."""
        return groups_of(self.policy, workload)

    def box(self, who: Who) -> tuple[str, str]:
        """Return the one name under which a map draws an address, and what kind of name it is.

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
        """Return the name of the workload here that has the address, "" if none has."""
        names = [key.removeprefix("workload ") for key in who.claimants if key[:9] == "workload "]
        return names[0] if names else ""


def groups_of(policy: Policy, workload: Workload) -> frozenset[str]:
    """Return the names of a workload's groups."""
    groups = policy.groups.values()
    return frozenset(group.name for group in groups if matches(group.selector, workload.tags))
