"""Moves revisions: one move at a time, durable before the kernel, taken back if it refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from controlplane.model.effects import Answer, SaveLedger
from controlplane.model.revision import Entry, Signature, State
from controlplane.policy.acknowledgements import MapAcknowledgements
from controlplane.policy.flow_revocation import FlowRevocation
from controlplane.policy.language.revision import Ledger, MoveError, Revision
from controlplane.policy.requests import (
    KernelRefusedError,
    Moved,
    MoveRequest,
    OvertakenError,
    PromoteRequested,
    RollBackRequested,
    StageRequested,
    StartingError,
    StoreRefusedError,
    TooManyMovesError,
    UnstageRequested,
)
from controlplane.policy.state import PolicyState
from controlplane.policy.tables import NotCompiledError
from controlplane.policy.turn import Turn

MOST_WAITING = 32
"""Moves that wait for the one that is under way, whether or not their callers are still there."""


class Move(NamedTuple):
    """A move that is under way."""

    event: MoveRequest
    before: Ledger
    after: Ledger


class RevisionMoves:
    """Tables first, then the store, then the kernel: a move that cannot be compiled or saved has
    not been. ``keep`` has something saved that has happened already, however often it takes."""

    def __init__(
        self, turn: Turn, state: PolicyState, maps: MapAcknowledgements,
        revocation: FlowRevocation, keep: Callable[[SaveLedger], None],
    ) -> None:  # fmt: skip
        self._turn, self._state, self._maps = turn, state, maps
        self._revocation, self._keep = revocation, keep
        self._is_moving = False
        self._preparing: Move | None = None
        self._follow: Callable[[], None] | None = None
        self._waiting: list[MoveRequest] = []

    def take(self, event: MoveRequest) -> None:
        """Decide on a move; it waits while another one is under way, or tables are built."""
        if self._is_moving or self._state.tables.is_building:
            self._wait(event)
            return
        before = self._state.ledger
        try:
            after = _move(before, event)
        except (MoveError, OvertakenError) as error:
            self._turn.act(Answer(event.ticket, error=error))
            return
        if after == before:
            self._turn.act(Answer(event.ticket, Moved(after)))
        elif not self._state.begun and _enforced(after) != _enforced(before):
            self._turn.act(Answer(event.ticket, error=StartingError()))
        else:
            self._begin(Move(event, before, after))

    def _wait(self, event: MoveRequest) -> None:
        """Callers that went away leave their moves here: a client that tries again and again
        while the kernel is slow must not leave any number."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(event)
        else:
            self._turn.act(Answer(event.ticket, error=TooManyMovesError()))

    def _begin(self, move: Move) -> None:
        self._is_moving, self._preparing = True, move
        try:
            self._state.tables.prepare(move.after)
            self._propose()
        except NotCompiledError as error:
            self.fail(error)
        except Exception:  # its caller has the error: it must not be made after all
            self._preparing = None
            self._next()
            self._maps.carry(self._state.tables.abandon())
            raise

    def look(self) -> None:
        """Go on with the move that is under way, or with the next one."""
        self._propose()
        if self._follow is not None and not self._state.is_behind:
            follow, self._follow = self._follow, None
            follow()
        if self._waiting and not self._is_moving and not self._state.tables.is_building:
            self._next()

    def fail(self, error: NotCompiledError) -> None:
        """Answer that the revision that is being prepared cannot be compiled."""
        move, self._preparing = self._preparing, None
        if move is None:
            raise error
        self._abandon(move.event, KernelRefusedError(str(error)))

    def _propose(self) -> None:
        """Have a move saved whose tables are prepared."""
        move = self._preparing
        if move is None or self._turn.is_proposing:
            return
        if not self._state.tables.is_prepared(move.after):
            return
        self._preparing = None
        self._turn.propose(
            [SaveLedger(move.before, move.after)],
            partial(self._commit, move),
            lambda reason: self._abandon(move.event, StoreRefusedError(reason)),
        )

    def _abandon(self, event: MoveRequest, error: Exception) -> None:
        self._maps.carry(self._state.tables.abandon())
        self._turn.act(Answer(event.ticket, error=error))
        self._next()

    def _commit(self, move: Move) -> None:
        self._maps.carry(self._state.take_ledger(move.after))
        self._follow = partial(self._taken, move, self._turn.now.monotonic)
        self.look()

    def _taken(self, move: Move, began: float) -> None:
        self._maps.then_settled(partial(self._settled, *move, began))

    def _settled(
        self, event: MoveRequest, before: Ledger, after: Ledger, began: float, why: str
    ) -> None:
        if why:
            self._take_back(event, before, after, why)
            return
        moved = Moved(after, 0, self._turn.now.monotonic - began)
        if isinstance(event, PromoteRequested | RollBackRequested):
            answer = partial(self._answer, event, moved)
            self._revocation.everything(answer)
        else:
            self._answer(event, moved, 0)
        self._next()

    def _answer(self, event: MoveRequest, moved: Moved, ended: int) -> None:
        self._turn.act(Answer(event.ticket, moved._replace(ended=ended)))

    def _take_back(self, event: MoveRequest, before: Ledger, after: Ledger, why: str) -> None:
        """Restore the ledger, whether or not the caller still waits."""
        last = after.trail[-1]
        signed = Signature("bulkhead", self._turn.now.wall, f"the kernel refused it: {why}")
        entry = Entry("revert", last.after, last.before, signed)
        restored = Ledger({**after.revisions, **before.revisions}, (*after.trail, entry))
        self._turn.notice("error", "policy_refused_by_kernel", revision=last.after, reason=why)
        self._keep(SaveLedger(after, restored))
        self._maps.carry(self._state.take_ledger(restored))
        self._turn.act(Answer(event.ticket, error=KernelRefusedError(why)))
        self._follow = self._next
        self.look()

    def _next(self) -> None:
        self._is_moving = False
        waiting, self._waiting = self._waiting, []
        self._turn.resume(waiting)


def _move(ledger: Ledger, event: MoveRequest) -> Ledger:
    """Return the ledger after a move. Raises MoveError, OvertakenError."""
    match event:
        case StageRequested():
            drafted, revision = ledger.with_draft(event.revision)
            return drafted.stage(revision.digest, event.signed)
        case UnstageRequested():
            is_staged = ledger.in_state(State.STAGED) is not None
            return ledger.unstage(event.signed) if is_staged else ledger
        case PromoteRequested():
            return _promote(ledger, event)
        case RollBackRequested():
            enforced = ledger.in_state(State.ENFORCED)
            if event.revision and names(event.revision, enforced):
                return ledger
            return ledger.roll_back(event.signed, event.revision)


def _promote(ledger: Ledger, event: PromoteRequested) -> Ledger:
    """Enforce the staged revision; once more is fine if it is the enforced one already."""
    staged = ledger.in_state(State.STAGED)
    if event.expected and not names(event.expected, staged):
        if staged is None and names(event.expected, ledger.in_state(State.ENFORCED)):
            return ledger
        if staged is None:
            raise OvertakenError(f"nothing is staged, and {event.expected} is not enforced")
        raise OvertakenError(f"staged is {staged.digest[:12]}: look at it first")
    return ledger.promote(event.signed)


def names(prefix: str, revision: Revision | None) -> bool:
    """Return whether a beginning of a digest, of 4 letters or more, means this revision."""
    return revision is not None and len(prefix) >= 4 and revision.digest.startswith(prefix)


def _enforced(ledger: Ledger) -> str:
    revision = ledger.in_state(State.ENFORCED)
    return revision.digest if revision else ""
