"""Define the keys of pe.yaml, section by section, with their types and defaults.

The tables of ``docs/configuration.md`` follow this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from controlplane.model.intent import Policy
from controlplane.model.label import LabelBlock
from controlplane.model.speaker_user import FIRST_UID, UIDS
from pe.config import values as v
from pe.config.policy import PolicyText, Sources

CE_MAX_PREFIX = 10_000


def kebab(name: str) -> str:
    """Return the key of the file for a field's name: ``router-id`` for ``router_id``."""
    return name.replace("_", "-")


class Section(BaseModel):
    """Define a mapping of known keys; an empty one may be written without braces."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=kebab)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, data: Any) -> Any:
        return {} if data is None else data


def _none_is_empty(value: Any) -> Any:
    return {} if value is None else value


Empty = BeforeValidator(_none_is_empty)


def _short(key: str) -> Callable[[Any], Any]:
    """Let ``max-prefix: 1000`` stand for ``max-prefix: {maximum: 1000}``."""
    return lambda value: {key: value} if isinstance(value, str) else value


class MaxPrefixSection(Section):
    """Define the prefix limit of a neighbour, per family; ``maximum`` 0 is unlimited.

    Without it a CE may announce ``CE_MAX_PREFIX``, and a core peer any number.
    """

    maximum: Annotated[
        int | None,
        v.scalar(
            lambda text: 0 if text == "off" else v.whole_number(1, 10_000_000)(text),
            "a number from 1 to 10000000, or off",
        ),
    ] = None
    ipv4: Annotated[int | None, v.number(1, 10_000_000)] = None
    ipv6: Annotated[int | None, v.number(1, 10_000_000)] = None
    warn_percent: Annotated[int, v.number(1, 100)] = 80
    idle_hold: Annotated[int, v.number(0, 86400, "seconds, 0: until cleared")] = 300


MaxPrefix = Annotated[MaxPrefixSection, BeforeValidator(_short("maximum"))]


def _no_tcp_ao(_text: str) -> None:
    raise ValueError("TCP-AO (RFC 5925) is not spoken by ExaBGP 5.0, which speaks BGP for us")


AllowAsIn = Annotated[int, v.number(0, 10, "times that our AS may be on the path")]


class SessionSection(Section):
    """Define the keys that core peers and CE neighbours have in common."""

    description: v.Description = ""
    md5: v.Md5Key | None = None
    md5_file: v.FilePath | None = None
    tcp_ao: Annotated[None, v.scalar(_no_tcp_ao, "md5 or md5-file instead")] = None
    hold_time: v.HoldTime = 90
    passive: v.Flag = False
    tcp_port: v.TcpPort = 179
    max_prefix: MaxPrefix = MaxPrefixSection()


class PeerSection(SessionSection):
    """Define an iBGP session with a PE or a route reflector."""

    asn: v.Asn | None = None
    local_address: v.Address | None = None
    families: Annotated[list[v.VpnFamily], v.OneOrMany, Field(min_length=1)] = list(
        v.VPN_FAMILIES.values()
    )
    ttl_security: v.Hops = 0
    allowas_in: AllowAsIn = 0


class NeighborSection(SessionSection):
    """Define an eBGP session with a CE in a VRF. Without policies no route passes (RFC 8212)."""

    asn: v.Asn
    port: v.PortName | None = None
    families: Annotated[list[v.CeFamily], v.OneOrMany] = Field(default_factory=list)
    import_: Annotated[PolicyText, Field(alias="import")] = Policy()
    export: PolicyText = Policy()
    ttl_security: v.Hops = 1
    as_override: v.Flag = False
    allowas_in: AllowAsIn = 0
    enforce_first_as: v.Flag = True
    third_party_next_hop: v.Flag = False
    site_of_origin: v.Soo | None = None
    remove_private_as: v.Flag = False


class CePortSection(Section):
    """Define an attachment circuit."""

    addresses: Annotated[list[v.Interface], v.OneOrMany] = Field(default_factory=list)
    parent: v.PortName | None = None
    vlan: Annotated[int | None, v.number(1, 4094)] = None
    mtu: v.Mtu | None = None
    source_prefixes: Sources | Literal["derived"] = "derived"
    description: v.Description = ""


class StaticRouteSection(Section):
    """Define a route to a site without BGP."""

    prefix: v.PrefixText
    via: v.Address | None = None
    port: v.PortName | None = None
    blackhole: v.Flag = False


class LimitsSection(Section):
    """Define the limits of one VPN; 0 is unlimited."""

    routes: v.Count = 0
    conntrack: v.Count = 0
    new_flows_per_second: v.Count = 0
    workloads: v.Count = 0


def _per_vrf(text: str) -> str:
    if text == "per-ce":
        raise ValueError(
            "per-ce labels pass no netfilter hook on the way to the CE, so nothing could be"
            " filtered there"
        )
    if text != "per-vrf":
        raise ValueError(f"'{text}' is not a label mode")
    return text


RouteTargets = Annotated[list[v.Rt], v.OneOrMany]


class WorkloadSection(Section):
    """Define one workload behind a port, for microsegmentation."""

    port: v.PortName
    addresses: Annotated[list[v.PrefixText], v.OneOrMany, Field(min_length=1)]
    tags: Annotated[dict[str, v.Word], Empty] = Field(default_factory=dict)


class VrfSection(Section):
    """Define one VPN at this PE."""

    rd: v.Rd
    route_target: RouteTargets = Field(default_factory=list)
    import_route_target: RouteTargets = Field(default_factory=list)
    export_route_target: RouteTargets = Field(default_factory=list)
    # The table stands in the mark of IPv6 packets (pe.filters.too_big), where bit 31 is a verdict
    # and bits 28 to 30 speak of flows (controlplane.model.verdict, pe.observe.log_entry), and bits
    # 26 and 27 of labels (pe.filters.core): a table of 2^31 once let denied packets pass.
    table: Annotated[int | None, v.number(1, 67108863)] = None
    label_mode: Annotated[str, v.scalar(_per_vrf, "per-vrf")] = "per-vrf"
    limits: LimitsSection = LimitsSection()
    advertise_connected: v.Flag = False
    internet: v.Flag = False
    ports: Annotated[dict[v.PortName, CePortSection], Empty] = Field(default_factory=dict)
    neighbors: Annotated[dict[v.AddressKey, NeighborSection], Empty] = Field(default_factory=dict)
    static_routes: list[StaticRouteSection] = Field(default_factory=list)
    workloads: Annotated[dict[v.WorkloadName, WorkloadSection], Empty] = Field(default_factory=dict)
    description: v.Description = ""


class CorePortSection(Section):
    """Define a port into the core."""

    addresses: Annotated[list[v.Interface], v.OneOrMany] = Field(default_factory=list)
    mtu: v.Mtu | None = None
    accept_explicit_null: v.Flag = False
    adjacent_pes: Annotated[list[v.Address], v.OneOrMany] = Field(default_factory=list)


class TimersSection(Section):
    """Define timers, in seconds."""

    label_hold_down: v.Seconds = 600
    restart_time: Annotated[int, v.number(0, 4095, "seconds")] = 120
    sync_timeout: v.Seconds = 60


class NodeLimitsSection(Section):
    """Define the limits of all VPNs together; 0 is unlimited."""

    routes: v.Count = 0


class GrantSection(Section):
    """Define the calls that one certificate may make."""

    identity: v.Word
    role: v.Role
    vrfs: Annotated[list[v.VrfName], v.OneOrMany] = Field(default_factory=list)


class TcpSection(Section):
    """Define the API over TCP, which requires mutual TLS."""

    address: v.Address
    port: v.TcpPort
    certificate: v.FilePath
    key: v.FilePath
    client_ca: v.FilePath
    client_crl: v.FilePath | None = None
    bind_device: v.PortName | None = None
    grants: list[GrantSection] = Field(default_factory=list)


class ApiSection(Section):
    """Define access to the node's API."""

    socket_mode: v.Mode = 0o660
    tcp: TcpSection | None = None


