"""Which groups the routes of the workloads carry, and which routes must be laid anew for that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.model.attachment import Attachment
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import StagedGroups, Workload, WorkloadAttached
from controlplane.policy.compile.directory import group_ids
from controlplane.policy.compile.identity import MOST_REMEMBERED
from controlplane.policy.compile.meanings import Meanings
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.in_force import revision_of
from controlplane.policy.language.outline import groups_in
from controlplane.policy.language.policy import Policy, revision_number
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.orders import LayRoutes, Order


class SentGroups(NamedTuple):
    """The group ids that a workload's routes carry, as in ``WorkloadAttached``."""

    enforced: frozenset[int]
    staged: StagedGroups | None = None
    meanings: frozenset[int] = frozenset()


class WorkloadRoutes:
    """``routes`` of the population, under the ledger of the last ``follow``."""

    def __init__(self, population: EndpointRegistry, ledger: Ledger) -> None:
        self._population = population
        self._by_tags: dict[frozenset[tuple[str, str]], SentGroups] = {}
        self._sent: dict[str, SentGroups] = {}  # what the routes carry
        self._to_check: dict[str, None] = {}
        self._set(ledger)

    def groups_to_send(self, workload: Workload) -> SentGroups:
        """Return the ids for a workload's routes: of the enforced revision, and apart from them of
        the staged one, for PEs that have that revision too and are ahead or not."""
        tags = frozenset(workload.tags.items())
        found = self._by_tags.get(tags)
        if found is None:
            found = self._groups_of(workload)
            if len(self._by_tags) >= MOST_REMEMBERED:
                self._by_tags.clear()
            self._by_tags[tags] = found
        return found

    def _groups_of(self, workload: Workload) -> SentGroups:
        enforced = group_ids(self._policies[Slot.ENFORCED], workload)
        meanings = self._meanings.of(enforced)
        policy = self._policies[Slot.STAGED]
        staged = group_ids(policy, workload)
        differs = policy.revision and (
            staged != enforced or not self._staged_meanings.of(staged) <= meanings
        )
        sent = StagedGroups(policy.revision, staged) if differs else None
        return SentGroups(enforced, sent, meanings)

    def lay(self, attachments: Iterable[Attachment]) -> list[Order]:
        """Return the order to lay the routes of these workloads."""
        events = tuple(self._event(attachment) for attachment in attachments)
        return [LayRoutes(events)] if events else []

    def forget(self, name: str) -> None:
        """Forget a workload that is detached."""
        self._sent.pop(name, None)

    # -- after a change of what is in force ------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """True while `advance` has routes to look at."""
        return bool(self._to_check)

    def follow(self, ledger: Ledger) -> None:
        """Have each route carry the groups of this ledger, as `advance` comes to it."""
        self._set(ledger)
        self._to_check = dict.fromkeys(self._population.attachments)

    def advance(self, most: int) -> tuple[int, list[Order]]:
        """Look at up to about ``most`` units of routes; return the units, and what to lay.

        A workload whose tags are seen for the first time is compared with each group.
        """
        done, anew, groups = 0, list[Attachment](), self._groups
        while self._to_check and done < most:
            name = next(iter(self._to_check))
            del self._to_check[name]
            attachment = self._population.attachments.get(name)
            if attachment is None:
                continue
            known = len(self._by_tags)
            differs = self.groups_to_send(attachment.workload) != self._sent.get(name)
            done += 1 + (groups // 4 if len(self._by_tags) != known else 0)
            if differs:
                anew.append(attachment)
                done += 10
        return done, self.lay(anew)

    def _set(self, ledger: Ledger) -> None:
        self._by_tags.clear()
        self._policies = {slot: _policy(revision_of(ledger, slot)) for slot in Slot}
        self._staged_meanings = Meanings(self._policies[Slot.STAGED])
        beside = (self._policies[Slot.STAGED], _policy(ledger.enforced_before))
        self._meanings = Meanings(self._policies[Slot.ENFORCED], beside)
        self._groups = sum(len(policy.groups) for policy in self._policies.values())

    def _event(self, attachment: Attachment) -> WorkloadAttached:
        workload = attachment.workload
        groups = self._sent[workload.name] = self.groups_to_send(workload)
        return WorkloadAttached(
            name=workload.name,
            vrf=workload.vrf,
            port=workload.port,
            prefixes=workload.addresses,
            groups=groups.enforced,
            staged=groups.staged,
            meanings=groups.meanings,
            moves=attachment.moves,
        )


def _policy(revision: Revision | None) -> Policy:
    """Return a policy with the groups of a revision, as far as they can be read: other PEs judge
    by them, whether this one can or not."""
    if revision is None:
        return Policy()
    if not revision.problem:
        return revision.policy
    return Policy(groups_in(revision.document), revision=revision_number(revision.digest))
