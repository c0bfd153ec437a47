"""The interface of a store: the durable intent of one node."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from controlplane.model.attachment import Attachment, EndpointKey, MembershipChange
from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.model.label import LabelLedger
from controlplane.model.observed import Baseline
from controlplane.model.records import PolicyRecords
from controlplane.model.revision import RevisionLedger


class StoreError(Exception):
    """The store cannot be used, or did not take a change; the text names the cure."""


class StoreDamagedError(StoreError):
    """The content of the store is not what was written."""


class Store(Protocol):
    """Every ``save`` and ``forget`` is durable when it returns, whole or not at all.

    A method that cannot do so raises StoreError and leaves the store as it was, and usable.
    Hold-downs are dated by the boot clock (``model.instant.BootTime``).
    """

    def load_labels(self) -> LabelLedger:
        """Return the label ledger that was saved last; an empty one if there is none."""

    def save_labels(self, labels: SaveLabels) -> None:
        """Make this the label ledger."""

    def load_policy(self) -> PolicyRecords:
        """Return workloads, hold-downs, revisions, history and baselines."""

    def save_attachment(self, attachment: Attachment, change: MembershipChange | None) -> None:
        """Save a workload, end the hold-down of its addresses, add the line to its history."""

    def forget_attachment(
        self,
        name: str,
        change: MembershipChange,
        lost: Collection[EndpointKey],
        now: BootTime,
        hold_down: float,
    ) -> None:
        """Remove a workload and hold these addresses down from `now` on.

        Hold-downs that have lasted `hold_down` seconds are forgotten.
        """

    def save_changes(self, changes: Sequence[MembershipChange]) -> None:
        """Add lines to the history."""

    def save_ledger(self, before: RevisionLedger, after: RevisionLedger) -> None:
        """Save what differs: revisions that are new, moved or pruned, and new trail entries."""

    def save_baseline(self, baseline: Baseline) -> None:
        """Save a baseline under a name that is not used yet."""

    def close(self) -> None:
        """Close the store."""
