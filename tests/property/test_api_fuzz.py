"""The node answers any request of a client with a status that fits it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from bulkhead.client import Node
from bulkhead.v1 import node_pb2 as pb
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controlplane.model.route_view import RouteFilter
from tests.unit.api.serving import Serving, node_intent, serving

EXPECTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}
METHODS = [m.name for m in pb.DESCRIPTOR.services_by_name["Node"].methods]
QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "red", "blue", "10.1.1.2", "10.0.0.0/8", "::/0", "fe80::1%eth0", "1\0"]),
)


@pytest.fixture(scope="module")
def running() -> Iterator[Serving]:
    with tempfile.TemporaryDirectory() as folder, serving(node_intent(Path(folder))) as found:
        found.api._rate.rate = found.api._rate.burst = 1e9
        yield found


@pytest.fixture(scope="module")
def node(running: Serving) -> Iterator[Node]:
    with running.client() as client:
        yield client


def status(node: Node, method: str, request: bytes) -> grpc.StatusCode:
    """How a call of raw bytes ends."""
    call = node.channel.unary_stream(f"/bulkhead.v1.Node/{method}", bytes, bytes)
    try:
        list(call(request, timeout=10))
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return grpc.StatusCode.OK


@QUICK
@given(method=st.sampled_from(METHODS), request=st.binary(max_size=60))
def test_any_bytes(node: Node, method: str, request: bytes) -> None:
    try:
        getattr(pb, f"{method}Request").FromString(request)
    except DecodeError:
        assert status(node, method, request) is grpc.StatusCode.INVALID_ARGUMENT
        return
    assert status(node, method, request) in EXPECTED


def test_rubbish_on_a_stream_of_requests(node: Node) -> None:
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    call = node.channel.stream_stream(method, bytes, bytes)
    with pytest.raises(grpc.RpcError) as error:
        list(call(iter([b"\xff\xff"]), timeout=10))
    assert cast(grpc.Call, error.value).code() is grpc.StatusCode.INVALID_ARGUMENT


@QUICK
@given(vrf=TEXT, prefix=TEXT, neighbor=TEXT, longer=st.booleans())
@example(vrf="red", prefix="10.0.0.0/8", neighbor="", longer=True)
def test_any_question_about_routes(
    running: Serving, node: Node, vrf: str, prefix: str, neighbor: str, longer: bool
) -> None:
    request = pb.ShowRoutesRequest(vrf=vrf, prefix=prefix, neighbor=neighbor, longer=longer)
    running.node.asked.clear()
    answer = status(node, "ShowRoutes", request.SerializeToString())
    assert answer in EXPECTED
    wanted = RouteFilter(vrf=vrf, prefix=prefix, neighbor=neighbor, longer=longer, core=True)
    assert running.node.asked == ([wanted] if answer is grpc.StatusCode.OK else [])


@QUICK
@given(vrf=TEXT, address=TEXT)
@example(vrf="red", address="10.1.1.2")
def test_any_neighbour_to_clear(running: Serving, node: Node, vrf: str, address: str) -> None:
    request = pb.ClearNeighborRequest(vrf=vrf, address=address)
    running.node.cleared.clear()
    answer = status(node, "ClearNeighbor", request.SerializeToString())
    assert answer in EXPECTED
    assert len(running.node.cleared) == (answer is grpc.StatusCode.OK)
