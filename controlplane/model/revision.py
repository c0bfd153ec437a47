"""Revisions of a policy as they are kept: state, text, and the trail of their moves."""

from __future__ import annotations

import enum
from dataclasses import dataclass


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
    """A revision as the store keeps it; `document` is the canonical text, parsed only on use.

    `groups` are the ids of its groups, which other PEs may send while its text is unreadable.
    """

    digest: str
    state: State
    document: str
    groups: frozenset[int] | None = None
