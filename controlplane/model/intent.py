"""What the operator wants of one node: pe.yaml, checked and typed. Plain data, no defaults hidden
elsewhere: the maker of a ``NodeIntent`` (the configuration reader, a test) makes a complete one."""

from __future__ import annotations

import enum
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TypeAlias

import msgspec

from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget, SiteOfOrigin
from controlplane.model.speaker_user import FIRST_UID

IPInterface: TypeAlias = IPv4Interface | IPv6Interface


class PrefixRule(msgspec.Struct, frozen=True):
    """One line of a prefix list: ``prefix`` itself, or what lies in it with ge <= length <= le."""

    prefix: Prefix
    ge: int
    le: int

    def accepts(self, candidate: Prefix) -> bool:
        """Return True if the candidate is inside the prefix and its length is in bounds."""
        return self.ge <= candidate.length <= self.le and self.prefix.contains(candidate)


class Policy(msgspec.Struct, frozen=True):
    """What passes on an eBGP session. ``accept`` None means any prefix; an empty one, nothing.

    A neighbour without a policy gets ``DENY_ALL`` (RFC 8212).
    """

    accept: tuple[PrefixRule, ...] | None = ()
    default_route: bool = False

    def accepts(self, prefix: Prefix) -> bool:
        """Return True if a route for this prefix passes; a default route only when asked for by
        name."""
        if prefix.is_default:
            return self.default_route
        return self.accept is None or any(rule.accepts(prefix) for rule in self.accept)


DENY_ALL = Policy()
ACCEPT_ANY = Policy(accept=None, default_route=True)


class PrefixLimit(msgspec.Struct, frozen=True):
    """Max-prefix of one session and family: warn at ``warn_percent``, above ``maximum`` Cease/1.

    ``idle_hold`` is in seconds; 0 keeps the session down until an operator clears it.
    """

    maximum: int
    warn_percent: int = 80
    idle_hold: int = 300


class PeerIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One BGP session, to a PE or route reflector (``peer.vrf`` empty) or to a CE.

    ``ttl_security`` is the greatest number of hops the peer may be away (GTSM, RFC 5082; 1 for a
    CE), None where it is not asked for. ``hold_time`` is in seconds. ``md5`` never prints.
    ``internet`` is its VRF's.
    """

    peer: PeerId
    asn: int
    local_address: IPAddress
    local_as: int
    families: tuple[Family, ...]
    description: str = ""
    md5: str | None = None
    hold_time: int = 90
    ttl_security: int | None = None
    passive: bool = False
    prefix_limits: tuple[tuple[Family, PrefixLimit], ...] = ()
    port: str = ""
    import_policy: Policy = DENY_ALL
    export_policy: Policy = DENY_ALL
    as_override: bool = False
    allow_as_in: int = 0
    enforce_first_as: bool = True
    third_party_next_hop: bool = False
    site_of_origin: SiteOfOrigin | None = None
    remove_private_as: bool = False
    internet: bool = False
    connect_port: int = 179

    @property
    def is_ebgp(self) -> bool:
        """True where the peer's AS is not ours."""
        return self.asn != self.local_as

    def limit(self, family: Family) -> PrefixLimit | None:
        """Return the prefix limit of a family, None if it has none."""
        return dict(self.prefix_limits).get(family)

    def __repr__(self) -> str:
        return f"PeerIntent({self.peer}, AS{self.asn})"


class CePortIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One attachment circuit. With ``parent`` and ``vlan`` the node makes the VLAN device itself.

    ``sources``: prefixes a packet may come from; None leaves only martians and our own refused.
    """

    name: str
    vrf: str
    addresses: tuple[IPInterface, ...]
    parent: str = ""
    vlan: int = 0
    mtu: int = 0
    sources: tuple[Prefix, ...] | None = None
    description: str = ""


class StaticRouteIntent(msgspec.Struct, frozen=True, kw_only=True):
    """``prefix`` through a CE at ``via`` on ``port``; on a port without ``via`` it is on the link;
    without either it is a blackhole."""

    prefix: Prefix
    via: IPAddress | None = None
    port: str = ""


class WorkloadIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A workload that stands in the configuration; ``tags`` are pairs, sorted."""

    name: str
    port: str
    addresses: tuple[Prefix, ...]
    tags: tuple[tuple[str, str], ...] = ()


