from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("name", "version", "router_id", "asn", "loopbacks", "uptime_seconds", "in_sync", "config_file", "config_loaded_unix", "label_block", "left_out", "left_out_routes", "flow_log_problem", "enforced_revision", "workloads", "foreign", "foreign_objects", "failing", "held_down", "hold_down_seconds", "audit_log")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    ASN_FIELD_NUMBER: _ClassVar[int]
    LOOPBACKS_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FILE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_LOADED_UNIX_FIELD_NUMBER: _ClassVar[int]
    LABEL_BLOCK_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_ROUTES_FIELD_NUMBER: _ClassVar[int]
    FLOW_LOG_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_REVISION_FIELD_NUMBER: _ClassVar[int]
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    FAILING_FIELD_NUMBER: _ClassVar[int]
    HELD_DOWN_FIELD_NUMBER: _ClassVar[int]
    HOLD_DOWN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AUDIT_LOG_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    router_id: str
    asn: int
    loopbacks: _containers.RepeatedScalarFieldContainer[str]
    uptime_seconds: int
    in_sync: bool
    config_file: str
    config_loaded_unix: int
    label_block: str
    left_out: int
    left_out_routes: _containers.RepeatedScalarFieldContainer[str]
    flow_log_problem: str
    enforced_revision: str
    workloads: int
    foreign: int
    foreign_objects: _containers.RepeatedScalarFieldContainer[str]
    failing: _containers.RepeatedScalarFieldContainer[str]
    held_down: int
    hold_down_seconds: int
    audit_log: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., router_id: _Optional[str] = ..., asn: _Optional[int] = ..., loopbacks: _Optional[_Iterable[str]] = ..., uptime_seconds: _Optional[int] = ..., in_sync: _Optional[bool] = ..., config_file: _Optional[str] = ..., config_loaded_unix: _Optional[int] = ..., label_block: _Optional[str] = ..., left_out: _Optional[int] = ..., left_out_routes: _Optional[_Iterable[str]] = ..., flow_log_problem: _Optional[str] = ..., enforced_revision: _Optional[str] = ..., workloads: _Optional[int] = ..., foreign: _Optional[int] = ..., foreign_objects: _Optional[_Iterable[str]] = ..., failing: _Optional[_Iterable[str]] = ..., held_down: _Optional[int] = ..., hold_down_seconds: _Optional[int] = ..., audit_log: _Optional[str] = ...) -> None: ...

class ShowVrfsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShowVrfsResponse(_message.Message):
    __slots__ = ("vrfs",)
    VRFS_FIELD_NUMBER: _ClassVar[int]
    vrfs: _containers.RepeatedCompositeFieldContainer[Vrf]
    def __init__(self, vrfs: _Optional[_Iterable[_Union[Vrf, _Mapping]]] = ...) -> None: ...

class Vrf(_message.Message):
    __slots__ = ("name", "description", "rd", "import_targets", "export_targets", "table", "label", "ports", "routes", "active_routes", "route_limit", "refused_routes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    RD_FIELD_NUMBER: _ClassVar[int]
    IMPORT_TARGETS_FIELD_NUMBER: _ClassVar[int]
    EXPORT_TARGETS_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ROUTES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ROUTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    rd: str
    import_targets: _containers.RepeatedScalarFieldContainer[str]
    export_targets: _containers.RepeatedScalarFieldContainer[str]
    table: int
    label: int
    ports: _containers.RepeatedScalarFieldContainer[str]
    routes: int
    active_routes: int
    route_limit: int
    refused_routes: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., rd: _Optional[str] = ..., import_targets: _Optional[_Iterable[str]] = ..., export_targets: _Optional[_Iterable[str]] = ..., table: _Optional[int] = ..., label: _Optional[int] = ..., ports: _Optional[_Iterable[str]] = ..., routes: _Optional[int] = ..., active_routes: _Optional[int] = ..., route_limit: _Optional[int] = ..., refused_routes: _Optional[int] = ...) -> None: ...

class ShowNeighborsRequest(_message.Message):
    __slots__ = ("vrf", "core_only")
    VRF_FIELD_NUMBER: _ClassVar[int]
    CORE_ONLY_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    core_only: bool
    def __init__(self, vrf: _Optional[str] = ..., core_only: _Optional[bool] = ...) -> None: ...

