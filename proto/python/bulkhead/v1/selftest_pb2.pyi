from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunSelftestRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RunSelftestResponse(_message.Message):
    __slots__ = ("node", "version", "kernel", "config_file", "config_digest", "began_unix", "ended_unix", "trials", "held", "not_held", "unproven", "not_tested", "passed")
    NODE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FILE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BEGAN_UNIX_FIELD_NUMBER: _ClassVar[int]
    ENDED_UNIX_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    NOT_HELD_FIELD_NUMBER: _ClassVar[int]
    UNPROVEN_FIELD_NUMBER: _ClassVar[int]
    NOT_TESTED_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    node: str
    version: str
    kernel: str
    config_file: str
    config_digest: str
    began_unix: float
    ended_unix: float
    trials: _containers.RepeatedCompositeFieldContainer[Trial]
    held: int
    not_held: int
    unproven: int
    not_tested: int
    passed: bool
    def __init__(self, node: _Optional[str] = ..., version: _Optional[str] = ..., kernel: _Optional[str] = ..., config_file: _Optional[str] = ..., config_digest: _Optional[str] = ..., began_unix: _Optional[float] = ..., ended_unix: _Optional[float] = ..., trials: _Optional[_Iterable[_Union[Trial, _Mapping]]] = ..., held: _Optional[int] = ..., not_held: _Optional[int] = ..., unproven: _Optional[int] = ..., not_tested: _Optional[int] = ..., passed: _Optional[bool] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("requirement", "sent", "family", "verdict", "evidence", "counter", "packets_before", "packets_after")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[Trial.Verdict]
        VERDICT_HELD: _ClassVar[Trial.Verdict]
        VERDICT_NOT_HELD: _ClassVar[Trial.Verdict]
        VERDICT_UNPROVEN: _ClassVar[Trial.Verdict]
        VERDICT_NOT_TESTED: _ClassVar[Trial.Verdict]
    VERDICT_UNSPECIFIED: Trial.Verdict
    VERDICT_HELD: Trial.Verdict
    VERDICT_NOT_HELD: Trial.Verdict
    VERDICT_UNPROVEN: Trial.Verdict
    VERDICT_NOT_TESTED: Trial.Verdict
    REQUIREMENT_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    PACKETS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    PACKETS_AFTER_FIELD_NUMBER: _ClassVar[int]
    requirement: str
    sent: str
    family: int
    verdict: Trial.Verdict
    evidence: str
    counter: str
    packets_before: int
    packets_after: int
    def __init__(self, requirement: _Optional[str] = ..., sent: _Optional[str] = ..., family: _Optional[int] = ..., verdict: _Optional[_Union[Trial.Verdict, str]] = ..., evidence: _Optional[str] = ..., counter: _Optional[str] = ..., packets_before: _Optional[int] = ..., packets_after: _Optional[int] = ...) -> None: ...
