"""Compare what group ids mean here and at another PE.

A PE sends with each group id that people gave a digest of the id and the group's name. Where two
PEs give one id to different groups, that id says nothing: the endpoint is pending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.model.workload import RemoteEndpoint, RemotePrefix
from controlplane.policy.language.policy import Group, Policy, meaning_of

Remote = RemoteEndpoint | RemotePrefix


def names_by_id(policy: Policy) -> dict[int, str]:
    """Return what the ids mean to a policy."""
    return {group.id: group.name for group in policy.groups.values()}


def groups_under(remote: Remote, revision: int, names: Mapping[int, str]) -> frozenset[int] | None:
    """Return the ids by which a policy judges another PE's endpoint; None: it is pending.

    They are those that the other PE found by the same revision, also where it has only staged it,
    else those of what it enforces. Ids that the policy does not name mean nothing: no PE's staging
    changes what another enforces. Ids that the other PE gives to other groups are not to be used.
    """
    if remote.groups is None or disputed(remote, revision, names):
        return None
    same = _same_revision(remote, revision)
    return remote.groups if same is None else same


def disputed(remote: Remote, revision: int, names: Mapping[int, str]) -> frozenset[int]:
    """Return the ids that the endpoint's PE gives to other groups than a policy does.

    None where it sends no digests, as a PE of an earlier version.
    """
    theirs = remote.meanings
    if theirs is None or not remote.groups or _same_revision(remote, revision) is not None:
        return frozenset()
    known = (number for number in remote.groups if number in names)
    return frozenset(
        number
        for number in known
        if (ours := meaning_of(number, names[number])) is not None and ours not in theirs
    )


def _same_revision(remote: Remote, revision: int) -> frozenset[int] | None:
    staged = remote.staged
    return staged.groups if staged is not None and staged.revision == revision else None


class Meanings:
    """What the groups of a policy mean, for other PEs.

    A group that only has another name in a revision that this PE has ``beside``, staged or
    enforced before, is still the same group: its selector is. So a group is renamed, PE by PE and
    back, without a gap. Another group that takes over the id is not.
    """

    def __init__(self, policy: Policy, beside: Iterable[Policy] = ()) -> None:
        self._groups = {group.id: group for group in policy.groups.values()}
        self._beside = [{g.id: g for g in policy.groups.values()} for policy in beside]

    def of(self, ids: Iterable[int]) -> frozenset[int]:
        """Return the digests for the groups of these ids."""
        return frozenset(digest for number in ids for digest in self._of(number))

    def _of(self, number: int) -> Iterable[int]:
        group = self._groups[number]
        for each in (group, *self._renamed(group)):
            if (digest := meaning_of(number, each.name)) is not None:
                yield digest

    def _renamed(self, group: Group) -> Iterable[Group]:
        for groups in self._beside:
            other = groups.get(group.id)
            if other is not None and other.selector == group.selector:
                yield other
