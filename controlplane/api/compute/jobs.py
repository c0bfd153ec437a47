"""The queries that compute workers answer, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from controlplane.api.answers import evidence, explanation, flows, groups, policies, workloads

JOBS: Mapping[str, Callable[..., Iterable[bytes]]] = {
    "CheckPolicy": policies.check_policy,
    "WhatIf": policies.what_if_enforced,
    "StagePolicy": policies.stage_policy,
    "refuse_lockouts": policies.refuse_lockouts,
    "DiffPolicies": policies.diff_policies,
    "document_of": policies.document_of,
    "Explain": explanation.explain_packet,
    "ListGroups": groups.list_groups,
    "GetGroup": groups.get_group,
    "TrySelector": groups.try_selector,
    "ListNetworkSets": groups.list_network_sets,
    "ListWorkloads": workloads.list_workloads,
    "QueryFlows": flows.query_flows,
    "watched_flows": flows.watched_flows,
    "GetMap": flows.get_map,
    "Recommend": flows.recommend_rules,
    "GetEvidence": evidence.get_evidence,
}
