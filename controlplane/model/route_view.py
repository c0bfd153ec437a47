"""Routes as the API shows them, and which of them a caller asks for.

Rows hold text as an operator reads it. Ages are seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.model.prefix import Prefix


class RouteSource(enum.Enum):
    """Where a route came from."""

    CONNECTED = "connected"
    STATIC = "static"
    EBGP = "eBGP"
    VPN = "VPN"
    LEAKED = "leaked"
    WORKLOAD = "workload"
    FOREIGN = "foreign"


class ForeignRouteView(NamedTuple):
    """One next hop of a route in a VRF's table that another program made.

    ``kind`` is "" or such as "blackhole", ``protocol`` as ``ip route`` names it, ``from_prefix``
    that of the sources which an IPv6 route is for, "" for all. ``place`` counts from 0 among the
    routes of one key, in the kernel's order.
    """

    prefix: Prefix
    gateway: str
    port: str
    protocol: str
    metric: int
    kind: str
    tos: int = 0
    labels: tuple[int, ...] = ()
    from_prefix: str = ""
    place: int = 0


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
    age: float | None = None
    """Seconds since it was taken in; None where that is not known."""
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
    extended_communities: tuple[str, ...] = ()
    """Those that are neither route targets nor sites of origin."""
    atomic_aggregate: bool = False
    aggregator: str = ""
    originator_id: str = ""
    cluster_list: tuple[str, ...] = ()
    unknown_attributes: tuple[str, ...] = ()
    stale: bool = False
    inactive_reason: str = ""
    """Why it is not active; "" where it is."""
    protocol: str = ""
    """Of a foreign route: the kernel's word for who made it."""
    kind: str = ""
    """Of a foreign route: its type where it is not unicast, such as "blackhole"."""
    metric: int = 0
    tos: int = 0
    from_prefix: str = ""
    """Of a foreign route: the rest of the kernel's key."""
    refused: str = ""
    """Of a received route: why it was not taken."""
    advertised_to: str = ""
    """Of an advertised route: the neighbour that has it."""


class RouteTable(enum.Enum):
    """Which table routes are asked of: the VRF's, or what a neighbour announced and what was
    announced to it (Adj-RIB-In and Adj-RIB-Out, RFC 4271 section 3.2)."""

    VRF = "vrf"
    RECEIVED = "received"
    ADVERTISED = "advertised"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFilter:
    """Which routes: fields left empty let all pass. ``prefix`` is a prefix, or an address, whose
    longest match is wanted; ``longer``: what lies inside the prefix too. ``core``: who asks may see
    what PEs announced for any VPN."""

    table: RouteTable = RouteTable.VRF
    core: bool = False
    vrf: str = ""
    prefix: str = ""
    longer: bool = False
    all_paths: bool = False
    neighbor: str = ""
