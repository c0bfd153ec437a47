"""What a request names and is not there is NOT_FOUND, in every method; never an empty OK."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.api.segment_serving import WEB, Desk, enforce

MODULES = (evidence, flows, groups, node, policy, selftest, workloads)

Place = str
"""`Flows/QueryFlows filter.vrf`: a field of a method's request."""

FREE: dict[Place, str] = {
    "Node/ShowRoutes prefix": "a table without this prefix is a good answer",
    "Workloads/AttachWorkload workload.name": "the name is given here",
    "Workloads/DetachWorkload name": "detached already: the call is idempotent",
    "Workloads/AttachWorkload workload.addresses": "given here",
    "Workloads/AttachWorkload workload.groups": "set by the node",
    "Workloads/AttachWorkload workload.conflicts": "set by the node",
    "Workloads/TagWorkload unset": "removed already: the call is idempotent",
    "Workloads/ListWorkloads selector": "a selector may choose no workload",
    "Workloads/WatchWorkloads selector": "a selector may choose no workload",
    "Groups/TrySelector selector": "a selector may choose no workload",
    "Evidence/GetEvidence selector": "a selector may choose no workload",
    "Policy/CheckPolicy document": "no name",
    "Policy/WhatIf document": "no name",
    "Policy/StagePolicy document": "no name",
    "Policy/StagePolicy reason": "no name",
    "Policy/UnstagePolicy reason": "no name",
    "Policy/PromotePolicy reason": "no name",
    "Policy/RollBackPolicy reason": "no name",
    "Policy/PromotePolicy expected": "ABORTED: what is staged is another one",
    "Policy/Explain source": "INVALID_ARGUMENT: neither an address nor a workload",
    "Policy/Explain destination": "INVALID_ARGUMENT: neither an address nor a workload",
    "Policy/Explain service": "INVALID_ARGUMENT",
    "Flows/QueryFlows filter.service": "INVALID_ARGUMENT",
    "Flows/WatchFlows filter.service": "INVALID_ARGUMENT",
    "Flows/GetMap filter.service": "INVALID_ARGUMENT",
    "Flows/RecordBaseline name": "the name is given here",
}
"""Fields of text that need not name something that is there, and why."""

BASE: dict[str, Callable[[], Any]] = {
    "Node/ClearNeighbor": lambda: node.ClearNeighborRequest(vrf="red", address="10.1.1.2"),
    "Workloads/AttachWorkload": lambda: workloads.AttachWorkloadRequest(
        workload=workloads.Workload(name="new", vrf="red", port="p1", addresses=["10.0.0.77"])
    ),
    "Workloads/TagWorkload": lambda: workloads.TagWorkloadRequest(name="web", set={"a": "b"}),
    "Groups/TrySelector": lambda: groups.TrySelectorRequest(selector="tier=web"),
    "Policy/Explain": lambda: policy.ExplainRequest(
        vrf="red", source=WEB, destination="10.0.0.2", service="tcp/443"
    ),
    "Policy/WhatIf": lambda: policy.WhatIfRequest(document="modes: {default: full}"),
    "Evidence/GetEvidence": lambda: evidence.GetEvidenceRequest(selector="tier=web"),
    "Groups/GetGroup": lambda: groups.GetGroupRequest(name="web"),
    "Flows/RecordBaseline": lambda: flows.RecordBaselineRequest(name="new"),
}
"""Requests to which one field is added; the others start from an empty one."""

ABSENT = {"neighbor": "192.0.2.250", "address": "192.0.2.250", "revision": "0" * 64,
          "before": "0" * 64, "after": "0" * 64}  # fmt: skip
THERE = {"vrf": "red", "neighbor": "10.1.1.2", "address": "10.1.1.2", "port": "p1",
         "source": "web", "destination": "payroll", "name": "web", "baseline": "kept"}  # fmt: skip


