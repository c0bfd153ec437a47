"""What has happened: the only input of the control plane. Past tense, plain data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.intent import NodeIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, Prefix
from controlplane.model.scratch import SelftestLayout


class IntentChanged(msgspec.Struct, frozen=True):
    """The operator's wish, at start and at every reload that was accepted."""

    intent: NodeIntent


class SessionUp(msgspec.Struct, frozen=True, kw_only=True):
    """BGP session established. ``restart_time`` is the peer's graceful restart time in seconds
    (RFC 4724), 0 where it did not offer it; ``restart_families`` are those that its routes may
    outlive it in, ``forwarding`` those of them that it kept forwarding for."""

    peer: PeerId
    families: frozenset[Family]
    router_id: str = ""
    hold_time: int = 0
    restart_time: int = 0
    restart_families: frozenset[Family] = frozenset()
    forwarding: frozenset[Family] = frozenset()
    route_refresh: bool = True


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
    """One leg of a route in the main table: ``labels`` are pushed, outermost first."""

    gateway: IPAddress | None
    device: str
    labels: tuple[int, ...] = ()
    weight: int = 1


class UnderlayRouteChanged(msgspec.Struct, frozen=True):
    """A route of the kernel's main table appeared or changed; no ``paths`` means it is gone.

    Only the best (lowest metric) route per prefix is told.
    """

    prefix: Prefix
    paths: tuple[UnderlayPath, ...]
    metric: int = 0


class UnderlaySynced(msgspec.Struct, frozen=True):
    """Every route that was in the main table at start has been told."""


class PortChanged(msgspec.Struct, frozen=True):
    """A CE or core port appeared, went up or down, or vanished; ``up`` needs carrier too."""

    name: str
    present: bool
    up: bool


class TimePassed(msgspec.Struct, frozen=True):
    """Nothing but the clock: the router looks at what was due by ``now``."""


class WorkloadAttached(msgspec.Struct, frozen=True, kw_only=True):
    """A workload's addresses are behind a port; told again, it replaces what was told before.

    ``groups`` are the ids that travel with its routes; ``moves`` counts how often it came here
    from another PE: the route of the latest move wins everywhere.
    """

    name: str
    vrf: str
    port: str
    prefixes: tuple[Prefix, ...]
    groups: frozenset[int]
    moves: int = 0


class WorkloadDetached(msgspec.Struct, frozen=True):
    """A workload is gone from this PE; nothing follows if it was not here."""

    name: str


class SelftestBegan(msgspec.Struct, frozen=True):
    """A selftest wants this to be in the kernel, told to nobody, until it has ended."""

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
    | UnderlaySynced
    | PortChanged
    | TimePassed
    | PeerCleared
    | WorkloadAttached
    | WorkloadDetached
    | SelftestBegan
    | SelftestEnded
)
