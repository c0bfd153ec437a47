"""Revisions of a policy and the ledger that moves them: draft, staged, enforced, superseded.

Pure: who, when and why are handed in. At most one revision is staged and one enforced; each
move yields a new ledger and the audit entry that records it, so a store can write both in one
transaction or neither. A revision is kept as text: a text that this program does not accept
any more is a revision without a policy, never a node that does not start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controlplane.model.revision import Entry, KeptRevision, Signature, State
from controlplane.policy.language.canonical import canonical_text, digest_of
from controlplane.policy.language.document import policy_from_value
from controlplane.policy.language.outline import name_in
from controlplane.policy.language.policy import Policy, revision_number
from controlplane.policy.language.problem import PolicyError

MOST_DRAFTS, MOST_SUPERSEDED = 100, 100
"""Revisions that are kept beside the enforced, the staged and the previously enforced one."""
MOST_ENTRIES = 1_000
"""Lines of the trail that are kept; the audit log has them all."""


class MoveError(ValueError):
    """A revision cannot be moved so; the text says why and what to do."""


class UnreadableError(MoveError):
    """The text of a revision is not a policy to this program."""

    def __init__(self, digest: str, problem: str) -> None:
        super().__init__(
            f"revision {digest[:12]} is unreadable: {problem}; this program no longer accepts its"
            " text: read it with `pe policy show`, mend it and stage it anew"
        )
        self.problem = problem


class _Reading:
    """The policy of a text, parsed on first use and shared by copies of a revision."""

    __slots__ = ("digest", "document", "policy", "problem")

    def __init__(self, digest: str, document: str, policy: Policy | None = None) -> None:
        self.digest, self.document, self.problem = digest, document, ""
        self.policy = policy and replace(policy, revision=revision_number(digest))

    def parse(self) -> None:
        if self.policy is not None or self.problem:
            return
        if digest_of(self.document) != self.digest:
            self.problem = "its text was changed since it was kept"
            return
        try:
            policy = policy_from_value(json.loads(self.document))
            self.policy = replace(policy, revision=revision_number(self.digest))
        # A text of another version may be anything: what its parser raises is its problem.
        except (PolicyError, ValueError, TypeError, LookupError, RecursionError) as error:
            self.problem = str(error) or repr(error)


@dataclass(frozen=True, slots=True)
class Revision:
    """One whole document; `digest` is its name and follows from its content."""

    digest: str
    state: State
    _reading: _Reading = field(compare=False, repr=False)

    @classmethod
    def of(cls, policy: Policy, state: State = State.DRAFT) -> Revision:
        """Make the revision of a policy."""
        text = canonical_text(policy)
        name = digest_of(text)
        return cls(name, state, _Reading(name, text, policy))

    @classmethod
    def kept(cls, kept: KeptRevision) -> Revision:
        """Take a revision from the store, without parsing its document."""
        return cls(kept.digest, kept.state, _Reading(kept.digest, kept.document))

    @property
    def document(self) -> str:
        """The canonical text."""
        return self._reading.document

    @property
    def policy(self) -> Policy:
        """The policy; parsed on first use. Raises UnreadableError."""
        self._reading.parse()
        if self._reading.policy is None:
            raise UnreadableError(self.digest, self._reading.problem)
        return self._reading.policy

    @property
    def name(self) -> str:
        """The name that the document gives itself, also where the rest of it is unreadable."""
        if self._reading.policy is not None:
            return self._reading.policy.name
        return name_in(self.document)

    @property
    def problem(self) -> str:
        """Why this program does not accept the text; "" if it does."""
        self._reading.parse()
        return self._reading.problem


@dataclass(frozen=True, slots=True)
class Ledger:
    """All revisions by digest, and the audit trail, oldest first."""

    revisions: Mapping[str, Revision] = field(default_factory=dict)
    trail: tuple[Entry, ...] = ()

    @classmethod
    def kept(cls, revisions: Iterable[KeptRevision], trail: tuple[Entry, ...]) -> Ledger:
        """Take revisions and trail from the store."""
        return cls({each.digest: Revision.kept(each) for each in revisions}, trail)

    def in_state(self, state: State) -> Revision | None:
        """Return the staged or the enforced revision, if there is one."""
        return next((r for r in self.revisions.values() if r.state is state), None)

    @property
    def enforced_before(self) -> Revision | None:
        """The revision that the enforced one took the place of, by promotion or rollback."""
        entry = self._enforcing()
        return self.revisions.get(entry.before) if entry is not None else None

    def find(self, prefix: str) -> Revision:
        """Return a revision by digest or unambiguous beginning of it (4 or more); raises
        MoveError."""
        found = [r for name, r in self.revisions.items() if name.startswith(prefix)]
        if len(prefix) < 4 or len(found) != 1:
            if not found:
                raise MoveError(f"no revision begins with {prefix!r}: see `pe policy list`")
            raise MoveError(
                f"{len(found)} revisions begin with {prefix!r}: give more of the digest"
            )
        return found[0]

    def draft(self, policy: Policy) -> tuple[Ledger, Revision]:
        """Add a document; the same content again is the same revision, unmoved."""
        return self.with_draft(Revision.of(policy))

    def with_draft(self, revision: Revision) -> tuple[Ledger, Revision]:
        """Add a revision that `Revision.of` made, which takes long for a long document."""
        if (known := self.revisions.get(revision.digest)) is not None:
            return self, known
        revisions = {**self.revisions, revision.digest: revision}
        return replace(self, revisions=revisions).pruned(), revision

    def stage(self, name: str, signed: Signature) -> Ledger:
        """Evaluate a revision beside the enforced one; what was staged is a draft again.

        The enforced one itself is left as it is: there is nothing to compare it with.
        """
        revision = _readable(self.find(name))
        if revision.state is State.ENFORCED:
            return self
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
        return self._enforced("promote", _readable(revision), signed)

    def roll_back(self, signed: Signature, name: str = "") -> Ledger:
        """Enforce a superseded revision again: `name`, or the one enforced before this one.

        Again and again it goes further back, never to what was rolled back from.
        """
        name = name or self._previous()
        if not name:
            cure = "name one of `pe policy list`, or stage and promote another document"
            raise MoveError(f"there is no earlier enforced revision: {cure}")
        revision = self.find(name)
        if revision.state is not State.SUPERSEDED:
            cure = "only what was enforced before can be rolled back to"
            raise MoveError(f"{revision.digest[:12]} is {revision.state}: {cure}")
        return self._enforced("rollback", _readable(revision), signed)

    def pruned(self) -> Ledger:
        """Drop the oldest drafts, superseded revisions and trail entries beyond their bounds.

        The enforced, the staged and the previously enforced revision stay, and the entry that
        names the latter.
        """
        by_age = {state: [d for d, r in self.revisions.items() if r.state is state]
                  for state in (State.DRAFT, State.SUPERSEDED)}  # fmt: skip
        moved = {entry.after: at for at, entry in enumerate(self.trail)}
        by_age[State.SUPERSEDED].sort(key=lambda digest: moved.get(digest, -1))
        previous = self._previous()
        surplus = {
            digest
            for state, most in ((State.DRAFT, MOST_DRAFTS), (State.SUPERSEDED, MOST_SUPERSEDED))
            for digest in by_age[state][: max(0, len(by_age[state]) - most)]
            if digest != previous
        }
        if not surplus and len(self.trail) <= MOST_ENTRIES:
            return self
        kept = {d: r for d, r in self.revisions.items() if d not in surplus}
        return Ledger(kept, self._newest_entries())

    def _newest_entries(self) -> tuple[Entry, ...]:
        newest = self.trail[-MOST_ENTRIES:]
        enforcing = self._enforcing()
        if enforcing is None or enforcing in newest:
            return newest
        return (enforcing, *newest[1:])

    def _previous(self) -> str:
        """Return the digest of the revision enforced before this one, "" if there is none."""
        *earlier, now = enforced_in(self.trail) or [""]
        enforced = self.in_state(State.ENFORCED)
        if enforced is None or now != enforced.digest:
            return ""
        return next((digest for digest in reversed(earlier) if digest in self.revisions), "")

    def _enforcing(self) -> Entry | None:
        """Return the entry by which the enforced revision took the place of another one."""
        now = self.in_state(State.ENFORCED)
        for entry in reversed(self.trail):
            enforcing = entry.move in ("promote", "rollback")
            if enforcing and now is not None and entry.after == now.digest and entry.before:
                return entry
        return None

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
        return Ledger({**self.revisions, **moved}, (*self.trail, entry)).pruned()


def enforced_in(trail: Iterable[Entry]) -> list[str]:
    """Return the revisions that were enforced one after the other, the present one last; what was
    rolled back from is left out, and what came before the trail is not known."""
    way: list[str] = []
    undone: list[str] = []
    for entry in trail:
        former, undone = undone, way
        match entry.move:
            case "promote":
                way = [*(way or filter(None, [entry.before])), entry.after]
            case "rollback" if entry.after in way:
                last = len(way) - 1 - way[::-1].index(entry.after)
                way = way[: last + 1]
            case "rollback":  # by name, to what was rolled back from or came before the trail
                way = [*way, entry.after]
            case "revert":  # the kernel refused the move before it
                way = former
    return way


def _readable(revision: Revision) -> Revision:
    """Return the revision; raises UnreadableError where its text is not accepted."""
    assert revision.policy is not None  # noqa: S101 - the property raises
    return revision
