"""A copy of what queries look at, kept in a process beside the node's loop.

The node notes what changes and sends it in pieces before a query; the copy applies them. So a query
costs the loop the encoding of what changed since the query before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import ClassVar, TypeVar

from controlplane.model.attachment import Attachment, EndpointKey, MembershipChange
from controlplane.model.history import History
from controlplane.model.observed import Flow
from controlplane.model.prefix import IPAddress
from controlplane.model.revision import Entry, KeptRevision
from controlplane.model.workload import RemoteEndpoint
from controlplane.policy.endpoints.held import Held
from controlplane.policy.insight.flowbook import ROOM, FlowVerdict, Seen
from controlplane.policy.insight.lockout import RoutingSession
from controlplane.policy.insight.view import View, by_vrf
from controlplane.policy.language.policy import Policy
from controlplane.policy.language.revision import Revision, UnreadableError

_K = TypeVar("_K")
_V = TypeVar("_V")

MOST_VIEWS = 8
"""Sets of VRFs whose view is kept."""

FlowRow = tuple[
    str, bytes, bytes, int, int, int, float, float, int, FlowVerdict, FlowVerdict | None, bool,
    int, Held, Held, bytes,
]  # fmt: skip
"""The fields of `Seen`, addresses packed."""


@dataclass(slots=True)
class Replica:
    """What the node sent. `enforced` and `staged` are digests, "" where there is no revision."""

    attachments: dict[str, dict[str, Attachment]] = field(default_factory=dict)
    vrf_of: dict[str, str] = field(default_factory=dict)
    remote: dict[str, dict[EndpointKey, RemoteEndpoint]] = field(default_factory=dict)
    held_down: dict[str, dict[EndpointKey, float]] = field(default_factory=dict)
    vrfs: frozenset[str] = frozenset()
    sessions: tuple[RoutingSession, ...] = ()
    revisions: dict[str, Revision] = field(default_factory=dict)
    enforced: str = ""
    staged: str = ""
    node: str = ""
    started: float = 0.0
    now: float = 0.0
    flows: FlowTable = field(default_factory=lambda: FlowTable())  # noqa: PLW0108 - defined below
    lost: int = 0
    last_lost: float = 0.0
    baselines: dict[str, tuple[Flow, ...]] = field(default_factory=dict)
    trail: tuple[Entry, ...] = ()
    history: History = field(default_factory=History)
    _views: OrderedDict[frozenset[str], View] = field(default_factory=OrderedDict)

    def apply(self, change: object) -> None:
        """Take over one change."""
        if not isinstance(change, ReplicaChange):
            raise TypeError(f"{type(change).__name__} is no change of a replica")
        change.apply_to(self)
        if change.structural:
            self._views.clear()

    def view(self, vrfs: frozenset[str]) -> View:
        """Return what a caller limited to `vrfs` may see; an empty set is the whole node."""
        found = self._views.pop(vrfs, None) or self._view(vrfs)
        self._views[vrfs] = found
        if len(self._views) > MOST_VIEWS:
            self._views.popitem(last=False)
        return found

    def _view(self, vrfs: frozenset[str]) -> View:
        seen = self.vrfs & vrfs if vrfs else self.vrfs
        return View.of(
            vrfs=seen,
            attachments=by_vrf(self.attachments, seen),
            remote=by_vrf(self.remote, seen),
            held_down=by_vrf(self.held_down, seen),
            enforced=self._readable(self.enforced) or Policy(),
            staged=self._readable(self.staged),
            whole=not vrfs,
        )

    def policy(self, digest: str) -> Policy:
        """Return the policy of a revision, one without rules for "". Raises UnreadableError."""
        return self.revisions[digest].policy if digest else Policy()

    def _readable(self, digest: str) -> Policy | None:
        """Return the policy of a revision, None for one that is unreadable: a document is checked
        also while the enforced one is."""
        try:
            return self.revisions[digest].policy if digest else None
        except UnreadableError:
            return None


class ReplicaChange:
    """One piece. `structural` changes make views anew; `large` ones take long to encode."""

    structural: ClassVar[bool] = True
    large: ClassVar[bool] = False

    def apply_to(self, replica: Replica) -> None:
        """Make the change."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class EndpointsChanged(ReplicaChange):
    """Workloads, remote endpoints and hold-downs that differ (None: gone)."""

    attachments: Mapping[str, Attachment | None] = field(default_factory=dict)
    remote: Mapping[EndpointKey, RemoteEndpoint | None] = field(default_factory=dict)
    held_down: Mapping[EndpointKey, float | None] = field(default_factory=dict)

    def apply_to(self, replica: Replica) -> None:
        """Put and delete."""
        for name, attachment in self.attachments.items():
            before = replica.vrf_of.pop(name, None)
            if before is not None:
                del replica.attachments[before][name]
            if attachment is not None:
                vrf = replica.vrf_of[name] = attachment.workload.vrf
                replica.attachments.setdefault(vrf, {})[name] = attachment
        for key, claim in self.remote.items():
            _put(replica.remote.setdefault(key[0], {}), key, claim)
        for key, until in self.held_down.items():
            _put(replica.held_down.setdefault(key[0], {}), key, until)


