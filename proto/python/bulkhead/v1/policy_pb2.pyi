import datetime

from bulkhead.v1 import flows_pb2 as _flows_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PolicyProblems(_message.Message):
    __slots__ = ("problems",)
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    problems: _containers.RepeatedCompositeFieldContainer[PolicyProblem]
    def __init__(self, problems: _Optional[_Iterable[_Union[PolicyProblem, _Mapping]]] = ...) -> None: ...

class PolicyProblem(_message.Message):
    __slots__ = ("path", "line", "problem", "cure")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    CURE_FIELD_NUMBER: _ClassVar[int]
    path: str
    line: int
    problem: str
    cure: str
    def __init__(self, path: _Optional[str] = ..., line: _Optional[int] = ..., problem: _Optional[str] = ..., cure: _Optional[str] = ...) -> None: ...

class CheckPolicyRequest(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: str
    def __init__(self, document: _Optional[str] = ...) -> None: ...

class CheckPolicyResponse(_message.Message):
    __slots__ = ("problems", "warnings", "revision")
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    problems: _containers.RepeatedCompositeFieldContainer[PolicyProblem]
    warnings: _containers.RepeatedCompositeFieldContainer[PolicyProblem]
    revision: str
    def __init__(self, problems: _Optional[_Iterable[_Union[PolicyProblem, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[PolicyProblem, _Mapping]]] = ..., revision: _Optional[str] = ...) -> None: ...

class WhatIfRequest(_message.Message):
    __slots__ = ("document", "revision", "baseline")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    document: str
    revision: str
    baseline: str
    def __init__(self, document: _Optional[str] = ..., revision: _Optional[str] = ..., baseline: _Optional[str] = ...) -> None: ...

class WhatIfResponse(_message.Message):
    __slots__ = ("flows", "pairs", "narrows", "broken_flows", "warnings", "opened_flows")
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    NARROWS_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FLOWS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    OPENED_FLOWS_FIELD_NUMBER: _ClassVar[int]
    flows: _containers.RepeatedCompositeFieldContainer[FlowChange]
    pairs: _containers.RepeatedCompositeFieldContainer[PairChange]
    narrows: bool
    broken_flows: int
    warnings: _containers.RepeatedCompositeFieldContainer[PolicyProblem]
    opened_flows: int
    def __init__(self, flows: _Optional[_Iterable[_Union[FlowChange, _Mapping]]] = ..., pairs: _Optional[_Iterable[_Union[PairChange, _Mapping]]] = ..., narrows: _Optional[bool] = ..., broken_flows: _Optional[int] = ..., warnings: _Optional[_Iterable[_Union[PolicyProblem, _Mapping]]] = ..., opened_flows: _Optional[int] = ...) -> None: ...

class FlowChange(_message.Message):
    __slots__ = ("flow", "before", "after")
    FLOW_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    flow: _flows_pb2.Flow
    before: _flows_pb2.Ruling
    after: _flows_pb2.Ruling
    def __init__(self, flow: _Optional[_Union[_flows_pb2.Flow, _Mapping]] = ..., before: _Optional[_Union[_flows_pb2.Ruling, _Mapping]] = ..., after: _Optional[_Union[_flows_pb2.Ruling, _Mapping]] = ...) -> None: ...

class PairChange(_message.Message):
    __slots__ = ("vrf", "source_groups", "destination_groups", "opened", "closed", "source_groups_before", "destination_groups_before")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_GROUPS_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GROUPS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_GROUPS_BEFORE_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    source_groups: _containers.RepeatedScalarFieldContainer[str]
    destination_groups: _containers.RepeatedScalarFieldContainer[str]
    opened: _containers.RepeatedScalarFieldContainer[str]
    closed: _containers.RepeatedScalarFieldContainer[str]
    source_groups_before: _containers.RepeatedScalarFieldContainer[str]
    destination_groups_before: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, vrf: _Optional[str] = ..., source_groups: _Optional[_Iterable[str]] = ..., destination_groups: _Optional[_Iterable[str]] = ..., opened: _Optional[_Iterable[str]] = ..., closed: _Optional[_Iterable[str]] = ..., source_groups_before: _Optional[_Iterable[str]] = ..., destination_groups_before: _Optional[_Iterable[str]] = ...) -> None: ...

class StagePolicyRequest(_message.Message):
    __slots__ = ("document", "revision", "reason", "allow_empty")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ALLOW_EMPTY_FIELD_NUMBER: _ClassVar[int]
    document: str
    revision: str
    reason: str
    allow_empty: bool
    def __init__(self, document: _Optional[str] = ..., revision: _Optional[str] = ..., reason: _Optional[str] = ..., allow_empty: _Optional[bool] = ...) -> None: ...

class StagePolicyResponse(_message.Message):
    __slots__ = ("revision", "warnings")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    warnings: _containers.RepeatedCompositeFieldContainer[PolicyProblem]
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[PolicyProblem, _Mapping]]] = ...) -> None: ...

