"""Report what two PEs do not agree on: whose an address is, and which group an id stands for.

An address that is attached under different names is pending at every PE that sees both claims, and
so is an endpoint whose PE gives an id to another group than the enforced policy here. Each conflict
is logged when it begins and when it is over; until then it is counted.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from controlplane.model.attachment import EndpointKey
from controlplane.model.name_list import name_list
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import OTHER_VRF, RemoteEndpoint, RemoteEndpointsChanged
from controlplane.policy.compile.meanings import disputed, names_by_id
from controlplane.policy.language.policy import Policy
from controlplane.policy.state import PolicyState
from controlplane.policy.turn import Turn

MOST_LINES = 10
"""Addresses and groups that the journal names of one change; the line has the number of all."""
COMPARED_AT_ONCE = 1_000
"""Kinds of endpoints that are compared with a new policy in one turn."""

ADDRESS_CURE = "detach the workload at one of them, or attach it under the same name"
GROUP_CURE = "give an id to one group: compare `pe group list` there and here, promote one policy"


class Conflicts:
    """The conflicts that one node sees; ``addresses`` has who claims each address."""

    def __init__(self, turn: Turn, state: PolicyState) -> None:
        self._turn, self._state = turn, state
        self.addresses: dict[EndpointKey, tuple[str, ...]] = {}
        self._kinds: Counter[RemoteEndpoint] = Counter()
        self._disputed: dict[RemoteEndpoint, frozenset[int]] = {}
        self._by_node: dict[str, Counter[int]] = {}
        self._reported: dict[str, frozenset[int]] = {}
        self._names: dict[int, str] = {}
        self._revision = 0
        self._to_compare: dict[RemoteEndpoint, None] = {}

    @property
    def group_ids(self) -> int:
        """The ids that another PE gives to another group, counted for each PE."""
        return sum(map(len, self._reported.values()))

    @property
    def is_behind(self) -> bool:
        """True while `look` has endpoints to compare with a new policy."""
        return bool(self._to_compare)

    def take(self, change: RemoteEndpointsChanged) -> None:
        """Take in what is about to change in the registry."""
        remote = self._state.population.remote
        for prefix, after in change.remote.items():
            self._count(remote.get((change.vrf, prefix)), -1)
            self._count(after, 1)
        self._take_addresses(change)
        self._report()

    def look(self) -> None:
        """Compare with another policy, a part in each turn."""
        policy = self._state.policy(Slot.ENFORCED) or Policy()
        if policy.revision != self._revision:
            self._revision, self._names = policy.revision, names_by_id(policy)
            self._to_compare = dict.fromkeys(self._kinds)
        if self._to_compare:
            for kind in list(islice(self._to_compare, COMPARED_AT_ONCE)):
                self._compare(kind)
            self._report()

    # -- addresses ------------------------------------------------------------------------------

    def _take_addresses(self, change: RemoteEndpointsChanged) -> None:
        begun, over = list[EndpointKey](), list[EndpointKey]()
        for prefix, after in change.remote.items():
            key = (change.vrf, prefix)
            if after is not None and after.conflict:
                if self.addresses.get(key) != after.conflict:
                    begun.append(key)
                self.addresses[key] = after.conflict
            elif self.addresses.pop(key, None):
                over.append(key)
        for vrf, prefix in begun[:MOST_LINES]:
            names = sorted(self._state.population.owners((vrf, prefix)))
            self._turn.notice(
                "warning", "address_conflict", vrf=vrf, address=str(prefix),
                attached_at=", ".join(self.addresses[vrf, prefix]),
                workload=names[0] if names else "", conflicts=len(self.addresses),
                cure=ADDRESS_CURE,
            )  # fmt: skip
        for vrf, prefix in over[:MOST_LINES]:
            self._turn.notice(
                "info", "address_conflict_cleared", vrf=vrf, address=str(prefix),
                conflicts=len(self.addresses),
            )  # fmt: skip

    # -- group ids ------------------------------------------------------------------------------

    def _count(self, endpoint: RemoteEndpoint | None, more: int) -> None:
        """Count endpoints that are alike: there are few kinds of them."""
        if endpoint is None or endpoint.meanings is None or not endpoint.groups:
            return
        kind = _kind(endpoint)
        is_new = kind not in self._kinds
        self._kinds[kind] += more
        if not self._kinds[kind]:
            del self._kinds[kind]
        if is_new or kind not in self._kinds:
            self._compare(kind)

    def _compare(self, kind: RemoteEndpoint) -> None:
        self._to_compare.pop(kind, None)
        before = self._disputed.pop(kind, frozenset[int]())
        now = frozenset[int]()
        if kind in self._kinds and (now := disputed(kind, self._revision, self._names)):
            self._disputed[kind] = now
        if before != now:
            counts = self._by_node.setdefault(kind.node, Counter())
            counts.update(now)
            counts.subtract(before)

    def _report(self) -> None:
        for node in sorted(self._by_node):
            now = frozenset(number for number, count in self._by_node[node].items() if count)
            self._note(node, self._reported.get(node, frozenset[int]()), now)

    def _note(self, node: str, before: frozenset[int], now: frozenset[int]) -> None:
        where = node or OTHER_VRF
        if begun := now - before:
            self._turn.notice(
                "warning", "group_id_conflict", node=where, groups=self._named(begun),
                conflicts=len(now), cure=GROUP_CURE,
            )  # fmt: skip
        if over := before - now:
            self._turn.notice(
                "info", "group_id_conflict_cleared", node=where, groups=self._named(over),
                conflicts=len(now),
            )  # fmt: skip
        if now:
            self._reported[node] = now
        else:
            self._reported.pop(node, None)
            del self._by_node[node]

    def _named(self, numbers: frozenset[int]) -> str:
        words = [f"{n} ({self._names.get(n, 'no group')})" for n in sorted(numbers)]
        return name_list(words, MOST_LINES)


def _kind(endpoint: RemoteEndpoint) -> RemoteEndpoint:
    return RemoteEndpoint(
        endpoint.groups, endpoint.node, staged=endpoint.staged, meanings=endpoint.meanings
    )
