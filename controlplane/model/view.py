"""What the API may see of a node and ask of it: plain rows, and two requests.

The node implements ``NodeView``; the services turn rows into messages and know nothing else.
Rows hold text as an operator reads it. Ages and durations are seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from controlplane.model.peer import PeerId
from controlplane.model.route_view import RouteFilter, RouteView


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The node as a whole; ``config_loaded`` is seconds since the epoch. ``left_out`` counts the
    routes that a defect keeps out; some of them are named."""

    name: str
    version: str
    router_id: str
    asn: int
    loopbacks: tuple[str, ...]
    uptime: float
    in_sync: bool
    failing: tuple[str, ...] = ()
    """What fails at present, a sentence each."""
    config_file: str = ""
    config_loaded: float = 0.0
    label_block: str = ""
    left_out: int = 0
    left_out_routes: tuple[str, ...] = ()
    foreign: int = 0
    foreign_objects: tuple[str, ...] = ()
    """Routes and rules of other programs that decide about VRFs' packets, and their chains that set
    marks; some in words."""
    foreign_chains: int = 0
    """How many of them are chains."""
    flow_log_problem: str = ""
    """Why there are no flow records at present, "" while they are read."""
    enforced_revision: str = ""
    workloads: int = 0
    held_down: int = 0
    """Addresses in hold-down, denied."""
    hold_down: float = 0.0
    """Seconds until the last of them is over."""
    audit_log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VrfView:
    """One VPN; ``label`` 0 while it has none."""

    name: str
    rd: str
    import_targets: tuple[str, ...]
    export_targets: tuple[str, ...]
    table: int
    label: int
    ports: tuple[str, ...]
    routes: int
    active_routes: int
    route_limit: int = 0
    refused_routes: int = 0
    description: str = ""


class SessionState(enum.Enum):
    """The states of RFC 4271 that an operator meets, and max-prefix's idle hold."""

    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    ESTABLISHED = "Established"
    HELD_DOWN = "HeldDown"


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborFamilyView:
    """One family of a session; ``family`` is ipv4, ipv6, vpnv4 or vpnv6."""

    family: str
    negotiated: bool
    received: int
    sent: int
    stale: int = 0
    limit: int = 0
    end_of_rib: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRouteView:
    """A route that was refused, or is not sent, and why; ``rd`` "" where it has none."""

    family: str
    prefix: str
    rd: str
    reason: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighborView:
    """One session; ``vrf`` "" is the core. ``state_age`` None: never been in another state."""

    vrf: str
    address: str
    asn: int
    local_asn: int
    local_address: str
    state: SessionState
    state_age: float | None
    families: tuple[NeighborFamilyView, ...]
    hold_time: int
    port: str = ""
    description: str = ""
    router_id: str = ""
    flaps: int = 0
    last_error: str = ""
    held_for: float = 0.0
    md5: bool = False
    ttl_security: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    refused_routes: tuple[RefusedRouteView, ...] = ()
    unsent_routes: tuple[RefusedRouteView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelView:
    """One label of the block: in use, or in hold-down for ``hold_down`` more seconds."""

    label: int
    vrf: str
    table: int
    held_down: bool = False
    hold_down: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PathView:
    """One way to a next hop."""

    gateway: str
    port: str
    labels: tuple[int, ...] = ()
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHopView:
    """One next hop; ``id`` is the kernel's, 0 while it has none; ``vrf`` "" is the core."""

    id: int
    address: str
    reachable: bool
    paths: tuple[PathView, ...]
    vrf: str = ""
    vpn_label: int | None = None
    routes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One port; ``vrf`` "" is the core. ``sources`` None: no list of source prefixes.
    ``problem``: why it is closed, or what of it is refused; "" if nothing is."""

    name: str
    vrf: str
    present: bool
    up: bool
    addresses: tuple[str, ...]
    mtu: int = 0
    sources: tuple[str, ...] | None = None
    guarded: bool = False
    description: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterView:
    """One number that only grows, named as in the metrics."""

    name: str
    value: int
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardView:
    """One guard; ``requirement`` is the id of what it keeps, ``action`` drop (all of it) or limit
    (what is too much), ``traffic_class`` "" where it knows only one class."""

    requirement: str
    name: str
    action: str
    packets: int
    bytes: int
    vrf: str = ""
    port: str = ""
    traffic_class: str = ""
    family: str = ""
    """Of its nftables table: one guard may be in several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport:
    """What a reload changed, a line each; nothing where the file means what was in force."""

    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class ReloadRefusedError(Exception):
    """The new configuration was refused whole; ``errors`` are for the operator, a line each."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class ReloadIncompleteError(Exception):
    """The new configuration is in force, but for what ``errors`` name, a line each."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class NodeView(Protocol):
    """The node, as far as the API goes. Called on the node's own loop.

    Iterables may be lazy: up to a thousand rows are taken at a time, and other tasks run between
    two takes, so an iterator must live with tables that change under it. No method blocks.
    """

    def status(self) -> StatusView:
        """Return the node as a whole."""
        ...

    def vrfs(self) -> Iterable[VrfView]:
        """Return every VRF."""
        ...

    def neighbors(self) -> Iterable[NeighborView]:
        """Return every session."""
        ...

    def absence(self, vrf: str, prefix: str, *, core: bool) -> Iterable[str]:
        """Return why a VRF has no route to a prefix; with ``core`` also what PEs announced for any
        VPN."""
        ...

    def routes(self, wanted: RouteFilter) -> Iterable[RouteView]:
        """Return the routes that pass the filter; its VRF, prefix and neighbour have been
        checked."""
        ...

    def labels(self) -> Iterable[LabelView]:
        """Return every label in use or in hold-down."""
        ...

    def next_hops(self) -> Iterable[NextHopView]:
        """Return every next hop."""
        ...

    def ports(self) -> Iterable[PortView]:
        """Return every port."""
        ...

    def counters(self) -> Iterable[CounterView]:
        """Return what the node counts about itself."""
        ...

    async def guards(self) -> Iterable[GuardView]:
        """Return the guards' counters, read from the kernel."""
        ...

    def serving(self) -> Mapping[str, bool]:
        """Return True for each part that does its work now, by name; "" is the whole node."""
        ...

    async def reload(self) -> ReloadReport:
        """Read the configuration file again and apply it. Raises ReloadRefusedError, and
        ReloadIncompleteError if a part of the node did not take it."""
        ...

    async def clear_neighbor(self, peer: PeerId) -> None:
        """Reset a session. Raises KeyError if there is none of that name."""
        ...
