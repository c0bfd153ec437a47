"""What brings a replica up to date: the differences since the query before, in pieces.

A piece takes a few milliseconds at most; between two of them the node's loop has its turn. None
among the pieces is a pause and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.effects import RemoteEndpoint
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.observed import Flow
from controlplane.model.revision import KeptRevision, State
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.insight.flowbook import FlowBook, Seen
from controlplane.policy.insight.lockout import routing_sessions
from controlplane.policy.insight.replica import (
    BaselineAdded,
    EndpointsChanged,
    FlowRow,
    FlowsChanged,
    HistoryChanged,
    ReplicaChange,
    RevisionAdded,
    SettingsChanged,
)
from controlplane.policy.language.revision import Ledger

COMPARED, ENCODED = 5_000, 500
"""Rows of a piece: to compare by identity, and to encode."""
ATTEMPTS = 3
"""How often endpoints are compared anew where they change meanwhile."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class Recorded(Protocol):
    """A baseline."""

    @property
    def flows(self) -> tuple[Flow, ...]:
        """Its flows."""
        ...


class PolicyStateView(Protocol):
    """What the feed reads of the policy state."""

    population: EndpointRegistry
    ledger: Ledger
    version: int

    @property
    def vrfs(self) -> Mapping[str, int]:
        """The VRFs of the node."""
        ...

    def known_groups(self) -> frozenset[int]:
        """Ids of all groups of revisions in force."""
        ...


class Source(Protocol):
    """What the feed reads of the node (`PolicyController`)."""

    @property
    def director(self) -> PolicyStateView:
        """The policy state."""
        ...

    intent: NodeIntent
    book: FlowBook
    started: float
    history: History

    @property
    def baselines(self) -> Mapping[str, Recorded]:
        """Baselines by name."""
        ...

    def now(self) -> float:
        """Unix time."""
        ...


@dataclass(frozen=True, slots=True)
class Needs:
    """What a query looks at beside endpoints and what is in force: `revisions` are digests,
    `baseline` is a name."""

    flows: bool = False
    history: bool = False
    revisions: tuple[str, ...] = ()
    baseline: str = ""


Piece = ReplicaChange | None
Changes = Callable[[Needs], Iterator[Piece]]


@dataclass(slots=True)
class ReplicaFeed:
    """Remembers what one replica was sent."""

    source: Source
    node: str
    _attachments: dict[str, Attachment] = field(default_factory=dict)
    _claims: dict[EndpointKey, RemoteEndpoint] = field(default_factory=dict)
    _resting: dict[EndpointKey, float] = field(default_factory=dict)
    _version: int | None = None
    _settings: tuple[object, ...] = ()
    _revisions: set[str] = field(default_factory=set)
    _baselines: set[str] = field(default_factory=set)
    _touched: int = 0
    _history: int = 0

    def changes(self, needs: Needs) -> Iterator[Piece]:
        """The pieces for a query. Use each iterator to its end before the next."""
        yield from self._in_force(needs)
        yield from self._endpoints()
        if needs.baseline and needs.baseline not in self._baselines:
            self._baselines.add(needs.baseline)
            yield BaselineAdded(needs.baseline, self.source.baselines[needs.baseline].flows)
        if needs.history:
            yield from self._lines()
        if needs.flows:
            yield from self._flows()

    def _in_force(self, needs: Needs) -> Iterator[Piece]:
        """Revisions before the settings that name them."""
        director, ledger = self.source.director, self.source.director.ledger
        found = (ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
        enforced, staged = (revision.digest if revision else "" for revision in found)
        self._revisions &= ledger.revisions.keys()
        for digest in (enforced, staged, *needs.revisions):
            if digest and digest not in self._revisions:
                self._revisions.add(digest)
                it = ledger.revisions[digest]
                yield RevisionAdded(KeptRevision(digest, it.state, it.document, it.groups))
        baselines = self.source.baselines.keys()
        settings = (ledger, self.source.intent, dict(director.vrfs), len(baselines))
        # The ledger and the intent are compared by identity: they are replaced, never changed.
        same = len(self._settings) == len(settings) and all(
            one is other or (not isinstance(one, Ledger | NodeIntent) and one == other)
            for one, other in zip(settings, self._settings, strict=True)
        )
        if not same:
            self._settings = settings
            self._baselines &= baselines
            yield SettingsChanged(
                vrfs=frozenset(director.vrfs),
                known_groups=director.known_groups(),
                sessions=tuple(routing_sessions(self.source.intent)),
                enforced=enforced,
                staged=staged,
                revisions=frozenset(ledger.revisions),
                baselines=frozenset(baselines),
                node=self.node,
                started=self.source.started,
            )

    def _endpoints(self) -> Iterator[Piece]:
        director = self.source.director
        for _ in range(ATTEMPTS):
            if self._version == director.version:
                return
            self._version = director.version
            population = director.population
            for changed in _differing(population.attachments, self._attachments):
                # Keep the VRF of the one before: the replica holds workloads by VRF.
                former = {
                    name: before.workload.vrf
                    for name in changed
                    if (before := self._attachments.get(name)) is not None
                }
                _remember(changed, self._attachments)
                yield EndpointsChanged(attachments=changed, formerly=former) if changed else None
            for claims in _differing(population.claims, self._claims):
                _remember(claims, self._claims)
                yield EndpointsChanged(claims=claims) if claims else None
            for resting in _differing(population.resting, self._resting):
                _remember(resting, self._resting)
                yield EndpointsChanged(resting=resting) if resting else None

    def _lines(self) -> Iterator[Piece]:
        history = self.source.history
        lines, self._history = history.added_since(self._history), history.added
        trail = self.source.director.ledger.trail
        for first in range(0, max(1, len(lines)), ENCODED):
            piece = tuple(lines[first : first + ENCODED])
            yield HistoryChanged(trail if first == 0 else (), piece)

    def _flows(self) -> Iterator[Piece]:
        book = self.source.book
        changed = book.touched_since(self._touched)
        self._touched = max((seen.touched for seen in changed), default=self._touched)
        for first in range(0, max(1, len(changed)), ENCODED):
            rows = tuple(map(_row, changed[first : first + ENCODED]))
            yield FlowsChanged(rows, book.lost, book.last_lost, self.source.now())


def _differing(now: Mapping[_K, _V], sent: Mapping[_K, _V]) -> Iterator[dict[_K, _V | None]]:
    """What is other than it was sent, in pieces; None for what is gone."""
    rows, names = iter(list(now.items())), iter(list(sent))
    while piece := list(islice(rows, COMPARED)):
        yield from _small({key: row for key, row in piece if sent.get(key) is not row})
    while keys := list(islice(names, COMPARED)):
        gone: dict[_K, _V | None] = {key: None for key in keys if key not in now}
        yield from _small(gone)


def _small(found: Mapping[_K, _V | None]) -> Iterator[dict[_K, _V | None]]:
    rows = iter(found.items())
    while piece := dict(islice(rows, ENCODED)):
        yield piece
    yield {}


def _remember(changed: Mapping[_K, _V | None], sent: dict[_K, _V]) -> None:
    for key, row in changed.items():
        if row is None:
            sent.pop(key, None)
        else:
            sent[key] = row


def _row(seen: Seen) -> FlowRow:
    return (
        seen.vrf,
        seen.source.packed,
        seen.destination.packed,
        seen.protocol,
        seen.point,
        seen.count,
        seen.first,
        seen.last,
        seen.sport,
        seen.enforced,
        seen.staged,
    )
