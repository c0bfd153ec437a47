import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ruling(_message.Message):
    __slots__ = ("allowed", "rule", "logged", "revision", "former")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FORMER_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    rule: str
    logged: bool
    revision: str
    former: bool
    def __init__(self, allowed: _Optional[bool] = ..., rule: _Optional[str] = ..., logged: _Optional[bool] = ..., revision: _Optional[str] = ..., former: _Optional[bool] = ...) -> None: ...

class FlowEnd(_message.Message):
    __slots__ = ("address", "workload", "groups", "networks")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NETWORKS_FIELD_NUMBER: _ClassVar[int]
    address: str
    workload: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    networks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, address: _Optional[str] = ..., workload: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., networks: _Optional[_Iterable[str]] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("vrf", "source", "destination", "service", "count", "first", "last", "enforced", "staged", "last_source_port", "older", "staged_count")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    LAST_SOURCE_PORT_FIELD_NUMBER: _ClassVar[int]
    OLDER_FIELD_NUMBER: _ClassVar[int]
    STAGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    source: FlowEnd
    destination: FlowEnd
    service: str
    count: int
    first: _timestamp_pb2.Timestamp
    last: _timestamp_pb2.Timestamp
    enforced: Ruling
    staged: Ruling
    last_source_port: int
    older: bool
    staged_count: int
    def __init__(self, vrf: _Optional[str] = ..., source: _Optional[_Union[FlowEnd, _Mapping]] = ..., destination: _Optional[_Union[FlowEnd, _Mapping]] = ..., service: _Optional[str] = ..., count: _Optional[int] = ..., first: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., enforced: _Optional[_Union[Ruling, _Mapping]] = ..., staged: _Optional[_Union[Ruling, _Mapping]] = ..., last_source_port: _Optional[int] = ..., older: _Optional[bool] = ..., staged_count: _Optional[int] = ...) -> None: ...

class FlowFilter(_message.Message):
    __slots__ = ("vrf", "source", "destination", "service", "allowed", "staged_differs", "since", "until", "logged")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    STAGED_DIFFERS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    LOGGED_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    source: str
    destination: str
    service: str
    allowed: bool
    staged_differs: bool
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    logged: bool
    def __init__(self, vrf: _Optional[str] = ..., source: _Optional[str] = ..., destination: _Optional[str] = ..., service: _Optional[str] = ..., allowed: _Optional[bool] = ..., staged_differs: _Optional[bool] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., logged: _Optional[bool] = ...) -> None: ...

