from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Group(_message.Message):
    __slots__ = ("name", "id", "selector", "implicit", "mode", "local_members", "remote_members")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    IMPLICIT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LOCAL_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOTE_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    id: int
    selector: str
    implicit: bool
    mode: str
    local_members: int
    remote_members: int
    def __init__(self, name: _Optional[str] = ..., id: _Optional[int] = ..., selector: _Optional[str] = ..., implicit: _Optional[bool] = ..., mode: _Optional[str] = ..., local_members: _Optional[int] = ..., remote_members: _Optional[int] = ...) -> None: ...

class GroupMember(_message.Message):
    __slots__ = ("workload", "vrf", "prefixes", "node")
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    workload: str
    vrf: str
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    node: str
    def __init__(self, workload: _Optional[str] = ..., vrf: _Optional[str] = ..., prefixes: _Optional[_Iterable[str]] = ..., node: _Optional[str] = ...) -> None: ...

class NetworkSet(_message.Message):
    __slots__ = ("name", "prefixes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREFIXES_FIELD_NUMBER: _ClassVar[int]
    name: str
    prefixes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., prefixes: _Optional[_Iterable[str]] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: str
    def __init__(self, revision: _Optional[str] = ...) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, groups: _Optional[_Iterable[_Union[Group, _Mapping]]] = ...) -> None: ...

class GetGroupRequest(_message.Message):
    __slots__ = ("name", "revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ...) -> None: ...

class GetGroupResponse(_message.Message):
    __slots__ = ("group", "members")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    group: Group
    members: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, group: _Optional[_Union[Group, _Mapping]] = ..., members: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class TrySelectorRequest(_message.Message):
    __slots__ = ("selector", "vrf")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    selector: str
    vrf: str
    def __init__(self, selector: _Optional[str] = ..., vrf: _Optional[str] = ...) -> None: ...

class TrySelectorResponse(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[GroupMember]
    def __init__(self, members: _Optional[_Iterable[_Union[GroupMember, _Mapping]]] = ...) -> None: ...

class ListNetworkSetsRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: str
    def __init__(self, revision: _Optional[str] = ...) -> None: ...

class ListNetworkSetsResponse(_message.Message):
    __slots__ = ("network_sets",)
    NETWORK_SETS_FIELD_NUMBER: _ClassVar[int]
    network_sets: _containers.RepeatedCompositeFieldContainer[NetworkSet]
    def __init__(self, network_sets: _Optional[_Iterable[_Union[NetworkSet, _Mapping]]] = ...) -> None: ...
