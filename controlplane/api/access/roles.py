"""Which role each RPC needs. What is not in this table may not be called by anybody."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.intent import ApiRole

RANK = {role: rank for rank, role in enumerate(ApiRole)}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """``least`` is the weakest role that may call; ``changes``: the call is written to the audit
    log; ``whole_node``: not for callers that are limited to some VRFs; ``lasting``: a stream that
    ends when the caller ends it, so no deadline of ours applies."""

    least: ApiRole
    changes: bool = False
    whole_node: bool = False
    lasting: bool = False


_LOOK = AccessRule(ApiRole.VIEWER)
_WATCH = AccessRule(ApiRole.VIEWER, lasting=True)

_TAG = AccessRule(ApiRole.POLICY_EDITOR, changes=True)
_DECIDE = AccessRule(ApiRole.POLICY_EDITOR, changes=True, whole_node=True)
_ALL = AccessRule(ApiRole.VIEWER, whole_node=True)

RULES: dict[str, AccessRule] = {
    "/bulkhead.v1.Node/GetStatus": _LOOK,
    "/bulkhead.v1.Node/ShowVrfs": _LOOK,
    "/bulkhead.v1.Node/ShowNeighbors": _LOOK,
    "/bulkhead.v1.Node/ShowRoutes": _LOOK,
    "/bulkhead.v1.Node/ShowLabels": _LOOK,
    "/bulkhead.v1.Node/ShowNextHops": _LOOK,
    "/bulkhead.v1.Node/ShowPorts": _LOOK,
    "/bulkhead.v1.Node/ShowGuards": _LOOK,
    "/bulkhead.v1.Node/ShowCounters": AccessRule(ApiRole.VIEWER, whole_node=True),
    "/bulkhead.v1.Node/ClearNeighbor": AccessRule(ApiRole.OPERATOR, changes=True),
    "/bulkhead.v1.Node/Reload": AccessRule(ApiRole.ADMIN, changes=True, whole_node=True),
    # Tags decide what a policy means for a workload: setting them is editing policy.
    "/bulkhead.v1.Workloads/AttachWorkload": _TAG,
    "/bulkhead.v1.Workloads/DetachWorkload": _TAG,
    "/bulkhead.v1.Workloads/TagWorkload": _TAG,
    "/bulkhead.v1.Workloads/GetWorkload": _LOOK,
    "/bulkhead.v1.Workloads/ListWorkloads": _LOOK,
    "/bulkhead.v1.Workloads/WatchWorkloads": _WATCH,
    "/bulkhead.v1.Groups/ListGroups": _LOOK,
    "/bulkhead.v1.Groups/GetGroup": _LOOK,
    "/bulkhead.v1.Groups/TrySelector": _LOOK,
    "/bulkhead.v1.Groups/ListNetworkSets": _LOOK,
    # A document speaks of all VRFs.
    "/bulkhead.v1.Policy/CheckPolicy": _LOOK,
    "/bulkhead.v1.Policy/WhatIf": _ALL,
    "/bulkhead.v1.Policy/StagePolicy": _DECIDE,
    "/bulkhead.v1.Policy/UnstagePolicy": _DECIDE,
    "/bulkhead.v1.Policy/PromotePolicy": _DECIDE,
    "/bulkhead.v1.Policy/RollBackPolicy": _DECIDE,
    "/bulkhead.v1.Policy/DiffPolicies": _ALL,
    "/bulkhead.v1.Policy/ListRevisions": _ALL,
    "/bulkhead.v1.Policy/GetRevision": _ALL,
    "/bulkhead.v1.Policy/ListChanges": _ALL,
    "/bulkhead.v1.Policy/Explain": _LOOK,
    "/bulkhead.v1.Flows/QueryFlows": _LOOK,
    "/bulkhead.v1.Flows/WatchFlows": _WATCH,
    "/bulkhead.v1.Flows/GetMap": _LOOK,
    "/bulkhead.v1.Flows/RecordBaseline": AccessRule(
        ApiRole.POLICY_EDITOR, changes=True, whole_node=True
    ),
    "/bulkhead.v1.Flows/ListBaselines": _ALL,
    "/bulkhead.v1.Flows/Recommend": _ALL,
    "/bulkhead.v1.Evidence/GetEvidence": _ALL,
    "/bulkhead.v1.Selftest/RunSelftest": AccessRule(
        ApiRole.OPERATOR, changes=True, whole_node=True
    ),
    "/grpc.health.v1.Health/Check": _LOOK,
    "/grpc.health.v1.Health/List": _LOOK,
    "/grpc.health.v1.Health/Watch": _WATCH,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _WATCH,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _WATCH,
}


def allows(rule: AccessRule | None, role: ApiRole | None, *, limited: bool) -> bool:
    """Return True if a role may call what the rule is for; ``limited``: the caller has some VRFs
    only."""
    if rule is None or role is None or (rule.whole_node and limited):
        return False
    return RANK[role] >= RANK[rule.least]
