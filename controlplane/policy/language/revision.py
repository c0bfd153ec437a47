"""Revisions of a policy and the ledger that moves them: draft, staged, enforced, superseded.

Pure: who, when and why are handed in. At most one revision is staged and one enforced; each
move yields a new ledger and the audit entry that records it, so a store can write both in one
transaction or neither.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controlplane.policy.language.canonical import digest
from controlplane.policy.language.policy import Policy


class State(enum.StrEnum):
    """Where a revision stands."""

    DRAFT = "draft"
    STAGED = "staged"
    ENFORCED = "enforced"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Revision:
    """One whole document; `digest` is its name and follows from its content."""

    digest: str
    policy: Policy
    state: State = State.DRAFT


@dataclass(frozen=True, slots=True)
class Signature:
    """Who did it, when (seconds since the epoch) and why."""

    who: str
    when: float
    why: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit trail; `before` and `after` are digests, "" for none."""

    move: str
    before: str
    after: str
    signed: Signature


class MoveError(ValueError):
    """A revision cannot be moved so; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All revisions by digest, and the audit trail, oldest first."""

    revisions: Mapping[str, Revision] = field(default_factory=dict)
    trail: tuple[Entry, ...] = ()

    def in_state(self, state: State) -> Revision | None:
        """The staged or the enforced revision, if there is one."""
        return next((r for r in self.revisions.values() if r.state is state), None)

    def find(self, prefix: str) -> Revision:
        """A revision by digest or unambiguous beginning of it (4 or more); raises MoveError."""
        found = [r for name, r in self.revisions.items() if name.startswith(prefix)]
        if len(prefix) < 4 or len(found) != 1:
            raise MoveError(
                f"{len(found)} revisions begin with {prefix!r}: give more of the digest"
            )
        return found[0]

    def draft(self, policy: Policy) -> tuple[Ledger, Revision]:
        """Add a document; the same content again is the same revision, unmoved."""
        name = digest(policy)
        if (known := self.revisions.get(name)) is not None:
            return self, known
        revision = Revision(name, policy)
        return replace(self, revisions={**self.revisions, name: revision}), revision

    def stage(self, name: str, signed: Signature) -> Ledger:
        """Evaluate a revision beside the enforced one; what was staged is a draft again."""
        revision = self.find(name)
        if revision.state is State.ENFORCED:
            raise MoveError(f"{revision.digest[:12]} is enforced already: stage a different one")
        before = self.in_state(State.STAGED)
        if before == revision:
            return self
        states = {revision.digest: State.STAGED}
        if before is not None:
            states[before.digest] = State.DRAFT
        return self._moved("stage", before, revision, states, signed)

    def unstage(self, signed: Signature) -> Ledger:
        """Stop evaluating the staged revision."""
        before = self.in_state(State.STAGED)
        if before is None:
            raise MoveError("nothing is staged")
        return self._moved("unstage", before, None, {before.digest: State.DRAFT}, signed)

    def promote(self, signed: Signature) -> Ledger:
        """Enforce the staged revision; the one enforced so far is superseded."""
        revision = self.in_state(State.STAGED)
        if revision is None:
            raise MoveError("nothing is staged: stage a revision and look at what it would do")
        return self._enforced("promote", revision, signed)

    def roll_back(self, signed: Signature, name: str = "") -> Ledger:
        """Enforce a superseded revision again: `name`, or the one enforced before this one."""
        revision = self.find(name or self._previous())
        if revision.state is not State.SUPERSEDED:
            cure = "only what was enforced before can be rolled back to"
            raise MoveError(f"{revision.digest[:12]} is {revision.state}: {cure}")
        return self._enforced("rollback", revision, signed)

    def _previous(self) -> str:
        now = self.in_state(State.ENFORCED)
        for entry in reversed(self.trail):
            enforcing = entry.move in ("promote", "rollback")
            if enforcing and now is not None and entry.after == now.digest and entry.before:
                return entry.before
        raise MoveError("there is no earlier enforced revision")

    def _enforced(self, move: str, revision: Revision, signed: Signature) -> Ledger:
        before = self.in_state(State.ENFORCED)
        states = {revision.digest: State.ENFORCED}
        if before is not None:
            states[before.digest] = State.SUPERSEDED
        return self._moved(move, before, revision, states, signed)

    def _moved(
        self,
        move: str,
        before: Revision | None,
        after: Revision | None,
        states: Mapping[str, State],
        signed: Signature,
    ) -> Ledger:
        moved = {name: replace(self.revisions[name], state=s) for name, s in states.items()}
        entry = Entry(move, before.digest if before else "", after.digest if after else "", signed)
        return Ledger({**self.revisions, **moved}, (*self.trail, entry))
