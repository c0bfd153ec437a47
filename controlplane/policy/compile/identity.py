"""Identities: what a policy distinguishes about an address.

Many workloads, few identities: an address is known by its VRF and by the groups (workloads) or
network sets (outside) that the policy refers to. Groups that no rule and no mode names make
no difference, so they make no identity.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controlplane.model.workload import Endpoint, RemotePrefix
from controlplane.policy.compile.meanings import groups_under, names_by_id
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.rule import RuleEndpointKind
from controlplane.policy.language.selector import matches

MOST_REMEMBERED = 10_000
"""Sets of tags whose membership is remembered; workloads can make any number of them."""


class EndpointKind(enum.Enum):
    """Whether an address is a workload's, outside, or not to be trusted yet."""

    WORKLOAD = "workload"
    OUTSIDE = "outside"
    PENDING = "pending"


class Membership(NamedTuple):
    """Standing and the group (workload) or network set (outside) names that matter."""

    standing: EndpointKind
    names: frozenset[str] = frozenset()


PENDING = Membership(EndpointKind.PENDING)
OUTSIDE = Membership(EndpointKind.OUTSIDE)


class Identity(NamedTuple):
    """A membership within one VRF."""

    zone: str
    membership: Membership


class Memberships:
    """Finds the memberships of claimants under one policy; remembers answers by tag set."""

    def __init__(self, policy: Policy) -> None:
        self._groups = relevant_groups(policy)
        self._selectors = {n: policy.groups[n].selector for n in self._groups}
        self._by_id = names_by_id(policy)
        self._revision = policy.revision
        self._seen: dict[frozenset[tuple[str, str]], Membership] = {}
        self.matched = 0
        """How many selectors were compared with tags so far."""

    def of(self, claimant: Endpoint) -> Membership:
        """Return what the addresses of a workload or remote prefix are."""
        if isinstance(claimant, RemotePrefix):
            return self._by_ids(groups_under(claimant, self._revision, self._by_id))
        return self._by_tags(claimant.tags)

    def _by_ids(self, ids: frozenset[int] | None) -> Membership:
        if ids is None:
            return PENDING
        names = (self._by_id[number] for number in ids if number in self._by_id)
        return Membership(EndpointKind.WORKLOAD, self._groups.intersection(names))

    def _by_tags(self, tags: Mapping[str, str]) -> Membership:
        key = frozenset(tags.items())
        found = self._seen.get(key)
        if found is None:
            if len(self._seen) >= MOST_REMEMBERED:
                self._seen.clear()
            self.matched += len(self._selectors)
            names = (n for n, selector in self._selectors.items() if matches(selector, tags))
            found = self._seen[key] = Membership(EndpointKind.WORKLOAD, frozenset(names))
        return found


def agreed(memberships: Iterable[Membership]) -> Membership:
    """Return what an address is that has several claimants: what they agree on, else pending."""
    found = set(memberships)
    return found.pop() if len(found) == 1 else PENDING


def relevant_groups(policy: Policy) -> frozenset[str]:
    """Return groups that some rule or mode refers to."""
    return _named(policy, RuleEndpointKind.GROUP).union(policy.modes.groups)


def relevant_networks(policy: Policy) -> frozenset[str]:
    """Return network sets that some rule refers to."""
    return _named(policy, RuleEndpointKind.NETWORK)


def _named(policy: Policy, kind: RuleEndpointKind) -> frozenset[str]:
    return frozenset(
        end.name
        for rule in policy.rules
        for end in (*rule.sources, *rule.destinations)
        if end.kind is kind
    )
