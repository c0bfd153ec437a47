"""MGMT-3: no answer holds anything of a tenant that is not the caller's.

Every method of every service is called by callers limited to VRF red on a node that has a second
tenant, all of whose names, addresses and numbers are canaries. No byte of a response, of an error
text or of a trailer may be one. A method without a case here fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from bulkhead.v1 import evidence_pb2 as evidence
from bulkhead.v1 import flows_pb2 as flows
from bulkhead.v1 import groups_pb2 as groups
from bulkhead.v1 import node_pb2 as node
from bulkhead.v1 import policy_pb2 as policy
from bulkhead.v1 import selftest_pb2 as selftest
from bulkhead.v1 import workloads_pb2 as workloads
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from controlplane.api import server
from controlplane.api.access.caller import Caller
from controlplane.api.services.selftest_service import selftest_service
from controlplane.model import view as v
from controlplane.model.intent import ApiRole
from tests.unit.api import fake_node
from tests.unit.api.fake_node import FakeNode
from tests.unit.api.segment_serving import Desk, enforce, segment_desk
from tests.unit.api.test_roles import served_methods
from tests.unit.api.test_selftest_service import Runner

CANARIES = (b"indigo", b"172.31.", b"198.18.", b"31337")
ABSENT = "absent"
POLICY = """
name: both
groups:
  web: {id: 101, selector: tier=web}
  db: {id: 102, selector: tier=db}
  indigo-web: {id: 31337, selector: app=indigo-web}
  indigo-db: {id: 313370, selector: app=indigo-db}
networks:
  partners: [203.0.113.0/24]
  indigo-partners: [198.18.0.0/16, 203.0.113.0/24]
modes:
  groups: {indigo-db: full}
rules:
  security:
    - {rule: deny indigo-partners to indigo-db on tcp/22, name: indigo-ssh}
    - {rule: deny indigo-partners to any on tcp/23 in vrf indigo, name: indigo-telnet}
    - deny partners to workloads on tcp/22
  application:
    - {rule: allow indigo-web to indigo-db, name: indigo-db-rule}
    - allow web, indigo-web to db, indigo-db on tcp/443 in vrf red, indigo
    - allow app=indigo-web to app=indigo-db on tcp/1
"""
DRAFT = "name: indigo-draft\nrules: [allow any to any on tcp/31337]\n"
DENY_ALL = "rules: [deny any to any]"


class TwoTenants(FakeNode):
    """The rows of the second tenant are canaries."""

    def vrfs(self) -> Iterable[v.VrfView]:
        return [fake_node.vrf("red"), fake_node.vrf("indigo", rd="65000:31337")]

    def neighbors(self) -> Iterable[v.NeighborView]:
        return [fake_node.neighbor("red", "10.1.1.2"), fake_node.neighbor("indigo", "172.31.0.2")]

    def routes(self, wanted: v.RouteFilter) -> Iterator[v.RouteView]:
        rows = [fake_node.route("red", "10.2.0.0/16"), fake_node.route("indigo", "172.31.0.0/16")]
        return (row for row in rows if wanted.vrf in ("", row.vrf))

    def labels(self) -> Iterable[v.LabelView]:
        return [v.LabelView(label=1, vrf=vrf, table=1) for vrf in ("red", "indigo")]

    def next_hops(self) -> Iterable[v.NextHopView]:
        rows = (("red", "10.1.1.2"), ("indigo", "172.31.0.2"))
        return [v.NextHopView(id=1, address=a, reachable=True, paths=(), vrf=n) for n, a in rows]

    def ports(self) -> Iterable[v.PortView]:
        rows = (("red", "10.1.1.1/30"), ("indigo", "172.31.0.1/30"))
        return [
            v.PortView(name=f"ce-{n}", vrf=n, present=True, up=True, addresses=(a,))
            for n, a in rows
        ]

    def counters(self) -> Iterable[v.CounterView]:
        return [v.CounterView(name="routes", value=2, labels={"vrf": "indigo"})]

    async def guards(self) -> Iterable[v.GuardView]:
        return [
            v.GuardView(requirement="ACL-1", name="x", action="drop", packets=0, bytes=0,
                        vrf=vrf, port=f"ce-{vrf}") for vrf in ("red", "indigo")
        ]  # fmt: skip

    async def reload(self) -> v.ReloadReport:
        return v.ReloadReport(changes=("vrf indigo added",), warnings=("indigo",))


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


@dataclass
class Answer:
    """All that a caller gets of one call."""

    code: grpc.StatusCode
    said: bytes
    parts: tuple[bytes, ...]

    @property
    def text(self) -> bytes:
        return b"\0".join((self.said, *self.parts))


@dataclass
class World:
    desk: Desk
    channel: grpc.Channel
    streaming: dict[str, bool]
    digests: dict[str, str]

    def ask(self, method: str, request: Message) -> Answer:
        """Call with bytes; a lasting stream is left when it has said what it has to say."""
        name = method.rstrip("#")
        raw = self._filled(request)
        client = self.channel
        parts: list[bytes] = []
        if name.endswith("ServerReflectionInfo"):
            call = client.stream_stream(f"/{name}", bytes, bytes)(iter([raw]), timeout=10)
        elif self.streaming[name]:
            call = client.unary_stream(f"/{name}", bytes, bytes)(raw, timeout=10)
        else:
            return self._single(client, name, raw)
        with self._traffic(lasting="WatchFlows" in name):
            try:
                for part in call:
                    parts.append(part)
                    if _enough(name, part):
                        call.cancel()  # type: ignore[no-untyped-call]
                        break
            except grpc.RpcError:
                pass
        if call.code() is grpc.StatusCode.CANCELLED:
            return Answer(grpc.StatusCode.OK, b"", tuple(parts))
        return Answer(call.code(), _said(call), tuple(parts))

    def _single(self, client: grpc.Channel, name: str, raw: bytes) -> Answer:
        try:
            part, call = client.unary_unary(f"/{name}", bytes, bytes).with_call(raw, timeout=10)
        except grpc.RpcError as error:
            return Answer(error.code(), _said(error), ())
        return Answer(call.code(), _said(call), (part,))

    def _filled(self, request: Message) -> bytes:
        """The request, with digests for their names."""
        filled = type(request)()
        filled.CopyFrom(request)
        for field, value in request.ListFields():
            if isinstance(value, str) and value.strip("{}") in self.digests:
                setattr(filled, field.name, self.digests[value.strip("{}")])
        return bytes(filled.SerializeToString())

    @contextmanager
    def _traffic(self, lasting: bool) -> Iterator[None]:
        """Report flows of both tenants, the second one's first, while a client watches."""
        done = threading.Event()

        def send() -> None:
            while not done.wait(0.05):
                flow_of_both(self.desk)

        sender = threading.Thread(target=send)
        if lasting:
            sender.start()
        try:
            yield
        finally:
            done.set()
            if lasting:
                sender.join()


