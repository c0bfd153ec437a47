"""Any message for every method of every service: a precise status, and a node that is still sane.

Messages are made from the contract's own descriptors, so that a method that is added is fuzzed
from then on. Their texts are words that mean something here, a little wrong now and then: a random
text is refused at the first look, and nothing behind that look is ever reached.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.api.access.audit_chain import first_break
from controlplane.api.access.roles import RULES
from controlplane.api.services.selftest_service import selftest_service
from controlplane.model.revision import State
from controlplane.policy.endpoints.registry import places
from tests.unit.api.segment_serving import POLICY, Desk, segment_desk
from tests.unit.api.test_selftest_service import Runner

Code = grpc.StatusCode
PRECISE = {
    Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION,
    Code.ABORTED, Code.RESOURCE_EXHAUSTED,
}  # fmt: skip
UNSERVED = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
}
"""Of the contracts that gRPC's packages bring along, what they do not serve."""
FOLLOWED_SECONDS = 0.2
"""A stream without an end is left after so long."""

WORDS = (
    "", "red", "blue", "green", "p1", "p2", "q1", "web1", "db1", "10.0.0.1", "10.0.0.2",
    "10.0.0.0/24", "0.0.0.0/0", "::1", "2001:db8::/64", "192.0.2.2", "1.2.3.4.5", "fe80::1%p1",
    "tier=web", "tier in (web, app) and not env=prod", "(((", "app=payroll", "*", "tcp/443",
    "udp/1-9", "icmp/echo-request", "tcp/99999", "any", "web", "payroll", "partners", "base",
    "application",
    POLICY, POLICY.replace("443", "80"), "rules: [allow any to any]", "rules: [allow x to y]", "{",
    "modes: {groups: {web: full}}", "a" * 300, "\0", "x\ny", "é", "'; drop", "../../etc/passwd",
    "bulkhead.v1.Node", "bulkhead.v1", "node.proto",
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 1)),
    FieldDescriptor.CPPTYPE_UINT64: st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1)),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 12),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Values of a field, one at a time."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return messages(cast(Descriptor, field.message_type))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return TEXT
    return NUMBERS[field.cpp_type]


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor) -> Message:
    """Messages of a type; a field in two is left out."""
    made: Message = message_factory.GetMessageClass(kind)()
    for field in kind.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type and field.message_type.GetOptions().map_entry:
            _fill_map(draw, getattr(made, field.name), field.message_type)
        elif field.is_repeated:
            found = draw(st.lists(values(field), max_size=3))
            getattr(made, field.name).extend(found)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            getattr(made, field.name).CopyFrom(draw(values(field)))
        else:
            setattr(made, field.name, draw(values(field)))
    return made


def _fill_map(draw: st.DrawFn, held: Any, entry: Descriptor) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for name in draw(st.lists(values(key), max_size=3)):
        held[name] = draw(values(value))


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method of the contract, and a request for it."""
    method = draw(st.sampled_from(sorted(RULES.keys() - UNSERVED)))
    service, _, name = method[1:].rpartition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    return method, draw(messages(found.input_type)).SerializeToString()


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    selftests = selftest_service(Runner())
    with (
        tempfile.TemporaryDirectory() as folder,
        segment_desk(Path(folder), selftests) as found,
    ):
        found.running.api._rate.rate = found.running.api._rate.burst = 1e9
        yield found


def status(channel: grpc.Channel, method: str, request: bytes) -> grpc.StatusCode:
    """How a call ends; a stream that goes on and on is left, which counts as OK."""
    lasting = RULES[method].lasting
    call = channel.stream_stream(method, bytes, bytes)
    try:
        for _ in call(iter([request]), timeout=FOLLOWED_SECONDS if lasting else 20):
            pass
    except grpc.RpcError as error:
        code = cast(grpc.Call, error).code()
        return Code.OK if lasting and code is Code.DEADLINE_EXCEEDED else code
    return Code.OK


def broken(desk: Desk) -> Iterator[str]:
    """Yield each invariant that does not hold; they hold after any requests."""
    policy = desk.policy.state
    states = [s for r in policy.ledger.revisions if (s := _state(desk, r))]
    for state in (State.ENFORCED, State.STAGED):
        if states.count(state) > 1:
            yield f"{states.count(state)} revisions are {state}"
    ports = {vrf.name: {p.name for p in vrf.ports} for vrf in desk.running.intent.vrfs}
    attached = [a.workload for a in policy.population.attachments.values()]
    yield from (f"{w} is nowhere" for w in attached if w.port not in ports.get(w.vrf, ()))
    held = list(chain.from_iterable(map(places, attached)))
    if len(held) != len(set(held)):
        yield "two workloads have one address"
    if first_break(desk.running.audit_lines) is not None:
        yield "the chain of the audit log is broken"
    yield from (f"{fields}" for event, fields in desk.running.notes.lines
                if event == "api_call_failed")  # fmt: skip


def _state(desk: Desk, digest: str) -> State | None:
    ledger = desk.policy.state.ledger
    both = (State.ENFORCED, State.STAGED)
    return next((s for s in both if (r := ledger.in_state(s)) and r.digest == digest), None)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow,
                           HealthCheck.data_too_large],
)  # fmt: skip
@given(st.lists(calls(), min_size=1, max_size=4))
def test_any_message_of_every_method(desk: Desk, made: list[tuple[str, bytes]]) -> None:
    with desk.running.client() as node:
        for method, request in made:
            assert status(node.channel, method, request) in PRECISE, method
        assert node.status().name == "pe1"
    assert [*broken(desk)] == []


def test_every_method_is_served_and_fuzzed(desk: Desk) -> None:
    """An empty message is valid for every method; the list of methods is complete."""
    with desk.running.client() as node:
        answers = {method: status(node.channel, method, b"") for method in RULES}
    assert {m for m, code in answers.items() if code is Code.UNIMPLEMENTED} == UNSERVED
    others = {m: code for m, code in answers.items() if m not in UNSERVED}
    assert {m: code for m, code in others.items() if code not in PRECISE} == {}
