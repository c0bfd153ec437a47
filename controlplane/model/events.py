"""What has happened: the only input of the control plane. Past tense, plain data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.desired import Adjacency
from controlplane.model.flow import LiveFlow
from controlplane.model.intent import NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, Prefix
from controlplane.model.scratch import SelftestLayout


class Requested(msgspec.Struct, frozen=True):
    """A change that a caller asked for; ``Answer`` resolves the ticket (0: nothing waits)."""

    ticket: int


class IntentChanged(msgspec.Struct, frozen=True):
    """A new configuration, at start and at every reload; ``ticket`` as in ``Requested``."""

    intent: NodeIntent
    ticket: int = 0


class StoreWritten(msgspec.Struct, frozen=True):
    """Everything that the last effects wanted saved is durable."""


class StoreFailed(msgspec.Struct, frozen=True):
    """The store took the first ``saved`` of what the last effects wanted saved, no more."""

    reason: str
    saved: int = 0


class PolicyMapsHeld(msgspec.Struct, frozen=True):
    """The kernel holds all policy maps up to the effects of this number."""

    number: int


class PolicyMapsRefused(msgspec.Struct, frozen=True):
    """The kernel refuses the policy maps as of the effects of this number; it is tried again."""

    number: int
    reason: str


class VrfsHeld(msgspec.Struct, frozen=True):
    """The kernel holds the devices, filters and labels of these VRFs ("" is the core), of each up
    to the effects of this number; what it refuses is retried, and does not count."""

    numbers: dict[str, int]


class FlowsRead(msgspec.Struct, frozen=True):
    """The established flows of a VRF (``ReadFlows``); ``error``: why they could not be read."""

    vrf: str
    flows: tuple[LiveFlow, ...]
    error: str = ""


class FlowsEnded(msgspec.Struct, frozen=True):
    """So many flows of a VRF were ended (``EndFlows``); ``error``: why not all of them."""

    vrf: str
    ended: int
    error: str = ""


class SessionUp(msgspec.Struct, frozen=True, kw_only=True):
    """BGP session established. ``restart_time`` is the peer's graceful restart time in seconds
    (RFC 4724), 0 where it did not offer it; ``restart_families`` are those that its routes may
    outlive it in, ``forwarding`` those of them that it kept forwarding for. ``ipv6_next_hops`` are
    the IPv4 families that may have IPv6 next hops (RFC 8950)."""

    peer: PeerId
    families: frozenset[Family]
    router_id: str = ""
    hold_time: int = 0
    restart_time: int = 0
    restart_families: frozenset[Family] = frozenset()
    forwarding: frozenset[Family] = frozenset()
    route_refresh: bool = True
    ipv6_next_hops: frozenset[Family] = frozenset()


class SessionDown(msgspec.Struct, frozen=True, kw_only=True):
    """Session gone. ``graceful`` where the transport was lost without a NOTIFICATION, so that
    RFC 4724 section 4.2 lets its routes stay for a while."""

    peer: PeerId
    reason: str
    graceful: bool = False


class SpeakerLost(msgspec.Struct, frozen=True):
    """Our own BGP process died, and its sessions with it; the peers' routes are still good."""

    vrf: str
    reason: str


class RoutesReceived(msgspec.Struct, frozen=True):
    """One UPDATE's announcements that share attributes and next hop.

    ``::ffff:a.b.c.d`` next hops (RFC 4659) arrive here as the IPv4 address that they stand for.
    """

    peer: PeerId
    family: Family
    next_hop: IPAddress
    attributes: Attributes
    nlri: list[Nlri]


class RoutesWithdrawn(msgspec.Struct, frozen=True):
    """One UPDATE's withdrawals; labels are of no account here."""

    peer: PeerId
    family: Family
    nlri: list[Nlri]


class EndOfRib(msgspec.Struct, frozen=True):
    """The peer has sent all that it had (RFC 4724 section 2)."""

    peer: PeerId
    family: Family


class RefreshRequested(msgspec.Struct, frozen=True):
    """The peer asked for our routes of a family again (RFC 2918)."""

    peer: PeerId
    family: Family


class UnderlayPath(msgspec.Struct, frozen=True):
    """One next hop of a route in the main table: ``labels`` are pushed, outermost first."""

    gateway: IPAddress | None
    device: str
    labels: tuple[int, ...] = ()
    weight: int = 1


class UnderlayRouteChanged(msgspec.Struct, frozen=True):
    """A route of the kernel's main table appeared or changed; no ``paths`` means it is gone.

    Only the best (lowest metric) route per prefix is reported.
    """

    prefix: Prefix
    paths: tuple[UnderlayPath, ...]
    metric: int = 0


class AdjacencyChanged(msgspec.Struct, frozen=True):
    """The router at the other end of a link has the remote PE's address, or has it no longer."""

    adjacency: Adjacency
    adjacent: bool


class LabelsTaken(msgspec.Struct, frozen=True):
    """Incoming labels that another program of this machine routes now, and those that it does no
    longer. One that was ours and was replaced is not among them: it is taken back."""

    taken: frozenset[int]
    freed: frozenset[int] = frozenset()


class UnderlaySynced(msgspec.Struct, frozen=True):
    """Every route that was in the main table at start has been reported."""


class PortChanged(msgspec.Struct, frozen=True):
    """A CE or core port appeared, went up or down, or vanished; ``up`` needs carrier too."""

    name: str
    present: bool
    up: bool


class TimePassed(msgspec.Struct, frozen=True):
    """Nothing but the clock: the router looks at what was due by ``now``."""


class SelftestBegan(msgspec.Struct, frozen=True):
    """A selftest needs this in the kernel, advertised to no peer, until it has ended."""

    scratch: SelftestLayout


class SelftestEnded(msgspec.Struct, frozen=True):
    """Nothing of a selftest is needed any more."""


class PeerCleared(msgspec.Struct, frozen=True):
    """An operator cleared a session (hard reset), or ended its idle hold."""

    peer: PeerId


Event: TypeAlias = (
    IntentChanged
    | SessionUp
    | SessionDown
    | SpeakerLost
    | RoutesReceived
    | RoutesWithdrawn
    | EndOfRib
    | RefreshRequested
    | UnderlayRouteChanged
    | AdjacencyChanged
    | LabelsTaken
    | UnderlaySynced
    | PortChanged
    | TimePassed
    | PeerCleared
    | Requested
    | StoreWritten
    | StoreFailed
    | PolicyMapsHeld
    | PolicyMapsRefused
    | VrfsHeld
    | FlowsRead
    | FlowsEnded
    | SelftestBegan
    | SelftestEnded
)
