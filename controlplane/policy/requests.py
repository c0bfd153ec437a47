"""Requests that change microsegmentation, as events. An ``Answer`` resolves each ticket."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from controlplane.model.events import Requested
from controlplane.model.observed import Baseline
from controlplane.model.revision import Signature
from controlplane.model.workload import Workload
from controlplane.policy.language.revision import Ledger, Revision


class WorkloadAttachRequested(Requested, frozen=True):
    """Attach a workload, or change the one of that name. Answer: (Attachment, enforced)."""

    workload: Workload
    who: str


class TagRequested(Requested, frozen=True):
    """Change tags; ``generation`` 0 matches every generation. Answer: Attachment."""

    name: str
    put: dict[str, str]
    unset: tuple[str, ...]
    generation: int
    who: str


class DetachRequested(Requested, frozen=True):
    """Forget a workload. Answer: whether it was there."""

    name: str
    who: str


class StageRequested(Requested, frozen=True):
    """Evaluate a revision, which may be new, beside the enforced one. Answer: Moved."""

    revision: Revision
    signed: Signature


class UnstageRequested(Requested, frozen=True):
    """Stop evaluating the staged revision. Answer: Moved."""

    signed: Signature


class PromoteRequested(Requested, frozen=True):
    """Enforce the staged revision if its digest begins with ``expected``. Answer: Moved."""

    expected: str
    signed: Signature


class RollBackRequested(Requested, frozen=True):
    """Enforce a superseded revision again; "": the previous one. Answer: Moved."""

    revision: str
    signed: Signature


class BaselineRequested(Requested, frozen=True):
    """Record a baseline under a new name. Answer: Recorded."""

    baseline: Baseline


MoveRequest: TypeAlias = StageRequested | UnstageRequested | PromoteRequested | RollBackRequested
WorkloadRequest: TypeAlias = WorkloadAttachRequested | TagRequested | DetachRequested


class Moved(NamedTuple):
    """The answer to a move: the ledger, flows that were ended, seconds until the kernel held it."""

    ledger: Ledger
    ended: int = 0
    seconds: float = 0.0


class StartingError(Exception):
    """The node does not know its peers' routes yet: the kernel still holds what it held."""


class KernelRefusedError(Exception):
    """The kernel did not take a promotion; what was enforced is enforced still."""


class StoreRefusedError(Exception):
    """The store did not take a change; nothing has changed."""


class TooManyMovesError(Exception):
    """As many moves wait as may; nothing has changed."""


class OvertakenError(Exception):
    """The staged revision is not the one that the caller means."""
