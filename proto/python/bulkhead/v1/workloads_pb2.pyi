import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Workload(_message.Message):
    __slots__ = ("name", "vrf", "port", "addresses", "tags", "generation", "groups", "attached_at", "configured", "conflicts")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_AT_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    vrf: str
    port: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.ScalarMap[str, str]
    generation: int
    groups: _containers.RepeatedScalarFieldContainer[str]
    attached_at: _timestamp_pb2.Timestamp
    configured: bool
    conflicts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., vrf: _Optional[str] = ..., port: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., tags: _Optional[_Mapping[str, str]] = ..., generation: _Optional[int] = ..., groups: _Optional[_Iterable[str]] = ..., attached_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., configured: _Optional[bool] = ..., conflicts: _Optional[_Iterable[str]] = ...) -> None: ...

class AttachWorkloadRequest(_message.Message):
    __slots__ = ("workload",)
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    workload: Workload
    def __init__(self, workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...

class AttachWorkloadResponse(_message.Message):
    __slots__ = ("workload", "enforced", "removed", "warning")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    workload: Workload
    enforced: bool
    removed: _containers.RepeatedScalarFieldContainer[str]
    warning: str
    def __init__(self, workload: _Optional[_Union[Workload, _Mapping]] = ..., enforced: _Optional[bool] = ..., removed: _Optional[_Iterable[str]] = ..., warning: _Optional[str] = ...) -> None: ...

class DetachWorkloadRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DetachWorkloadResponse(_message.Message):
    __slots__ = ("detached", "held_down", "hold_down_seconds")
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    HELD_DOWN_FIELD_NUMBER: _ClassVar[int]
    HOLD_DOWN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    detached: bool
    held_down: _containers.RepeatedScalarFieldContainer[str]
    hold_down_seconds: int
    def __init__(self, detached: _Optional[bool] = ..., held_down: _Optional[_Iterable[str]] = ..., hold_down_seconds: _Optional[int] = ...) -> None: ...

class TagWorkloadRequest(_message.Message):
    __slots__ = ("name", "set", "unset", "expected_generation")
    class SetEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    UNSET_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    set: _containers.ScalarMap[str, str]
    unset: _containers.RepeatedScalarFieldContainer[str]
    expected_generation: int
    def __init__(self, name: _Optional[str] = ..., set: _Optional[_Mapping[str, str]] = ..., unset: _Optional[_Iterable[str]] = ..., expected_generation: _Optional[int] = ...) -> None: ...

class TagWorkloadResponse(_message.Message):
    __slots__ = ("workload",)
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    workload: Workload
    def __init__(self, workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...

class GetWorkloadRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetWorkloadResponse(_message.Message):
    __slots__ = ("workload",)
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    workload: Workload
    def __init__(self, workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...

class ListWorkloadsRequest(_message.Message):
    __slots__ = ("vrf", "selector")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    selector: str
    def __init__(self, vrf: _Optional[str] = ..., selector: _Optional[str] = ...) -> None: ...

class ListWorkloadsResponse(_message.Message):
    __slots__ = ("workloads",)
    WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    workloads: _containers.RepeatedCompositeFieldContainer[Workload]
    def __init__(self, workloads: _Optional[_Iterable[_Union[Workload, _Mapping]]] = ...) -> None: ...

class WatchWorkloadsRequest(_message.Message):
    __slots__ = ("vrf", "selector")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    selector: str
    def __init__(self, vrf: _Optional[str] = ..., selector: _Optional[str] = ...) -> None: ...

class WatchWorkloadsResponse(_message.Message):
    __slots__ = ("event", "workload")
    class Event(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EVENT_UNSPECIFIED: _ClassVar[WatchWorkloadsResponse.Event]
        EVENT_PRESENT: _ClassVar[WatchWorkloadsResponse.Event]
        EVENT_ATTACHED: _ClassVar[WatchWorkloadsResponse.Event]
        EVENT_CHANGED: _ClassVar[WatchWorkloadsResponse.Event]
        EVENT_DETACHED: _ClassVar[WatchWorkloadsResponse.Event]
        EVENT_SYNCED: _ClassVar[WatchWorkloadsResponse.Event]
    EVENT_UNSPECIFIED: WatchWorkloadsResponse.Event
    EVENT_PRESENT: WatchWorkloadsResponse.Event
    EVENT_ATTACHED: WatchWorkloadsResponse.Event
    EVENT_CHANGED: WatchWorkloadsResponse.Event
    EVENT_DETACHED: WatchWorkloadsResponse.Event
    EVENT_SYNCED: WatchWorkloadsResponse.Event
    EVENT_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    event: WatchWorkloadsResponse.Event
    workload: Workload
    def __init__(self, event: _Optional[_Union[WatchWorkloadsResponse.Event, str]] = ..., workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...