def _enough(name: str, part: bytes) -> bool:
    if name.endswith("WatchFlows"):
        return flows.WatchFlowsResponse.FromString(part).flow.vrf == "red"
    if name.endswith("WatchWorkloads"):
        return workloads.WatchWorkloadsResponse.FromString(part).event == 5
    return name.endswith(("Health/Watch", "ServerReflectionInfo"))


def _said(call: Any) -> bytes:
    trailers = [f"{key}=".encode() + _bytes(value) for key, value in call.trailing_metadata() or ()]
    initial = [f"{key}=".encode() + _bytes(value) for key, value in call.initial_metadata() or ()]
    return b"\0".join([(call.details() or "").encode(), *trailers, *initial])


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def flow_of_both(desk: Desk) -> None:
    desk.flow("198.18.0.9", "172.31.0.9", 22, vrf="indigo")
    desk.flow("172.31.0.8", "172.31.0.9", 443, vrf="indigo")
    desk.flow("172.31.0.8", "198.18.0.9", 80, vrf="indigo")
    desk.flow("10.0.0.1", "10.0.0.2", 443)
    desk.flow("203.0.113.9", "10.0.0.2", 23)
    desk.flow("10.0.0.1", "203.0.113.9", 80)


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    who = [Caller("uid:0", ApiRole.ADMIN, unpaced=True)]
    monkeypatch.setattr(server, "local_caller", lambda _peer: who[0])
    return who


@pytest.fixture
def world(tmp_path: Path, caller: list[Caller]) -> Iterator[World]:
    services = selftest_service(Runner())
    with segment_desk(tmp_path, services, "indigo", TwoTenants()) as desk:
        segment = desk.segment
        segment.attach("web", "red", "p1", ["10.0.0.1"], {"tier": "web"})
        segment.attach("db", "red", "p2", ["10.0.0.2"], {"tier": "db"})
        segment.attach("indigo-pay", "indigo", "q1", ["172.31.0.8"], {"app": "indigo-web"})
        segment.attach("indigo-db", "indigo", "q1", ["172.31.0.9"], {"app": "indigo-db"})
        enforced = enforce(desk, POLICY)
        segment.stage(DRAFT)
        draft = segment.revisions()[0].digest
        staged = segment.stage(POLICY.replace("name: both", "name: staged")).revision.digest
        flow_of_both(desk)
        digests = {"enforced": enforced, "staged": staged, "draft": draft}
        with desk.running.client() as client:
            streaming = {name: _streams(name) for name in served(client)}
            yield World(desk, client.channel, streaming, digests)


def served(client: Any) -> set[str]:
    return {method.removeprefix("/") for method in served_methods(client)}


def _streams(method: str) -> bool:
    service, _, name = method.partition("/")
    found = descriptor_pool.Default().FindServiceByName(service)
    return bool(found.FindMethodByName(name).server_streaming)


def canaries_in(text: bytes) -> list[bytes]:
    return [canary for canary in CANARIES if canary in text]


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
