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
    config_file: str = ""
    config_loaded: float = 0.0
    label_block: str = ""
    left_out: int = 0
    left_out_routes: tuple[str, ...] = ()
    flow_log_problem: str = ""
    """Why there are no flow records at present, "" while they are read."""
    enforced_revision: str = ""
    workloads: int = 0


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


class RouteSource(enum.Enum):
    """Where a route came from."""

    CONNECTED = "connected"
    STATIC = "static"
    EBGP = "eBGP"
    VPN = "VPN"
    LEAKED = "leaked"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """One path to one prefix; ``labels`` are all that is pushed, outermost first."""

    vrf: str
    prefix: str
    source: RouteSource
    next_hop: str
    best: bool
    active: bool
    port: str = ""
    labels: tuple[int, ...] = ()
    age: float = 0.0
    neighbor: str = ""
    rd: str = ""
    local_pref: int | None = None
    med: int | None = None
    origin: str = ""
    as_path: str = ""
    communities: tuple[str, ...] = ()
    large_communities: tuple[str, ...] = ()
    route_targets: tuple[str, ...] = ()
    sites_of_origin: tuple[str, ...] = ()
    stale: bool = False
    inactive_reason: str = ""
    """Why it is not active; "" where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFilter:
    """Which routes: fields left empty let all pass. ``prefix`` is a prefix, or an address, whose
    longest match is wanted; ``longer``: what lies inside the prefix too."""

    vrf: str = ""
    prefix: str = ""
    longer: bool = False
    all_paths: bool = False
    neighbor: str = ""


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
    """One port; ``vrf`` "" is the core. ``sources`` None: no list of source prefixes."""

    name: str
    vrf: str
    present: bool
    up: bool
    addresses: tuple[str, ...]
    mtu: int = 0
    sources: tuple[str, ...] | None = None
    guarded: bool = False
    description: str = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadReport:
    """What a reload changed, a line each; nothing where the file means what was in force."""

    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Verdict(enum.Enum):
    """What a trial of a selftest found. UNPROVEN: what should have passed did not pass either, so
    that nothing follows from what was dropped."""

    HELD = "held"
    NOT_HELD = "not held"
    UNPROVEN = "unproven"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """One requirement, one kind of packet. ``counter`` is that of the guard, with its packets
    before and after; "" where there is no counter. ``evidence`` is for people."""

    requirement: str
    sent: str
    verdict: Verdict
    evidence: str = ""
    counter: str = ""
    before: int = 0
    after: int = 0
    family: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """An auditor's evidence. Times are seconds of the epoch; ``config_digest`` is the SHA-256 of
    the configuration file in force."""

    node: str
    version: str
    kernel: str
    config_file: str
    config_digest: str
    began: float
    ended: float
    trials: tuple[TrialView, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many trials ended so."""
        return sum(trial.verdict is verdict for trial in self.trials)


class SelftestUnavailableError(Exception):
    """A selftest cannot be made now; the text says why."""


class SelftestBusyError(SelftestUnavailableError):
    """Another one is under way."""


class SelftestRunner(Protocol):
    """Who makes selftests (``pe.selftest``)."""

    async def run(self) -> SelftestReport:
        """Run one and remove all of it afterwards. Raises SelftestUnavailableError."""
        ...


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