class VrfIntent(msgspec.Struct, frozen=True, kw_only=True):
    """One VPN at this PE. ``table`` 0 takes the number of the VRF's label.

    Limits are counts; 0 means none. ``internet``: only prefixes that are unique in the Internet
    come into it from others, or go from it to its neighbours (RFC 4364 section 11).
    """

    name: str
    rd: RouteDistinguisher
    import_targets: frozenset[RouteTarget]
    export_targets: frozenset[RouteTarget]
    table: int = 0
    ports: tuple[CePortIntent, ...] = ()
    static_routes: tuple[StaticRouteIntent, ...] = ()
    neighbors: tuple[PeerIntent, ...] = ()
    advertise_connected: bool = False
    internet: bool = False
    route_limit: int = 0
    conntrack_limit: int = 0
    new_flows_per_second: int = 0
    workload_limit: int = 0
    description: str = ""
    workloads: tuple[WorkloadIntent, ...] = ()


class CorePortIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A port into the core: takes labelled packets. Addresses are set if given, else left alone.
    ``adjacent_pes`` are the loopbacks of PEs at its other end, as far as no probe can find out."""

    name: str
    addresses: tuple[IPInterface, ...] = ()
    mtu: int = 0
    accept_explicit_null: bool = False
    adjacent_pes: tuple[IPAddress, ...] = ()


class ApiRole(enum.Enum):
    """What a caller of the gRPC API may do, weakest first."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    POLICY_EDITOR = "policy-editor"
    ADMIN = "admin"


class ApiGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate identity (URI or DNS name, CN last) and its role; ``vrfs`` empty means all."""

    identity: str
    role: ApiRole
    vrfs: tuple[str, ...] = ()


class TcpApiIntent(msgspec.Struct, frozen=True, kw_only=True):
    """The API over TCP, only with mutual TLS. ``bind_device`` ties it to a management VRF.
    ``client_crl`` "": certificates are not held against revocation lists."""

    address: IPAddress
    port: int
    certificate: str
    key: str
    client_ca: str
    client_crl: str = ""
    grants: tuple[ApiGrant, ...] = ()
    bind_device: str = ""


class NodeIntent(msgspec.Struct, frozen=True, kw_only=True):
    """All of one node. Times are in seconds; ``run_dir`` and ``state_dir`` are folders."""

    name: str
    router_id: IPv4Address
    asn: int
    loopback: IPv4Address
    loopback6: IPv6Address | None = None
    core_ports: tuple[CorePortIntent, ...] = ()
    management_ports: tuple[str, ...] = ()
    peers: tuple[PeerIntent, ...] = ()
    vrfs: tuple[VrfIntent, ...] = ()
    label_block: LabelBlock = LabelBlock(24000, 31999)
    label_hold_down: int = 600
    restart_time: int = 120
    sync_timeout: int = 60
    resolve_via_default: bool = False
    igp_costs: tuple[tuple[IPAddress, int], ...] = ()
    removes_foreign_routes: bool = False
    run_dir: str = "/run/bulkhead"
    state_dir: str = "/var/lib/bulkhead"
    socket_mode: int = 0o660
    tcp_api: TcpApiIntent | None = None
    metrics_socket: str = ""
    speaker_user: str = "nobody"
    speaker_uids: int = FIRST_UID
    log_level: str = "info"
    segment_function: int = 1

    def vrf(self, name: str) -> VrfIntent | None:
        """Return the VRF of that name, None if there is none."""
        return next((vrf for vrf in self.vrfs if vrf.name == name), None)

    @property
    def loopbacks(self) -> tuple[IPAddress, ...]:
        """The addresses that other PEs have as next hop."""
        return (self.loopback, *((self.loopback6,) if self.loopback6 else ()))

    def next_hop(
        self, peer: PeerId, family: Family, ipv6_next_hops: Container[Family]
    ) -> IPAddress:
        """Return the loopback to announce routes with: that of the session's own address family.

        A peer that cannot have an IPv6 next hop for VPN-IPv4 (RFC 8950) gets the IPv4 one.
        """
        if peer.address.version == 4 or self.loopback6 is None:
            return self.loopback
        can = family.afi is Afi.IPV6 or family in ipv6_next_hops
        return self.loopback6 if can else self.loopback

    @property
    def all_peers(self) -> tuple[PeerIntent, ...]:
        """Core sessions first, then those with CEs."""
        return (*self.peers, *(n for vrf in self.vrfs for n in vrf.neighbors))
