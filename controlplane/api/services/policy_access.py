"""What the services of microsegmentation see of the node: its state to read, requests to submit."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc

from controlplane.api.access.status import StatusError
from controlplane.model.attachment import Attachment
from controlplane.model.events import Event
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.observed import Baseline, Recorded
from controlplane.model.revision import Signature
from controlplane.model.workload import Workload
from controlplane.policy.controller import PolicyController
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.language.revision import Revision
from controlplane.policy.requests import (
    BaselineRequested,
    DetachRequested,
    Moved,
    PromoteRequested,
    RollBackRequested,
    StageRequested,
    StoreRefusedError,
    TagRequested,
    UnstageRequested,
    WorkloadAttachRequested,
)
from controlplane.policy.state import PolicyState

Submit = Callable[[Callable[[int], Event]], Awaitable[Any]]
"""``Tickets.submit``."""


class PolicyAccess:
    """Changes go through the node's event queue; reading is of the state between two turns."""

    def __init__(self, controller: PolicyController, submit: Submit, intent: NodeIntent) -> None:
        self._controller, self._submit = controller, submit
        self._first_intent = intent
        self.on_change: list[Callable[[str, Attachment], None]] = []

    # -- reading ------------------------------------------------------------------------------

    @property
    def state(self) -> PolicyState:
        """Endpoints, revisions and tables."""
        return self._controller.state

    @property
    def intent(self) -> NodeIntent:
        """The configuration."""
        return self._controller.intent or self._first_intent

    @property
    def book(self) -> FlowBook:
        """The flows that were seen."""
        return self._controller.book

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """Baselines by name."""
        return self._controller.baselines

    @property
    def history(self) -> History:
        """The history of memberships."""
        return self._controller.history

    @property
    def started(self) -> float:
        """Unix time of the start."""
        return self._controller.started

    def now(self) -> float:
        """Return Unix time, as everything here is signed with it."""
        return time.time()

    def publish(self, change: str, attachment: Attachment) -> None:
        """Report a change of a workload to those who watch."""
        for listener in tuple(self.on_change):
            listener(change, attachment)

    # -- changing -----------------------------------------------------------------------------

    async def attach(self, workload: Workload, who: str) -> tuple[Attachment, bool]:
        """Attach a workload; returns it, and whether the kernel holds it. Raises RefusedError."""
        found: tuple[Attachment, bool] = await self._ask(
            lambda ticket: WorkloadAttachRequested(ticket, workload, who)
        )
        return found

    async def tag(
        self, name: str, put: dict[str, str], unset: tuple[str, ...], generation: int, who: str
    ) -> Attachment:
        """Change tags. Raises RefusedError."""
        found: Attachment = await self._ask(
            lambda ticket: TagRequested(ticket, name, put, unset, generation, who)
        )
        return found

    async def detach(self, name: str, who: str) -> bool:
        """Forget a workload; False if it was not there. Raises RefusedError."""
        return bool(await self._ask(lambda ticket: DetachRequested(ticket, name, who)))

    async def stage(self, revision: Revision, signed: Signature) -> Moved:
        """Stage a revision. Raises MoveError, KernelRefusedError."""
        return await self._move(lambda ticket: StageRequested(ticket, revision, signed))

    async def unstage(self, signed: Signature) -> Moved:
        """Stop evaluating the staged revision. Raises KernelRefusedError."""
        return await self._move(lambda ticket: UnstageRequested(ticket, signed))

    async def promote(self, expected: str, signed: Signature) -> Moved:
        """Enforce the staged revision if its digest begins so.

        Raises MoveError, OvertakenError, KernelRefusedError, StartingError.
        """
        return await self._move(lambda ticket: PromoteRequested(ticket, expected, signed))

    async def roll_back(self, revision: str, signed: Signature) -> Moved:
        """Enforce a superseded revision again. Raises as ``promote``."""
        return await self._move(lambda ticket: RollBackRequested(ticket, revision, signed))

    async def record_baseline(self, baseline: Baseline) -> Recorded:
        """Record a baseline; returns the one of that name, and what was pruned for it."""
        found: Recorded = await self._ask(lambda ticket: BaselineRequested(ticket, baseline))
        return found

    async def _move(self, request: Callable[[int], Event]) -> Moved:
        moved: Moved = await self._ask(request)
        return moved

    async def _ask(self, request: Callable[[int], Event]) -> Any:
        try:
            return await self._submit(request)
        except StoreRefusedError as error:
            text = f"nothing has changed, it cannot be saved: {error}"
            raise StatusError(grpc.StatusCode.UNAVAILABLE, text) from None
