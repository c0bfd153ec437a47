"""Revisions of a policy as they are kept: state, text, and the trail of their moves."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class State(enum.StrEnum):
    """Where a revision stands."""

    DRAFT = "draft"
    STAGED = "staged"
    ENFORCED = "enforced"
    SUPERSEDED = "superseded"


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


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A revision as the store keeps it; `document` is the canonical text, parsed only on use."""

    digest: str
    state: State
    document: str


class StoredRevision(Protocol):
    """A revision as a store reads it."""

    @property
    def digest(self) -> str:
        """Its name."""
        ...

    @property
    def state(self) -> State:
        """Where it stands."""
        ...

    @property
    def document(self) -> str:
        """The canonical text."""
        ...


class RevisionLedger(Protocol):
    """Revisions by digest and the trail of their moves, as a store reads them."""

    @property
    def revisions(self) -> Mapping[str, StoredRevision]:
        """All revisions by digest."""
        ...

    @property
    def trail(self) -> tuple[Entry, ...]:
        """Their moves, oldest first."""
        ...