def _put(into: dict[_K, _V], key: _K, value: _V | None) -> None:
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value


@dataclass(frozen=True, slots=True)
class SettingsChanged(ReplicaChange):
    """The node's VRFs, BGP neighbours, and which revisions are in force."""

    vrfs: frozenset[str]
    sessions: tuple[RoutingSession, ...]
    enforced: str
    staged: str
    revisions: frozenset[str]
    """Digests of all revisions: others are forgotten."""
    baselines: frozenset[str]
    node: str
    started: float

    def apply_to(self, replica: Replica) -> None:
        """Replace them all."""
        for name in ("vrfs", "sessions", "enforced", "staged", "node", "started"):
            setattr(replica, name, getattr(self, name))
        for digest in replica.revisions.keys() - self.revisions:
            del replica.revisions[digest]
        for name in replica.baselines.keys() - self.baselines:
            del replica.baselines[name]


@dataclass(frozen=True, slots=True)
class RevisionAdded(ReplicaChange):
    """A revision that a query needs, as text: the copy parses it when it is used."""

    revision: KeptRevision

    def apply_to(self, replica: Replica) -> None:
        """Keep it."""
        replica.revisions[self.revision.digest] = Revision.kept(self.revision)


@dataclass(frozen=True, slots=True)
class BaselineAdded(ReplicaChange):
    """A baseline that a query needs."""

    structural: ClassVar[bool] = False
    large: ClassVar[bool] = True
    name: str
    flows: tuple[Flow, ...]

    def apply_to(self, replica: Replica) -> None:
        """Keep it."""
        replica.baselines[self.name] = self.flows


@dataclass(frozen=True, slots=True)
class FlowsChanged(ReplicaChange):
    """Flows of one kind, those that changed first first; and the loss count."""

    structural: ClassVar[bool] = False
    rows: tuple[FlowRow, ...]
    lost: int
    last_lost: float
    now: float

    def apply_to(self, replica: Replica) -> None:
        """Put them, and forget the oldest beyond the room."""
        replica.lost, replica.last_lost, replica.now = self.lost, self.last_lost, self.now
        replica.flows.put(self.rows)


@dataclass(frozen=True, slots=True)
class HistoryChanged(ReplicaChange):
    """The audit trail of revisions ("no change" where it is empty), and further lines of the
    workloads' history."""

    structural: ClassVar[bool] = False
    trail: tuple[Entry, ...]
    history: tuple[MembershipChange, ...]

    def apply_to(self, replica: Replica) -> None:
        """Keep them."""
        replica.trail = self.trail or replica.trail
        for line in self.history:
            replica.history.append(line)


_Key = tuple[str, bytes]


class FlowTable:
    """The flows of a book, by VRF. It holds what the book holds: the last `room` of each kind."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._order: dict[bool, OrderedDict[_Key, None]] = {
            allowed: OrderedDict() for allowed in (False, True)
        }
        self._by_vrf: dict[tuple[str, bool], dict[_Key, Seen]] = {}

    def put(self, rows: tuple[FlowRow, ...]) -> None:
        """Add or replace rows, which come in the order in which they changed."""
        for row in rows:
            seen = Seen(row[0], _address(row[1]), _address(row[2]), *row[3:])
            key, allowed = (row[0], seen.key), seen.enforced.allowed
            order = self._order[allowed]
            order[key] = None
            order.move_to_end(key)
            self._by_vrf.setdefault((row[0], allowed), {})[key] = seen
        for allowed, order in self._order.items():
            while len(order) > self._room:
                oldest, _ = order.popitem(last=False)
                del self._by_vrf[oldest[0], allowed][oldest]

    def seen(
        self, vrfs: frozenset[str], since: float = 0.0, until: float = float("inf")
    ) -> list[Seen]:
        """Return the flows of these VRFs in a span of time. Looks at no other VRF's flows."""
        return [s for s in self.of(vrfs) if s.last >= since and s.first <= until]

    def of(self, vrfs: frozenset[str]) -> Iterator[Seen]:
        """Yield all flows of these VRFs."""
        for vrf in sorted(vrfs):
            for allowed in (True, False):
                yield from self._by_vrf.get((vrf, allowed), {}).values()


@lru_cache(maxsize=65536)
def _address(packed: bytes) -> IPAddress:
    return ip_address(packed)
