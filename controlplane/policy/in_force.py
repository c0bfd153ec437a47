"""What a ledger puts in force: the policy of each slot."""

from __future__ import annotations

from controlplane.model.revision import State
from controlplane.model.verdict_tables import Slot
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Ledger, Revision

_STATES = {Slot.ENFORCED: State.ENFORCED, Slot.STAGED: State.STAGED}


def revision_of(ledger: Ledger, slot: Slot) -> Revision | None:
    """Return the revision that a slot holds."""
    return ledger.in_state(_STATES[slot])


def policy_of(ledger: Ledger, slot: Slot) -> Policy | None:
    """Return what a slot evaluates: a policy without rules while no revision is enforced, None
    where none is staged or the revision is unreadable."""
    revision = revision_of(ledger, slot)
    if revision is None:
        return Policy() if slot is Slot.ENFORCED else None
    return None if revision.problem else revision.policy


def unreadable_in(ledger: Ledger) -> list[Revision]:
    """Return the revisions in force whose text this program does not accept."""
    found = (revision_of(ledger, slot) for slot in Slot)
    return [revision for revision in found if revision is not None and revision.problem]


def is_frozen(ledger: Ledger) -> bool:
    """Return True while the enforced revision is unreadable: the kernel keeps judging by the
    tables that it has, and no order goes to it before a readable revision is promoted."""
    return any(revision.state is State.ENFORCED for revision in unreadable_in(ledger))