class TelemetryLoss(_message.Message):
    __slots__ = ("lost", "last_lost")
    LOST_FIELD_NUMBER: _ClassVar[int]
    LAST_LOST_FIELD_NUMBER: _ClassVar[int]
    lost: int
    last_lost: _timestamp_pb2.Timestamp
    def __init__(self, lost: _Optional[int] = ..., last_lost: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class QueryFlowsRequest(_message.Message):
    __slots__ = ("filter", "limit")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    filter: FlowFilter
    limit: int
    def __init__(self, filter: _Optional[_Union[FlowFilter, _Mapping]] = ..., limit: _Optional[int] = ...) -> None: ...

class QueryFlowsResponse(_message.Message):
    __slots__ = ("flows", "loss")
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[Flow]
    loss: TelemetryLoss
    def __init__(self, flows: _Optional[_Iterable[_Union[Flow, _Mapping]]] = ..., loss: _Optional[_Union[TelemetryLoss, _Mapping]] = ...) -> None: ...

class WatchFlowsRequest(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: FlowFilter
    def __init__(self, filter: _Optional[_Union[FlowFilter, _Mapping]] = ...) -> None: ...

class WatchFlowsResponse(_message.Message):
    __slots__ = ("flow", "skipped", "loss")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    flow: Flow
    skipped: int
    loss: TelemetryLoss
    def __init__(self, flow: _Optional[_Union[Flow, _Mapping]] = ..., skipped: _Optional[int] = ..., loss: _Optional[_Union[TelemetryLoss, _Mapping]] = ...) -> None: ...

class GetMapRequest(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    filter: FlowFilter
    def __init__(self, filter: _Optional[_Union[FlowFilter, _Mapping]] = ...) -> None: ...

class GetMapResponse(_message.Message):
    __slots__ = ("nodes", "edges", "loss")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[MapNode]
    edges: _containers.RepeatedCompositeFieldContainer[MapEdge]
    loss: TelemetryLoss
    def __init__(self, nodes: _Optional[_Iterable[_Union[MapNode, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[MapEdge, _Mapping]]] = ..., loss: _Optional[_Union[TelemetryLoss, _Mapping]] = ...) -> None: ...

class MapNode(_message.Message):
    __slots__ = ("name", "kind", "vrf", "members", "mode")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[MapNode.Kind]
        KIND_GROUP: _ClassVar[MapNode.Kind]
        KIND_NETWORK_SET: _ClassVar[MapNode.Kind]
        KIND_WORKLOAD: _ClassVar[MapNode.Kind]
        KIND_UNKNOWN: _ClassVar[MapNode.Kind]
    KIND_UNSPECIFIED: MapNode.Kind
    KIND_GROUP: MapNode.Kind
    KIND_NETWORK_SET: MapNode.Kind
    KIND_WORKLOAD: MapNode.Kind
    KIND_UNKNOWN: MapNode.Kind
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: MapNode.Kind
    vrf: str
    members: int
    mode: str
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[MapNode.Kind, str]] = ..., vrf: _Optional[str] = ..., members: _Optional[int] = ..., mode: _Optional[str] = ...) -> None: ...

class MapEdge(_message.Message):
    __slots__ = ("vrf", "source", "destination", "services", "count", "first", "last", "allowed", "denied", "staged_would_deny", "staged_would_allow")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    STAGED_WOULD_DENY_FIELD_NUMBER: _ClassVar[int]
    STAGED_WOULD_ALLOW_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    source: str
    destination: str
    services: _containers.RepeatedScalarFieldContainer[str]
    count: int
    first: _timestamp_pb2.Timestamp
    last: _timestamp_pb2.Timestamp
    allowed: int
    denied: int
    staged_would_deny: int
    staged_would_allow: int
    def __init__(self, vrf: _Optional[str] = ..., source: _Optional[str] = ..., destination: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., first: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., allowed: _Optional[int] = ..., denied: _Optional[int] = ..., staged_would_deny: _Optional[int] = ..., staged_would_allow: _Optional[int] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("name", "since", "until", "flows", "recorded_by", "lost")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_BY_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    name: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    flows: int
    recorded_by: str
    lost: int
    def __init__(self, name: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., flows: _Optional[int] = ..., recorded_by: _Optional[str] = ..., lost: _Optional[int] = ...) -> None: ...

class RecordBaselineRequest(_message.Message):
    __slots__ = ("name", "since", "until")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecordBaselineResponse(_message.Message):
    __slots__ = ("baseline", "pruned")
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    PRUNED_FIELD_NUMBER: _ClassVar[int]
    baseline: Baseline
    pruned: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, baseline: _Optional[_Union[Baseline, _Mapping]] = ..., pruned: _Optional[_Iterable[str]] = ...) -> None: ...

class ListBaselinesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBaselinesResponse(_message.Message):
    __slots__ = ("baselines",)
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    baselines: _containers.RepeatedCompositeFieldContainer[Baseline]
    def __init__(self, baselines: _Optional[_Iterable[_Union[Baseline, _Mapping]]] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("baseline", "vrf")
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    baseline: str
    vrf: str
    def __init__(self, baseline: _Optional[str] = ..., vrf: _Optional[str] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("proposals", "unplaced")
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    UNPLACED_FIELD_NUMBER: _ClassVar[int]
    proposals: _containers.RepeatedCompositeFieldContainer[Proposal]
    unplaced: _containers.RepeatedCompositeFieldContainer[Unplaced]
    def __init__(self, proposals: _Optional[_Iterable[_Union[Proposal, _Mapping]]] = ..., unplaced: _Optional[_Iterable[_Union[Unplaced, _Mapping]]] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("sentence", "count", "first", "last", "pairs_seen", "pairs_possible")
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PAIRS_SEEN_FIELD_NUMBER: _ClassVar[int]
    PAIRS_POSSIBLE_FIELD_NUMBER: _ClassVar[int]
    sentence: str
    count: int
    first: _timestamp_pb2.Timestamp
    last: _timestamp_pb2.Timestamp
    pairs_seen: int
    pairs_possible: int
    def __init__(self, sentence: _Optional[str] = ..., count: _Optional[int] = ..., first: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pairs_seen: _Optional[int] = ..., pairs_possible: _Optional[int] = ...) -> None: ...

class Unplaced(_message.Message):
    __slots__ = ("flow", "reason")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    flow: Flow
    reason: str
    def __init__(self, flow: _Optional[_Union[Flow, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
