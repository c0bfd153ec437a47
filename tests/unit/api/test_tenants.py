"""MGMT-3: no answer holds anything of a tenant that is not the caller's.

Every method of every service is called by callers limited to VRF red on a node that has a second
tenant, all of whose names, addresses and numbers are canaries. No byte of a response, of an error
text or of a trailer may be one. A method without a case here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bulkhead.v1 import evidence_pb2 as evidence
from bulkhead.v1 import flows_pb2 as flows
from bulkhead.v1 import groups_pb2 as groups
from bulkhead.v1 import node_pb2 as node
from bulkhead.v1 import policy_pb2 as policy
from bulkhead.v1 import selftest_pb2 as selftest
from bulkhead.v1 import workloads_pb2 as workloads
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from controlplane.api import server
from controlplane.api.access.caller import Caller
from controlplane.model.intent import ApiRole
from tests.unit.api.two_tenants import World, canaries_in, two_tenants

ABSENT = "absent"
DENY_ALL = "rules: [deny any to any]"


CASES: dict[str, list[Message]] = {
    "bulkhead.v1.Node/GetStatus": [node.GetStatusRequest()],
    "bulkhead.v1.Node/ShowVrfs": [node.ShowVrfsRequest()],
    "bulkhead.v1.Node/ShowNeighbors": [node.ShowNeighborsRequest(vrf=n) for n in ("", "red")],
    "bulkhead.v1.Node/ShowRoutes": [
        node.ShowRoutesRequest(),
        node.ShowRoutesRequest(prefix="0.0.0.0/0", longer=True, all_paths=True),
    ],
    "bulkhead.v1.Node/ShowLabels": [node.ShowLabelsRequest()],
    "bulkhead.v1.Node/ShowNextHops": [node.ShowNextHopsRequest()],
    "bulkhead.v1.Node/ShowPorts": [node.ShowPortsRequest()],
    "bulkhead.v1.Node/ShowGuards": [node.ShowGuardsRequest()],
    "bulkhead.v1.Node/ShowCounters": [node.ShowCountersRequest()],
    "bulkhead.v1.Node/ClearNeighbor": [node.ClearNeighborRequest(vrf="red", address="10.1.1.9")],
    "bulkhead.v1.Node/Reload": [node.ReloadRequest()],
    "bulkhead.v1.Workloads/AttachWorkload": [
        workloads.AttachWorkloadRequest(workload=workloads.Workload(
            name="w", vrf="red", port=port, addresses=["10.0.0.9"])) for port in ("p1", "p9")
    ],
    "bulkhead.v1.Workloads/DetachWorkload": [workloads.DetachWorkloadRequest(name="w")],
    "bulkhead.v1.Workloads/TagWorkload": [
        workloads.TagWorkloadRequest(name="web", set={"env": "prod"})
    ],
    "bulkhead.v1.Workloads/GetWorkload": [workloads.GetWorkloadRequest(name="web")],
    "bulkhead.v1.Workloads/ListWorkloads": [
        workloads.ListWorkloadsRequest(),
        workloads.ListWorkloadsRequest(selector="has app"),
    ],
    "bulkhead.v1.Workloads/WatchWorkloads": [workloads.WatchWorkloadsRequest()],
    "bulkhead.v1.Groups/ListGroups": [
        groups.ListGroupsRequest(revision=r) for r in ("", "{enforced}", "{staged}", "{draft}")
    ],
    "bulkhead.v1.Groups/GetGroup": [groups.GetGroupRequest(name=n) for n in ("web", "db")],
    "bulkhead.v1.Groups/TrySelector": [groups.TrySelectorRequest(selector="has app or has tier")],
    "bulkhead.v1.Groups/ListNetworkSets": [
        groups.ListNetworkSetsRequest(revision=r) for r in ("", "{enforced}", "{staged}", "{draft}")
    ],
    "bulkhead.v1.Policy/CheckPolicy": [
        policy.CheckPolicyRequest(document=text) for text in (DENY_ALL, "rules: []", "rules: x")
    ],
    "bulkhead.v1.Policy/WhatIf": [policy.WhatIfRequest(document=DENY_ALL)],
    "bulkhead.v1.Policy/StagePolicy": [policy.StagePolicyRequest(document=DENY_ALL)],
    "bulkhead.v1.Policy/UnstagePolicy": [policy.UnstagePolicyRequest()],
    "bulkhead.v1.Policy/PromotePolicy": [policy.PromotePolicyRequest()],
    "bulkhead.v1.Policy/RollBackPolicy": [policy.RollBackPolicyRequest()],
    "bulkhead.v1.Policy/DiffPolicies": [policy.DiffPoliciesRequest(after="{draft}")],
    "bulkhead.v1.Policy/ListRevisions": [policy.ListRevisionsRequest()],
    "bulkhead.v1.Policy/GetRevision": [policy.GetRevisionRequest(revision="{draft}")],
    "bulkhead.v1.Policy/ListChanges": [policy.ListChangesRequest()],
    "bulkhead.v1.Policy/Explain": [
        policy.ExplainRequest(vrf="red", source=a, destination=b, service=f"tcp/{port}")
        for a, b in (("web", "10.0.0.2"), ("203.0.113.9", "web"), ("198.51.100.1", "10.0.0.2"))
        for port in (1, 22, 23, 443)
    ],
    "bulkhead.v1.Flows/QueryFlows": [
        flows.QueryFlowsRequest(),
        flows.QueryFlowsRequest(filter=flows.FlowFilter(vrf="red")),
    ],
    "bulkhead.v1.Flows/WatchFlows": [flows.WatchFlowsRequest()],
    "bulkhead.v1.Flows/GetMap": [flows.GetMapRequest()],
    "bulkhead.v1.Flows/RecordBaseline": [flows.RecordBaselineRequest(name="b")],
    "bulkhead.v1.Flows/ListBaselines": [flows.ListBaselinesRequest()],
    "bulkhead.v1.Flows/Recommend": [flows.RecommendRequest()],
    "bulkhead.v1.Evidence/GetEvidence": [
        evidence.GetEvidenceRequest(selector="has tier or has app")
    ],
    "bulkhead.v1.Selftest/RunSelftest": [selftest.RunSelftestRequest()],
    "grpc.health.v1.Health/Check": [health_pb2.HealthCheckRequest()],
    "grpc.health.v1.Health/List": [health_pb2.HealthListRequest()],
    "grpc.health.v1.Health/Watch": [health_pb2.HealthCheckRequest()],
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": [
        reflection_pb2.ServerReflectionRequest(list_services="")
    ],
}  # fmt: skip

SILENT = {
    "bulkhead.v1.Node/GetStatus", "bulkhead.v1.Node/ClearNeighbor",
    "bulkhead.v1.Workloads/AttachWorkload", "bulkhead.v1.Workloads/DetachWorkload",
    "bulkhead.v1.Workloads/TagWorkload", "bulkhead.v1.Workloads/GetWorkload",
    "bulkhead.v1.Groups/GetGroup", "bulkhead.v1.Policy/UnstagePolicy",
    "bulkhead.v1.Policy/PromotePolicy", "bulkhead.v1.Policy/RollBackPolicy",
    "bulkhead.v1.Policy/ListChanges", "bulkhead.v1.Flows/RecordBaseline",
    "bulkhead.v1.Flows/ListBaselines", "bulkhead.v1.Selftest/RunSelftest",
    "grpc.health.v1.Health/Check", "grpc.health.v1.Health/List", "grpc.health.v1.Health/Watch",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
}  # fmt: skip
"""Methods whose answers to the requests above name no second tenant, for any caller."""

NAMING: dict[str, Callable[[str], Message]] = {
    "bulkhead.v1.Node/ShowNeighbors": lambda n: node.ShowNeighborsRequest(vrf=n),
    "bulkhead.v1.Node/ShowRoutes": lambda n: node.ShowRoutesRequest(vrf=n),
    "bulkhead.v1.Node/ShowGuards": lambda n: node.ShowGuardsRequest(vrf=n),
    "bulkhead.v1.Node/ClearNeighbor": lambda n: node.ClearNeighborRequest(
        vrf=n, address="172.31.0.2"
    ),
    "bulkhead.v1.Workloads/AttachWorkload": lambda n: workloads.AttachWorkloadRequest(
        workload=workloads.Workload(name="x", vrf=n, port="q1", addresses=["172.31.0.9"])
    ),
    "bulkhead.v1.Workloads/TagWorkload": lambda n: workloads.TagWorkloadRequest(
        name=f"{n}-pay", set={"env": "prod"}
    ),
    "bulkhead.v1.Workloads/GetWorkload": lambda n: workloads.GetWorkloadRequest(name=f"{n}-pay"),
    "bulkhead.v1.Workloads/ListWorkloads": lambda n: workloads.ListWorkloadsRequest(vrf=n),
    "bulkhead.v1.Groups/GetGroup": lambda n: groups.GetGroupRequest(name=f"{n}-db"),
    "bulkhead.v1.Groups/ListGroups": lambda n: groups.ListGroupsRequest(
        revision="{draft}" if n == "indigo" else "0" * 64
    ),
    "bulkhead.v1.Groups/TrySelector": lambda n: groups.TrySelectorRequest(
        selector=f"app={n}-db", vrf=n
    ),
    "bulkhead.v1.Policy/Explain": lambda n: policy.ExplainRequest(
        source=f"{n}-pay", destination="10.0.0.1", service="tcp/1"
    ),
    "bulkhead.v1.Policy/Explain#": lambda n: policy.ExplainRequest(
        vrf=n, source="172.31.0.9", destination="172.31.0.8", service="tcp/1"
    ),
    "bulkhead.v1.Policy/Explain##": lambda n: policy.ExplainRequest(
        vrf="red", source=f"{n}-pay", destination="10.0.0.1", service="tcp/1"
    ),
    "bulkhead.v1.Flows/QueryFlows": lambda n: flows.QueryFlowsRequest(
        filter=flows.FlowFilter(vrf=n)
    ),
    "bulkhead.v1.Flows/GetMap": lambda n: flows.GetMapRequest(filter=flows.FlowFilter(vrf=n)),
}
"""Requests that name something of the second tenant: answered as if it did not exist."""


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    who = [Caller("uid:0", ApiRole.ADMIN, unpaced=True)]
    monkeypatch.setattr(server, "local_caller", lambda _peer: who[0])
    return who


@pytest.fixture
def world(tmp_path: Path, caller: list[Caller]) -> Iterator[World]:
    assert caller, "who asks is set before the node serves"
    with two_tenants(tmp_path) as made:
        yield made


LIMITED = (
    Caller("viewer", ApiRole.VIEWER, frozenset({"red"}), unpaced=True),
    Caller("admin", ApiRole.ADMIN, frozenset({"red"}), unpaced=True),
)


@pytest.mark.parametrize("limited", LIMITED, ids=lambda caller: caller.identity)
def test_no_answer_holds_anything_of_another_tenant(
    world: World, caller: list[Caller], limited: Caller
) -> None:
    assert set(world.streaming) == set(CASES), "a method without a case, or a case without one"
    caller[0] = limited
    found = {}
    for method, requests in CASES.items():
        for number, request in enumerate(requests):
            answer = world.ask(method, request)
            if canaries := canaries_in(answer.text):
                found[method, number] = (canaries, answer.text)
    assert found == {}


def test_control_the_whole_node_has_them(world: World) -> None:
    holding = {
        method
        for method, requests in CASES.items()
        if any(canaries_in(world.ask(method, request).text) for request in requests)
    }
    assert holding == set(CASES) - SILENT


@pytest.mark.parametrize("limited", LIMITED, ids=lambda caller: caller.identity)
def test_what_is_another_tenants_is_answered_like_what_does_not_exist(
    world: World, caller: list[Caller], limited: Caller
) -> None:
    caller[0] = limited
    found = {}
    for method, request in NAMING.items():
        theirs, absent = (world.ask(method, request(name)) for name in ("indigo", ABSENT))
        draft = world.digests["draft"].encode()
        same = theirs.text.replace(draft, b"0" * 64).replace(b"indigo", ABSENT.encode())
        if (theirs.code, same) != (absent.code, absent.text):
            found[method] = (theirs.code, theirs.text, absent.code, absent.text)
    assert found == {}


def test_a_member_of_the_own_vrf_is_still_seen_in_a_group_of_both(
    world: World, caller: list[Caller]
) -> None:
    """Control: the filter takes away what is the second tenant's and nothing else."""
    caller[0] = LIMITED[0]
    answer = world.ask("bulkhead.v1.Groups/ListGroups", groups.ListGroupsRequest())
    listed = groups.ListGroupsResponse.FromString(answer.parts[0])
    assert {group.name for group in listed.groups} == {"web", "db"}
    answer = world.ask("bulkhead.v1.Groups/ListNetworkSets", groups.ListNetworkSetsRequest())
    sets = groups.ListNetworkSetsResponse.FromString(answer.parts[0])
    assert [each.name for each in sets.network_sets] == ["partners"]
    explained = policy.ExplainResponse.FromString(
        world.ask("bulkhead.v1.Policy/Explain", policy.ExplainRequest(
            vrf="red", source="web", destination="db", service="tcp/443")).parts[0]
    )  # fmt: skip
    assert explained.enforced.allowed
    assert explained.reason.startswith("rule application/")
    assert "web to db on tcp/443 in vrf red" in explained.reason