class ShowNeighborsResponse(_message.Message):
    __slots__ = ("neighbors",)
    NEIGHBORS_FIELD_NUMBER: _ClassVar[int]
    neighbors: _containers.RepeatedCompositeFieldContainer[Neighbor]
    def __init__(self, neighbors: _Optional[_Iterable[_Union[Neighbor, _Mapping]]] = ...) -> None: ...

class Neighbor(_message.Message):
    __slots__ = ("vrf", "address", "asn", "local_asn", "local_address", "port", "description", "state", "state_seconds", "never_up", "router_id", "families", "hold_time", "flaps", "last_error", "held_seconds", "md5", "ttl_security", "refused", "refused_routes", "unsent_routes")
    class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SESSION_STATE_UNSPECIFIED: _ClassVar[Neighbor.SessionState]
        SESSION_STATE_IDLE: _ClassVar[Neighbor.SessionState]
        SESSION_STATE_CONNECT: _ClassVar[Neighbor.SessionState]
        SESSION_STATE_ACTIVE: _ClassVar[Neighbor.SessionState]
        SESSION_STATE_ESTABLISHED: _ClassVar[Neighbor.SessionState]
        SESSION_STATE_HELD_DOWN: _ClassVar[Neighbor.SessionState]
    SESSION_STATE_UNSPECIFIED: Neighbor.SessionState
    SESSION_STATE_IDLE: Neighbor.SessionState
    SESSION_STATE_CONNECT: Neighbor.SessionState
    SESSION_STATE_ACTIVE: Neighbor.SessionState
    SESSION_STATE_ESTABLISHED: Neighbor.SessionState
    SESSION_STATE_HELD_DOWN: Neighbor.SessionState
    class RefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    VRF_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ASN_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ASN_FIELD_NUMBER: _ClassVar[int]
    LOCAL_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NEVER_UP_FIELD_NUMBER: _ClassVar[int]
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    FAMILIES_FIELD_NUMBER: _ClassVar[int]
    HOLD_TIME_FIELD_NUMBER: _ClassVar[int]
    FLAPS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MD5_FIELD_NUMBER: _ClassVar[int]
    TTL_SECURITY_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_ROUTES_FIELD_NUMBER: _ClassVar[int]
    UNSENT_ROUTES_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    address: str
    asn: int
    local_asn: int
    local_address: str
    port: str
    description: str
    state: Neighbor.SessionState
    state_seconds: int
    never_up: bool
    router_id: str
    families: _containers.RepeatedCompositeFieldContainer[NeighborFamily]
    hold_time: int
    flaps: int
    last_error: str
    held_seconds: int
    md5: bool
    ttl_security: int
    refused: _containers.ScalarMap[str, int]
    refused_routes: _containers.RepeatedCompositeFieldContainer[RefusedRoute]
    unsent_routes: _containers.RepeatedCompositeFieldContainer[RefusedRoute]
    def __init__(self, vrf: _Optional[str] = ..., address: _Optional[str] = ..., asn: _Optional[int] = ..., local_asn: _Optional[int] = ..., local_address: _Optional[str] = ..., port: _Optional[str] = ..., description: _Optional[str] = ..., state: _Optional[_Union[Neighbor.SessionState, str]] = ..., state_seconds: _Optional[int] = ..., never_up: _Optional[bool] = ..., router_id: _Optional[str] = ..., families: _Optional[_Iterable[_Union[NeighborFamily, _Mapping]]] = ..., hold_time: _Optional[int] = ..., flaps: _Optional[int] = ..., last_error: _Optional[str] = ..., held_seconds: _Optional[int] = ..., md5: _Optional[bool] = ..., ttl_security: _Optional[int] = ..., refused: _Optional[_Mapping[str, int]] = ..., refused_routes: _Optional[_Iterable[_Union[RefusedRoute, _Mapping]]] = ..., unsent_routes: _Optional[_Iterable[_Union[RefusedRoute, _Mapping]]] = ...) -> None: ...

class RefusedRoute(_message.Message):
    __slots__ = ("family", "prefix", "rd", "reason", "age_seconds")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    RD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    family: str
    prefix: str
    rd: str
    reason: str
    age_seconds: int
    def __init__(self, family: _Optional[str] = ..., prefix: _Optional[str] = ..., rd: _Optional[str] = ..., reason: _Optional[str] = ..., age_seconds: _Optional[int] = ...) -> None: ...