def fields(message: Descriptor, path: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    for field in message.fields:
        entry = field.message_type
        if entry is not None:
            is_time = entry.full_name == Timestamp.DESCRIPTOR.full_name
            if not is_time and not entry.GetOptions().map_entry:
                yield from fields(entry, f"{path}{field.name}.")
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield f"{path}{field.name}", field


def methods() -> Iterator[tuple[str, Descriptor, bool]]:
    for module in MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"{service.name}/{method.name}", method.input_type, method.server_streaming


PLACES = [f"{name} {path}" for name, message, _ in methods() for path, _ in fields(message)]
INPUTS = {name: (message, streaming) for name, message, streaming in methods()}


def with_field(place: Place, value: str) -> tuple[str, Message]:
    name, path = place.split()
    request = BASE[name]() if name in BASE else _new(name)
    *outer, last = path.split(".")
    part = request
    for each in outer:
        part = getattr(part, each)
    setattr(part, last, value)
    return name, request


def _new(name: str) -> Any:
    wanted = INPUTS[name][0].name
    module = next(m for m in MODULES if hasattr(m, wanted))
    return getattr(module, wanted)()


def code_of(desk: Desk, name: str, request: Message) -> tuple[grpc.StatusCode, str]:
    """Call with bytes; of a stream, until its first message."""
    raw = request.SerializeToString()
    with grpc.insecure_channel(f"unix:{desk.running.api.socket}") as channel:
        path = f"/bulkhead.v1.{name}"
        try:
            if not INPUTS[name][1]:
                channel.unary_unary(path, bytes, bytes)(raw, timeout=10)
            elif name == "Flows/WatchFlows":  # says nothing until there is a flow
                call = channel.unary_stream(path, bytes, bytes)(raw, timeout=1)
                list(call)
            else:
                next(iter(channel.unary_stream(path, bytes, bytes)(raw, timeout=10)), None)
        except grpc.RpcError as error:
            if name == "Flows/WatchFlows" and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return grpc.StatusCode.OK, ""
            return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


@pytest.fixture
def busy(company: Desk) -> Desk:
    enforce(company)
    company.flow(WEB, "10.0.0.2")
    company.segment.stage("modes: {default: full}")
    company.segment.record_baseline("kept")
    return company


NAMING = [place for place in PLACES if place not in FREE]


def test_every_field_was_thought_of() -> None:
    assert set(FREE) <= set(PLACES)
    assert len(NAMING) > 25


def test_what_is_not_there_is_not_found_in_every_method(busy: Desk) -> None:
    found = {}
    for place in NAMING:
        absent = ABSENT.get(place.rpartition(".")[2].split()[-1], "nosuch")
        found[place] = code_of(busy, *with_field(place, absent))
    wrong = {place: got for place, got in found.items() if got[0] is not grpc.StatusCode.NOT_FOUND}
    assert wrong == {}


def test_what_is_there_is_answered(busy: Desk) -> None:
    """The control: the same requests, with names that exist."""
    digest = next(r.digest for r in busy.segment.revisions() if r.state == r.STATE_ENFORCED)
    wrong = {}
    for place in NAMING:
        name = THERE.get(place.rpartition(".")[2].split()[-1], digest)
        code, text = code_of(busy, *with_field(place, name))
        if code is not grpc.StatusCode.OK:
            wrong[place] = (code, text)
    assert wrong == {}


SPANNING = [
    name
    for name, message, _ in methods()
    if {"since", "filter"} & {field.name for field in message.fields}
]


@pytest.mark.parametrize("method", SPANNING)
def test_since_after_until_is_an_invalid_argument(busy: Desk, method: str) -> None:
    request = BASE[method]() if method in BASE else _new(method)
    span = getattr(request, "filter", request)
    span.since.FromSeconds(200)
    span.until.FromSeconds(100)
    code, text = code_of(busy, method, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "since" in text
    span.until.FromSeconds(300)
    assert code_of(busy, method, request)[0] is grpc.StatusCode.OK


def test_an_address_is_found_however_it_is_written(busy: Desk) -> None:
    busy.flow("2001:db8::5", "2001:db8::6")
    wish = flows.FlowFilter(source="2001:DB8:0::5")
    assert sum(len(piece.flows) for piece in busy.segment.query_flows(wish)) == 1


def test_a_neighbour_of_another_vrf_is_not_found(busy: Desk) -> None:
    ask = node.ShowRoutesRequest(vrf="red", neighbor="10.255.0.2")
    assert code_of(busy, "Node/ShowRoutes", ask)[0] is grpc.StatusCode.OK, "a peer of the core"
    ask = node.ShowRoutesRequest(vrf="blue", neighbor="192.0.2.1")
    assert code_of(busy, "Node/ShowRoutes", ask)[0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "method", ["Workloads/ListWorkloads", "Workloads/WatchWorkloads", "Groups/TrySelector",
               "Evidence/GetEvidence"],
)  # fmt: skip
@pytest.mark.parametrize("terms", [8_000, 20_000, 200_000])
def test_a_selector_of_thousands_of_terms_is_refused_at_once(
    busy: Desk, method: str, terms: int
) -> None:
    request = _new(method)
    request.selector = " or ".join(["a=b"] * terms)
    began = time.monotonic()
    code, text = code_of(busy, method, request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most" in text
    assert time.monotonic() - began < 2
