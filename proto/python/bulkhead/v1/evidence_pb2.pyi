import datetime

from bulkhead.v1 import flows_pb2 as _flows_pb2
from bulkhead.v1 import groups_pb2 as _groups_pb2
from bulkhead.v1 import policy_pb2 as _policy_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetEvidenceRequest(_message.Message):
    __slots__ = ("selector", "since", "until")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    selector: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, selector: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetEvidenceResponse(_message.Message):
    __slots__ = ("node", "selector", "since", "until", "made_at", "revision", "members", "allowed", "denied", "changes", "loss", "membership_changes")
    NODE_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_CHANGES_FIELD_NUMBER: _ClassVar[int]
    node: str
    selector: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    made_at: _timestamp_pb2.Timestamp
    revision: str
    members: _containers.RepeatedCompositeFieldContainer[_groups_pb2.GroupMember]
    allowed: _containers.RepeatedCompositeFieldContainer[AllowedPair]
    denied: _containers.RepeatedCompositeFieldContainer[DeniedAttempt]
    changes: _containers.RepeatedCompositeFieldContainer[_policy_pb2.PolicyChange]
    loss: _flows_pb2.TelemetryLoss
    membership_changes: _containers.RepeatedCompositeFieldContainer[MembershipChange]
    def __init__(self, node: _Optional[str] = ..., selector: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[str] = ..., members: _Optional[_Iterable[_Union[_groups_pb2.GroupMember, _Mapping]]] = ..., allowed: _Optional[_Iterable[_Union[AllowedPair, _Mapping]]] = ..., denied: _Optional[_Iterable[_Union[DeniedAttempt, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[_policy_pb2.PolicyChange, _Mapping]]] = ..., loss: _Optional[_Union[_flows_pb2.TelemetryLoss, _Mapping]] = ..., membership_changes: _Optional[_Iterable[_Union[MembershipChange, _Mapping]]] = ...) -> None: ...

class AllowedPair(_message.Message):
    __slots__ = ("source", "destination", "service", "rule", "last_hit", "count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    LAST_HIT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    source: str
    destination: str
    service: str
    rule: str
    last_hit: _timestamp_pb2.Timestamp
    count: int
    def __init__(self, source: _Optional[str] = ..., destination: _Optional[str] = ..., service: _Optional[str] = ..., rule: _Optional[str] = ..., last_hit: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class DeniedAttempt(_message.Message):
    __slots__ = ("source", "destination", "service", "rule", "count", "first", "last")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    source: _flows_pb2.FlowEnd
    destination: _flows_pb2.FlowEnd
    service: str
    rule: str
    count: int
    first: _timestamp_pb2.Timestamp
    last: _timestamp_pb2.Timestamp
    def __init__(self, source: _Optional[_Union[_flows_pb2.FlowEnd, _Mapping]] = ..., destination: _Optional[_Union[_flows_pb2.FlowEnd, _Mapping]] = ..., service: _Optional[str] = ..., rule: _Optional[str] = ..., count: _Optional[int] = ..., first: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MembershipChange(_message.Message):
    __slots__ = ("workload", "change", "before", "after", "who", "when")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    workload: str
    change: str
    before: str
    after: str
    who: str
    when: _timestamp_pb2.Timestamp
    def __init__(self, workload: _Optional[str] = ..., change: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ..., who: _Optional[str] = ..., when: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
