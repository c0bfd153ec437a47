"""What the control plane wants done: the kernel's change, and words for the BGP peers."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.desired import Delta
from controlplane.model.instant import BootTime
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, Prefix


class Announce(msgspec.Struct, frozen=True):
    """Tell a peer about routes that share attributes; the speaker packs them into UPDATEs."""

    peer: PeerId
    family: Family
    next_hop: IPAddress
    attributes: Attributes
    nlri: list[Nlri]


class Withdraw(msgspec.Struct, frozen=True):
    """Take routes back from a peer."""

    peer: PeerId
    family: Family
    nlri: list[Nlri]


class SendEndOfRib(msgspec.Struct, frozen=True):
    """All that we had at session start has been sent (RFC 4724)."""

    peer: PeerId
    family: Family


class RequestRefresh(msgspec.Struct, frozen=True):
    """Ask a peer for its routes of a family again (RFC 2918), as when an import RT was added."""

    peer: PeerId
    family: Family


class ResetSession(msgspec.Struct, frozen=True):
    """End a session with Cease and this subcode (RFC 4486); it comes back unless disabled."""

    peer: PeerId
    subcode: int
    reason: str


class ConfigureSpeakers(msgspec.Struct, frozen=True):
    """The sessions that should exist, all of them; one that is missing here is shut down.

    ``restart_time`` is offered to every peer for graceful restart, in seconds; 0 for none.
    """

    peers: tuple[PeerIntent, ...]
    restart_time: int = 0


class SaveLabels(msgspec.Struct, frozen=True):
    """Make the label ledger durable before a label of it is used: VRF -> label, and label ->
    (moment of its release, former VRF)."""

    held: dict[str, int]
    held_down: dict[int, tuple[BootTime, str]]


class RemoteEndpoint(msgspec.Struct, frozen=True):
    """What another PE (or another VRF here) says of a prefix: the group ids of its communities.

    ``node`` is the next hop, "" for a VRF of this node; ``moves`` as in ``WorkloadAttached``.
    """

    groups: frozenset[int]
    node: str = ""
    moves: int = 0


class RemoteEndpointsChanged(msgspec.Struct, frozen=True):
    """Prefixes of a VRF whose best route carries groups now (None: does so no more).

    To be in the kernel before the routes themselves: until then nobody knows whose packets
    these are.
    """

    vrf: str
    claims: dict[Prefix, RemoteEndpoint | None]


class LogEvent(msgspec.Struct, frozen=True):
    """A line for the log: ``event`` in snake_case, ``fields`` without secrets."""

    level: str
    event: str
    fields: dict[str, str | int]


Effect: TypeAlias = (
    Announce
    | Withdraw
    | SendEndOfRib
    | RequestRefresh
    | ResetSession
    | ConfigureSpeakers
    | SaveLabels
    | RemoteEndpointsChanged
    | LogEvent
)


class Effects(msgspec.Struct):
    """The answer to one event (or to many, merged): the kernel's part and the rest, in order."""

    delta: Delta = msgspec.field(default_factory=Delta)
    actions: list[Effect] = msgspec.field(default_factory=list)
    in_sync: bool = False