class NeighborFamily(_message.Message):
    __slots__ = ("family", "negotiated", "received", "stale", "sent", "limit", "end_of_rib")
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    NEGOTIATED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    END_OF_RIB_FIELD_NUMBER: _ClassVar[int]
    family: str
    negotiated: bool
    received: int
    stale: int
    sent: int
    limit: int
    end_of_rib: bool
    def __init__(self, family: _Optional[str] = ..., negotiated: _Optional[bool] = ..., received: _Optional[int] = ..., stale: _Optional[int] = ..., sent: _Optional[int] = ..., limit: _Optional[int] = ..., end_of_rib: _Optional[bool] = ...) -> None: ...

class ShowRoutesRequest(_message.Message):
    __slots__ = ("vrf", "prefix", "longer", "all_paths", "neighbor", "table")
    class Table(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TABLE_UNSPECIFIED: _ClassVar[ShowRoutesRequest.Table]
        TABLE_RECEIVED: _ClassVar[ShowRoutesRequest.Table]
        TABLE_ADVERTISED: _ClassVar[ShowRoutesRequest.Table]
    TABLE_UNSPECIFIED: ShowRoutesRequest.Table
    TABLE_RECEIVED: ShowRoutesRequest.Table
    TABLE_ADVERTISED: ShowRoutesRequest.Table
    VRF_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    LONGER_FIELD_NUMBER: _ClassVar[int]
    ALL_PATHS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    prefix: str
    longer: bool
    all_paths: bool
    neighbor: str
    table: ShowRoutesRequest.Table
    def __init__(self, vrf: _Optional[str] = ..., prefix: _Optional[str] = ..., longer: _Optional[bool] = ..., all_paths: _Optional[bool] = ..., neighbor: _Optional[str] = ..., table: _Optional[_Union[ShowRoutesRequest.Table, str]] = ...) -> None: ...

class ShowRoutesResponse(_message.Message):
    __slots__ = ("routes", "absent")
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    absent: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., absent: _Optional[_Iterable[str]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("vrf", "prefix", "source", "next_hop", "port", "labels", "best", "active", "age_seconds", "neighbor", "rd", "local_preference", "med", "origin", "as_path", "communities", "large_communities", "route_targets", "sites_of_origin", "stale", "inactive_reason", "extended_communities", "atomic_aggregate", "aggregator", "originator_id", "cluster_list", "unknown_attributes", "protocol", "refused", "type", "metric", "tos", "from_prefix", "advertised_to")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOURCE_UNSPECIFIED: _ClassVar[Route.Source]
        SOURCE_CONNECTED: _ClassVar[Route.Source]
        SOURCE_STATIC: _ClassVar[Route.Source]
        SOURCE_EBGP: _ClassVar[Route.Source]
        SOURCE_VPN: _ClassVar[Route.Source]
        SOURCE_LEAKED: _ClassVar[Route.Source]
        SOURCE_WORKLOAD: _ClassVar[Route.Source]
        SOURCE_FOREIGN: _ClassVar[Route.Source]
    SOURCE_UNSPECIFIED: Route.Source
    SOURCE_CONNECTED: Route.Source
    SOURCE_STATIC: Route.Source
    SOURCE_EBGP: Route.Source
    SOURCE_VPN: Route.Source
    SOURCE_LEAKED: Route.Source
    SOURCE_WORKLOAD: Route.Source
    SOURCE_FOREIGN: Route.Source
    VRF_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_FIELD_NUMBER: _ClassVar[int]
    RD_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    MED_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    AS_PATH_FIELD_NUMBER: _ClassVar[int]
    COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    LARGE_COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_TARGETS_FIELD_NUMBER: _ClassVar[int]
    SITES_OF_ORIGIN_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    INACTIVE_REASON_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_COMMUNITIES_FIELD_NUMBER: _ClassVar[int]
    ATOMIC_AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATOR_FIELD_NUMBER: _ClassVar[int]
    ORIGINATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_LIST_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    TOS_FIELD_NUMBER: _ClassVar[int]
    FROM_PREFIX_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_TO_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    prefix: str
    source: Route.Source
    next_hop: str
    port: str
    labels: _containers.RepeatedScalarFieldContainer[int]
    best: bool
    active: bool
    age_seconds: int
    neighbor: str
    rd: str
    local_preference: int
    med: int
    origin: str
    as_path: str
    communities: _containers.RepeatedScalarFieldContainer[str]
    large_communities: _containers.RepeatedScalarFieldContainer[str]
    route_targets: _containers.RepeatedScalarFieldContainer[str]
    sites_of_origin: _containers.RepeatedScalarFieldContainer[str]
    stale: bool
    inactive_reason: str
    extended_communities: _containers.RepeatedScalarFieldContainer[str]
    atomic_aggregate: bool
    aggregator: str
    originator_id: str
    cluster_list: _containers.RepeatedScalarFieldContainer[str]
    unknown_attributes: _containers.RepeatedScalarFieldContainer[str]
    protocol: str
    refused: str
    type: str
    metric: int
    tos: int
    from_prefix: str
    advertised_to: str
    def __init__(self, vrf: _Optional[str] = ..., prefix: _Optional[str] = ..., source: _Optional[_Union[Route.Source, str]] = ..., next_hop: _Optional[str] = ..., port: _Optional[str] = ..., labels: _Optional[_Iterable[int]] = ..., best: _Optional[bool] = ..., active: _Optional[bool] = ..., age_seconds: _Optional[int] = ..., neighbor: _Optional[str] = ..., rd: _Optional[str] = ..., local_preference: _Optional[int] = ..., med: _Optional[int] = ..., origin: _Optional[str] = ..., as_path: _Optional[str] = ..., communities: _Optional[_Iterable[str]] = ..., large_communities: _Optional[_Iterable[str]] = ..., route_targets: _Optional[_Iterable[str]] = ..., sites_of_origin: _Optional[_Iterable[str]] = ..., stale: _Optional[bool] = ..., inactive_reason: _Optional[str] = ..., extended_communities: _Optional[_Iterable[str]] = ..., atomic_aggregate: _Optional[bool] = ..., aggregator: _Optional[str] = ..., originator_id: _Optional[str] = ..., cluster_list: _Optional[_Iterable[str]] = ..., unknown_attributes: _Optional[_Iterable[str]] = ..., protocol: _Optional[str] = ..., refused: _Optional[str] = ..., type: _Optional[str] = ..., metric: _Optional[int] = ..., tos: _Optional[int] = ..., from_prefix: _Optional[str] = ..., advertised_to: _Optional[str] = ...) -> None: ...

class ShowLabelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShowLabelsResponse(_message.Message):
    __slots__ = ("labels",)
    LABELS_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("label", "vrf", "state", "table", "hold_down_seconds")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Label.State]
        STATE_IN_USE: _ClassVar[Label.State]
        STATE_HOLD_DOWN: _ClassVar[Label.State]
    STATE_UNSPECIFIED: Label.State
    STATE_IN_USE: Label.State
    STATE_HOLD_DOWN: Label.State
    LABEL_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    HOLD_DOWN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    label: int
    vrf: str
    state: Label.State
    table: int
    hold_down_seconds: int
    def __init__(self, label: _Optional[int] = ..., vrf: _Optional[str] = ..., state: _Optional[_Union[Label.State, str]] = ..., table: _Optional[int] = ..., hold_down_seconds: _Optional[int] = ...) -> None: ...

class ShowNextHopsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShowNextHopsResponse(_message.Message):
    __slots__ = ("next_hops",)
    NEXT_HOPS_FIELD_NUMBER: _ClassVar[int]
    next_hops: _containers.RepeatedCompositeFieldContainer[NextHop]
    def __init__(self, next_hops: _Optional[_Iterable[_Union[NextHop, _Mapping]]] = ...) -> None: ...

class NextHop(_message.Message):
    __slots__ = ("id", "address", "vrf", "vpn_label", "reachable", "paths", "routes")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    VPN_LABEL_FIELD_NUMBER: _ClassVar[int]
    REACHABLE_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    id: int
    address: str
    vrf: str
    vpn_label: int
    reachable: bool
    paths: _containers.RepeatedCompositeFieldContainer[NextHopPath]
    routes: int
    def __init__(self, id: _Optional[int] = ..., address: _Optional[str] = ..., vrf: _Optional[str] = ..., vpn_label: _Optional[int] = ..., reachable: _Optional[bool] = ..., paths: _Optional[_Iterable[_Union[NextHopPath, _Mapping]]] = ..., routes: _Optional[int] = ...) -> None: ...

class NextHopPath(_message.Message):
    __slots__ = ("gateway", "port", "labels", "weight")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    gateway: str
    port: str
    labels: _containers.RepeatedScalarFieldContainer[int]
    weight: int
    def __init__(self, gateway: _Optional[str] = ..., port: _Optional[str] = ..., labels: _Optional[_Iterable[int]] = ..., weight: _Optional[int] = ...) -> None: ...

class ShowPortsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShowPortsResponse(_message.Message):
    __slots__ = ("ports",)
    PORTS_FIELD_NUMBER: _ClassVar[int]
    ports: _containers.RepeatedCompositeFieldContainer[Port]
    def __init__(self, ports: _Optional[_Iterable[_Union[Port, _Mapping]]] = ...) -> None: ...

class Port(_message.Message):
    __slots__ = ("name", "role", "vrf", "present", "up", "addresses", "mtu", "source_prefixes", "any_source", "description", "guarded", "problem")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Port.Role]
        ROLE_CE: _ClassVar[Port.Role]
        ROLE_CORE: _ClassVar[Port.Role]
    ROLE_UNSPECIFIED: Port.Role
    ROLE_CE: Port.Role
    ROLE_CORE: Port.Role
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    PRESENT_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    ANY_SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    GUARDED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: Port.Role
    vrf: str
    present: bool
    up: bool
    addresses: _containers.RepeatedScalarFieldContainer[str]
    mtu: int
    source_prefixes: _containers.RepeatedScalarFieldContainer[str]
    any_source: bool
    description: str
    guarded: bool
    problem: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[_Union[Port.Role, str]] = ..., vrf: _Optional[str] = ..., present: _Optional[bool] = ..., up: _Optional[bool] = ..., addresses: _Optional[_Iterable[str]] = ..., mtu: _Optional[int] = ..., source_prefixes: _Optional[_Iterable[str]] = ..., any_source: _Optional[bool] = ..., description: _Optional[str] = ..., guarded: _Optional[bool] = ..., problem: _Optional[str] = ...) -> None: ...

class ShowCountersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShowCountersResponse(_message.Message):
    __slots__ = ("counters",)
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    counters: _containers.RepeatedCompositeFieldContainer[Counter]
    def __init__(self, counters: _Optional[_Iterable[_Union[Counter, _Mapping]]] = ...) -> None: ...

class Counter(_message.Message):
    __slots__ = ("name", "labels", "value")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.ScalarMap[str, str]
    value: int
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., value: _Optional[int] = ...) -> None: ...

class ShowGuardsRequest(_message.Message):
    __slots__ = ("vrf",)
    VRF_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    def __init__(self, vrf: _Optional[str] = ...) -> None: ...

class ShowGuardsResponse(_message.Message):
    __slots__ = ("guards",)
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    guards: _containers.RepeatedCompositeFieldContainer[Guard]
    def __init__(self, guards: _Optional[_Iterable[_Union[Guard, _Mapping]]] = ...) -> None: ...

class Guard(_message.Message):
    __slots__ = ("requirement", "name", "vrf", "port", "action", "packets", "bytes", "traffic_class", "family")
    REQUIREMENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_CLASS_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    requirement: str
    name: str
    vrf: str
    port: str
    action: str
    packets: int
    bytes: int
    traffic_class: str
    family: str
    def __init__(self, requirement: _Optional[str] = ..., name: _Optional[str] = ..., vrf: _Optional[str] = ..., port: _Optional[str] = ..., action: _Optional[str] = ..., packets: _Optional[int] = ..., bytes: _Optional[int] = ..., traffic_class: _Optional[str] = ..., family: _Optional[str] = ...) -> None: ...

class ReloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReloadResponse(_message.Message):
    __slots__ = ("changes", "warnings")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, changes: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ClearNeighborRequest(_message.Message):
    __slots__ = ("vrf", "address")
    VRF_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    address: str
    def __init__(self, vrf: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class ClearNeighborResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
