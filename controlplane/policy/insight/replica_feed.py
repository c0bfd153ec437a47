"""What brings a replica up to date: what changed since the query before, in pieces.

A piece takes a few milliseconds at most; between two of them the node's loop has its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

from controlplane.model.attachment import Attachment, EndpointKey
from controlplane.model.history import History
from controlplane.model.intent import NodeIntent
from controlplane.model.observed import Flow
from controlplane.model.revision import KeptRevision, State
from controlplane.model.workload import RemoteEndpoint
from controlplane.policy.endpoints.followed import FollowedDict, Follower
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

ENCODED = 500
"""Rows of a piece."""
PASSES = 3
"""How often the feed looks again for endpoints that changed while it sent the others."""

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

    @property
    def vrfs(self) -> Mapping[str, int]:
        """The VRFs of the node."""
        ...


class Source(Protocol):
    """What the feed reads of the node (`PolicyAccess`)."""

    @property
    def state(self) -> PolicyStateView:
        """The policy state."""
        ...

    @property
    def intent(self) -> NodeIntent:
        """The configuration."""
        ...

    @property
    def book(self) -> FlowBook:
        """The flows that were seen."""
        ...

    @property
    def started(self) -> float:
        """Unix time of the start."""
        ...

    @property
    def history(self) -> History:
        """The history of memberships."""
        ...

    @property
    def baselines(self) -> Mapping[str, Recorded]:
        """Baselines by name."""
        ...

    def now(self) -> float:
        """Return Unix time."""
        ...


@dataclass(frozen=True, slots=True)
class Needs:
    """What a query looks at beside endpoints and what is in force: `revisions` are digests,
    `baseline` is a name."""

    flows: bool = False
    history: bool = False
    revisions: tuple[str, ...] = ()
    baseline: str = ""


Changes = Callable[[Needs], Iterator[ReplicaChange]]


@dataclass(slots=True)
class ReplicaFeed:
    """Remembers what one replica was sent."""

    source: Source
    node: str
    _following: (
        tuple[
            Follower[str, Attachment],
            Follower[EndpointKey, RemoteEndpoint],
            Follower[EndpointKey, float],
        ]
        | None
    ) = None
    _settings: tuple[object, ...] = ()
    _revisions: set[str] = field(default_factory=set)
    _baselines: set[str] = field(default_factory=set)
    _touched: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    _history: int = 0

    def changes(self, needs: Needs) -> Iterator[ReplicaChange]:
        """Yield the pieces for a query. Use each iterator to its end before the next."""
        yield from self._in_force(needs)
        yield from self._endpoints()
        if needs.baseline and needs.baseline not in self._baselines:
            self._baselines.add(needs.baseline)
            yield BaselineAdded(needs.baseline, self.source.baselines[needs.baseline].flows)
        if needs.history:
            yield from self._lines()
        if needs.flows:
            yield from self._flows()

    def _in_force(self, needs: Needs) -> Iterator[ReplicaChange]:
        """Yield revisions before the settings that name them."""
        policy, ledger = self.source.state, self.source.state.ledger
        found = (ledger.in_state(state) for state in (State.ENFORCED, State.STAGED))
        enforced, staged = (revision.digest if revision else "" for revision in found)
        self._revisions &= ledger.revisions.keys()
        for digest in (enforced, staged, *needs.revisions):
            if digest and digest not in self._revisions:
                self._revisions.add(digest)
                it = ledger.revisions[digest]
                yield RevisionAdded(KeptRevision(digest, it.state, it.document))
        baselines = self.source.baselines.keys()
        settings = (ledger, self.source.intent, dict(policy.vrfs), len(baselines))
        # The ledger and the intent are compared by identity: they are replaced, never changed.
        same = len(self._settings) == len(settings) and all(
            one is other or (not isinstance(one, Ledger | NodeIntent) and one == other)
            for one, other in zip(settings, self._settings, strict=True)
        )
        if not same:
            self._settings = settings
            self._baselines &= baselines
            yield SettingsChanged(
                vrfs=frozenset(policy.vrfs),
                sessions=tuple(routing_sessions(self.source.intent)),
                enforced=enforced,
                staged=staged,
                revisions=frozenset(ledger.revisions),
                baselines=frozenset(baselines),
                node=self.node,
                started=self.source.started,
            )

    def _endpoints(self) -> Iterator[ReplicaChange]:
        """Yield what changed, and then what changed meanwhile."""
        population = self.source.state.population
        if self._following is None:
            self._following = (
                _follow(population.attachments),
                _follow(population.remote),
                _follow(population.held_down),
            )
        attachments, remote, held_down = self._following
        for _ in range(PASSES):
            for _ in range(0, len(attachments.changed), ENCODED):
                yield EndpointsChanged(attachments=attachments.take(ENCODED))
            for _ in range(0, len(remote.changed), ENCODED):
                yield EndpointsChanged(remote=remote.take(ENCODED))
            for _ in range(0, len(held_down.changed), ENCODED):
                yield EndpointsChanged(held_down=held_down.take(ENCODED))

    def _lines(self) -> Iterator[ReplicaChange]:
        history = self.source.history
        lines, self._history = history.added_since(self._history), history.added
        trail = self.source.state.ledger.trail
        for first in range(0, max(1, len(lines)), ENCODED):
            piece = tuple(lines[first : first + ENCODED])
            yield HistoryChanged(trail if first == 0 else (), piece)

    def _flows(self) -> Iterator[ReplicaChange]:
        book = self.source.book
        for allowed, since in self._touched.items():
            changed = book.touched_since(since, allowed=allowed)
            self._touched[allowed] = book.latest
            for first in range(0, len(changed), ENCODED):
                yield self._flow_rows(changed[first : first + ENCODED])
        yield self._flow_rows([])  # what was lost, and the time

    def _flow_rows(self, changed: list[Seen]) -> FlowsChanged:
        book = self.source.book
        rows = tuple(map(_row, changed))
        return FlowsChanged(rows, book.lost, book.last_lost, self.source.now())


def _follow(rows: dict[_K, _V]) -> Follower[_K, _V]:
    return cast(FollowedDict[_K, _V], rows).follow()


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
        seen.older,
        seen.staged_count,
        seen.source_held,
        seen.destination_held,
        seen.key,
    )