class UnstagePolicyRequest(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class UnstagePolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DiffPoliciesRequest(_message.Message):
    __slots__ = ("before", "after")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    before: str
    after: str
    def __init__(self, before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class DiffPoliciesResponse(_message.Message):
    __slots__ = ("lines",)
    class Line(_message.Message):
        __slots__ = ("change", "subject", "before", "after")
        class Change(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            CHANGE_UNSPECIFIED: _ClassVar[DiffPoliciesResponse.Line.Change]
            CHANGE_ADDED: _ClassVar[DiffPoliciesResponse.Line.Change]
            CHANGE_REMOVED: _ClassVar[DiffPoliciesResponse.Line.Change]
            CHANGE_CHANGED: _ClassVar[DiffPoliciesResponse.Line.Change]
        CHANGE_UNSPECIFIED: DiffPoliciesResponse.Line.Change
        CHANGE_ADDED: DiffPoliciesResponse.Line.Change
        CHANGE_REMOVED: DiffPoliciesResponse.Line.Change
        CHANGE_CHANGED: DiffPoliciesResponse.Line.Change
        CHANGE_FIELD_NUMBER: _ClassVar[int]
        SUBJECT_FIELD_NUMBER: _ClassVar[int]
        BEFORE_FIELD_NUMBER: _ClassVar[int]
        AFTER_FIELD_NUMBER: _ClassVar[int]
        change: DiffPoliciesResponse.Line.Change
        subject: str
        before: str
        after: str
        def __init__(self, change: _Optional[_Union[DiffPoliciesResponse.Line.Change, str]] = ..., subject: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[DiffPoliciesResponse.Line]
    def __init__(self, lines: _Optional[_Iterable[_Union[DiffPoliciesResponse.Line, _Mapping]]] = ...) -> None: ...

class PromotePolicyRequest(_message.Message):
    __slots__ = ("expected", "reason")
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    expected: str
    reason: str
    def __init__(self, expected: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PromotePolicyResponse(_message.Message):
    __slots__ = ("enforced", "ended_flows", "enforced_after_microseconds")
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FLOWS_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_AFTER_MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    enforced: Revision
    ended_flows: int
    enforced_after_microseconds: int
    def __init__(self, enforced: _Optional[_Union[Revision, _Mapping]] = ..., ended_flows: _Optional[int] = ..., enforced_after_microseconds: _Optional[int] = ...) -> None: ...

class RollBackPolicyRequest(_message.Message):
    __slots__ = ("revision", "reason")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    revision: str
    reason: str
    def __init__(self, revision: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RollBackPolicyResponse(_message.Message):
    __slots__ = ("enforced", "ended_flows")
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FLOWS_FIELD_NUMBER: _ClassVar[int]
    enforced: Revision
    ended_flows: int
    def __init__(self, enforced: _Optional[_Union[Revision, _Mapping]] = ..., ended_flows: _Optional[int] = ...) -> None: ...

class Revision(_message.Message):
    __slots__ = ("digest", "name", "state", "rules", "groups", "problem", "last_change")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Revision.State]
        STATE_DRAFT: _ClassVar[Revision.State]
        STATE_STAGED: _ClassVar[Revision.State]
        STATE_ENFORCED: _ClassVar[Revision.State]
        STATE_SUPERSEDED: _ClassVar[Revision.State]
    STATE_UNSPECIFIED: Revision.State
    STATE_DRAFT: Revision.State
    STATE_STAGED: Revision.State
    STATE_ENFORCED: Revision.State
    STATE_SUPERSEDED: Revision.State
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    LAST_CHANGE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    name: str
    state: Revision.State
    rules: int
    groups: int
    problem: str
    last_change: PolicyChange
    def __init__(self, digest: _Optional[str] = ..., name: _Optional[str] = ..., state: _Optional[_Union[Revision.State, str]] = ..., rules: _Optional[int] = ..., groups: _Optional[int] = ..., problem: _Optional[str] = ..., last_change: _Optional[_Union[PolicyChange, _Mapping]] = ...) -> None: ...

class ListRevisionsRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListRevisionsResponse(_message.Message):
    __slots__ = ("revisions",)
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    revisions: _containers.RepeatedCompositeFieldContainer[Revision]
    def __init__(self, revisions: _Optional[_Iterable[_Union[Revision, _Mapping]]] = ...) -> None: ...

class GetRevisionRequest(_message.Message):
    __slots__ = ("revision",)
    REVISION_FIELD_NUMBER: _ClassVar[int]
    revision: str
    def __init__(self, revision: _Optional[str] = ...) -> None: ...

class GetRevisionResponse(_message.Message):
    __slots__ = ("revision", "document")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    revision: Revision
    document: str
    def __init__(self, revision: _Optional[_Union[Revision, _Mapping]] = ..., document: _Optional[str] = ...) -> None: ...

class ListChangesRequest(_message.Message):
    __slots__ = ("limit",)
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    limit: int
    def __init__(self, limit: _Optional[int] = ...) -> None: ...

class ListChangesResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[PolicyChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[PolicyChange, _Mapping]]] = ...) -> None: ...

class PolicyChange(_message.Message):
    __slots__ = ("move", "before", "after", "who", "when", "why")
    MOVE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    move: str
    before: str
    after: str
    who: str
    when: _timestamp_pb2.Timestamp
    why: str
    def __init__(self, move: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ..., who: _Optional[str] = ..., when: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., why: _Optional[str] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("vrf", "source", "destination", "service")
    VRF_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    vrf: str
    source: str
    destination: str
    service: str
    def __init__(self, vrf: _Optional[str] = ..., source: _Optional[str] = ..., destination: _Optional[str] = ..., service: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("ingress_port", "route_prefix", "route_target", "next_hop", "labels", "source", "destination", "enforced_steps", "enforced", "staged_steps", "staged", "reason", "vrf")
    INGRESS_PORT_FIELD_NUMBER: _ClassVar[int]
    ROUTE_PREFIX_FIELD_NUMBER: _ClassVar[int]
    ROUTE_TARGET_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_STEPS_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    STAGED_STEPS_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VRF_FIELD_NUMBER: _ClassVar[int]
    ingress_port: str
    route_prefix: str
    route_target: str
    next_hop: str
    labels: _containers.RepeatedScalarFieldContainer[int]
    source: _flows_pb2.FlowEnd
    destination: _flows_pb2.FlowEnd
    enforced_steps: _containers.RepeatedCompositeFieldContainer[ExplainStep]
    enforced: _flows_pb2.Ruling
    staged_steps: _containers.RepeatedCompositeFieldContainer[ExplainStep]
    staged: _flows_pb2.Ruling
    reason: str
    vrf: str
    def __init__(self, ingress_port: _Optional[str] = ..., route_prefix: _Optional[str] = ..., route_target: _Optional[str] = ..., next_hop: _Optional[str] = ..., labels: _Optional[_Iterable[int]] = ..., source: _Optional[_Union[_flows_pb2.FlowEnd, _Mapping]] = ..., destination: _Optional[_Union[_flows_pb2.FlowEnd, _Mapping]] = ..., enforced_steps: _Optional[_Iterable[_Union[ExplainStep, _Mapping]]] = ..., enforced: _Optional[_Union[_flows_pb2.Ruling, _Mapping]] = ..., staged_steps: _Optional[_Iterable[_Union[ExplainStep, _Mapping]]] = ..., staged: _Optional[_Union[_flows_pb2.Ruling, _Mapping]] = ..., reason: _Optional[str] = ..., vrf: _Optional[str] = ...) -> None: ...

class ExplainStep(_message.Message):
    __slots__ = ("tier", "rule", "sentence", "answer")
    TIER_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    tier: str
    rule: str
    sentence: str
    answer: str
    def __init__(self, tier: _Optional[str] = ..., rule: _Optional[str] = ..., sentence: _Optional[str] = ..., answer: _Optional[str] = ...) -> None: ...