class NodeSection(Section):
    """Define the whole file."""

    name: v.NodeName | None = None
    router_id: v.Ipv4 | None = None
    asn: v.Asn
    loopback: v.Ipv4
    loopback_ipv6: v.Ipv6 | None = None
    core_ports: Annotated[dict[v.PortName, CorePortSection], Empty] = Field(default_factory=dict)
    management_ports: Annotated[list[v.PortName], v.OneOrMany] = Field(default_factory=list)
    peers: Annotated[dict[v.AddressKey, PeerSection], Empty] = Field(default_factory=dict)
    vrfs: Annotated[dict[v.VrfName, VrfSection], Empty] = Field(default_factory=dict)
    label_block: v.Block = LabelBlock(24000, 31999)
    limits: NodeLimitsSection = NodeLimitsSection()
    resolve_via_default: v.Flag = False
    igp_costs: Annotated[dict[v.AddressKey, v.IgpCost], Empty] = Field(default_factory=dict)
    foreign_routes: Literal["show", "remove"] = "show"
    timers: TimersSection = TimersSection()
    api: ApiSection = ApiSection()
    metrics_socket: v.SocketPath | None = None
    log_level: v.LogLevel = "info"
    speaker_user: v.Word = "nobody"
    speaker_uids: Annotated[int, v.number(0, 2**32 - 2 - UIDS)] = FIRST_UID
    run_dir: v.Folder = "/run/bulkhead"
    state_dir: v.Folder = "/var/lib/bulkhead"
    segment_function: Annotated[int, v.number(0, 1073741823)] = 1
