"""The Node service over a real Unix socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from bulkhead.client import connect
from bulkhead.v1 import node_pb2 as pb
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.api.access import admission
from controlplane.api.services.node_service import ROUTES_PER_MESSAGE
from controlplane.model.peer import PeerId
from controlplane.model.prefix import parse_address
from controlplane.model.route_view import RouteFilter, RouteTable
from tests.unit.api.fake_node import route
from tests.unit.api.serving import Serving, node_intent, serving


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Serving]:
    with serving(node_intent(tmp_path)) as found:
        yield found


def code(error: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    found = error.value
    assert isinstance(found, grpc.Call)
    return found.code()


def test_three_lines_are_enough(running: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_SOCKET", str(running.api.socket))
    with connect() as node:
        assert [vrf.name for vrf in node.show_vrfs()] == ["red", "blue"]


def test_every_view_arrives(running: Serving) -> None:
    with running.client() as node:
        assert (node.status().name, node.status().uptime_seconds) == ("pe1", 3661)
        states = [n.state for n in node.show_neighbors()]
        assert states == [pb.Neighbor.SESSION_STATE_ESTABLISHED] * 2 + [
            pb.Neighbor.SESSION_STATE_ACTIVE
        ]
        assert [n.never_up for n in node.show_neighbors()] == [False, False, True]
        assert node.show_labels()[1].state == pb.Label.STATE_HOLD_DOWN
        core, ce = node.show_next_hops()
        assert (core.vpn_label, list(core.paths[0].labels)) == (16002, [3001, 16002])
        assert not ce.HasField("vpn_label")
        assert [p.any_source for p in node.show_ports()] == [True, False]
        assert node.show_counters()[0].labels["kind"] == "route"
        assert [g.requirement for g in node.show_guards()] == ["LBL-2", "ACL-1"]


def test_absent_and_zero_attributes_differ(running: Serving) -> None:
    with running.client() as node:
        red, _, blue = node.show_routes()
        assert (blue.local_preference, blue.med, blue.HasField("med")) == (200, 0, True)
        assert not red.HasField("med")


def test_filters_reach_the_node(running: Serving) -> None:
    with running.client() as node:
        assert len(list(node.show_neighbors("red"))) == 1
        assert [n.vrf for n in node.show_neighbors(core_only=True)] == [""]
        assert [g.vrf for g in node.show_guards("red")] == ["red"]
        list(node.show_routes("red", "10.0.0.0/8", longer=True, neighbor="10.1.1.2"))
        list(node.show_routes(neighbor="10.1.1.2", table=pb.ShowRoutesRequest.TABLE_ADVERTISED))
    wanted = RouteFilter(
        vrf="red", prefix="10.0.0.0/8", longer=True, neighbor="10.1.1.2", core=True
    )
    table = RouteFilter(neighbor="10.1.1.2", core=True, table=RouteTable.ADVERTISED)
    assert running.node.asked == [wanted, table]


def test_received_and_advertised_routes_are_a_neighbours(running: Serving) -> None:
    with running.client() as node:
        for table in (pb.ShowRoutesRequest.TABLE_RECEIVED, pb.ShowRoutesRequest.TABLE_ADVERTISED):
            with pytest.raises(grpc.RpcError) as refused:
                list(node.show_routes("red", table=table))
            assert code(refused) is grpc.StatusCode.INVALID_ARGUMENT
    assert not running.node.asked, "the control"


def test_many_routes_come_in_pieces(running: Serving) -> None:
    rows = [route("red", f"10.{n >> 8}.{n & 255}.0/24") for n in range(3 * ROUTES_PER_MESSAGE + 1)]
    running.node.route_rows = rows
    with running.client() as node:
        pieces = list(node._stub.ShowRoutes(pb.ShowRoutesRequest(vrf="red"), timeout=10))
    assert [len(piece.routes) for piece in pieces] == [ROUTES_PER_MESSAGE] * 3 + [1]
    assert [r.prefix for piece in pieces for r in piece.routes] == [row.prefix for row in rows]


def test_what_does_not_exist_is_not_found(running: Serving) -> None:
    with running.client() as node:
        for call in (
            lambda: node.show_neighbors("green"),
            lambda: list(node.show_routes("green")),
            lambda: node.show_guards("green"),
            lambda: node.clear_neighbor("10.9.9.9"),
            lambda: node.clear_neighbor("10.255.0.2", "red"),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call()
            assert code(error) is grpc.StatusCode.NOT_FOUND
    assert running.node.cleared == []


def test_what_is_no_address_is_an_invalid_argument(running: Serving) -> None:
    with running.client() as node:
        for call in (
            lambda: list(node.show_routes(prefix="10.0.0.1/8")),
            lambda: list(node.show_routes(neighbor="pe2")),
            lambda: node.clear_neighbor("pe2"),
        ):
            with pytest.raises(grpc.RpcError) as error:
                call()
            assert code(error) is grpc.StatusCode.INVALID_ARGUMENT


def test_clearing_a_neighbour(running: Serving) -> None:
    with running.client() as node:
        node.clear_neighbor("10.1.1.2", "red")
        node.clear_neighbor("10.255.0.2")
    assert running.node.cleared == [
        PeerId("red", parse_address("10.1.1.2")),
        PeerId("", parse_address("10.255.0.2")),
    ]


def test_clearing_in_the_wrong_place_names_the_right_one(running: Serving) -> None:
    with running.client() as node:
        for address, vrf, text in (
            (
                "10.1.1.2",
                "",
                "10.1.1.2 in the core; 10.1.1.2 is a neighbour in VRF red, VRF blue (--vrf red)",
            ),
            ("10.255.0.2", "red", "10.255.0.2%red; 10.255.0.2 is a neighbour in the core"),
        ):
            with pytest.raises(grpc.RpcError) as error:
                node.clear_neighbor(address, vrf)
            assert isinstance(error.value, grpc.Call)
            assert str(error.value.details()).endswith(text)
        with pytest.raises(grpc.RpcError) as error:
            node.clear_neighbor("10.9.9.9")
        assert isinstance(error.value, grpc.Call)
        assert error.value.details() == (
            "there is no neighbour 10.9.9.9 in the core; neighbours: 10.255.0.2"
        )


def test_a_reload_says_what_changed(running: Serving) -> None:
    with running.client() as node:
        assert list(node.reload().changes) == ["vrf green added"]


def test_a_refused_reload_says_why_and_a_long_reason_is_cut(running: Serving) -> None:
    running.node.refusal = tuple(f"pe.yaml:{n}:1: wrong; write it right" for n in range(500))
    with running.client() as node, pytest.raises(grpc.RpcError) as error:
        node.reload()
    assert code(error) is grpc.StatusCode.INVALID_ARGUMENT
    found = error.value
    assert isinstance(found, grpc.Call)
    lines = str(found.details()).splitlines()
    assert lines[0] == "pe.yaml:0:1: wrong; write it right"
    assert lines[-1] == "... 500 errors in all"


def test_health_and_reflection_are_on(running: Serving) -> None:
    with running.client() as node:
        health = health_pb2_grpc.HealthStub(node.channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service="bulkhead.v1.Node"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(node.channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        listed = next(reflection.ServerReflectionInfo(iter([request])))
        names = {service.name for service in listed.list_services_response.service}
    assert "bulkhead.v1.Node" in names


def test_a_socket_left_behind_is_replaced_and_its_mode_is_the_configured(tmp_path: Path) -> None:
    intent = node_intent(tmp_path, socket_mode=0o600)
    Path(intent.run_dir).mkdir()
    (Path(intent.run_dir) / "api.sock").write_text("left behind")
    with serving(intent) as running:
        assert running.api.socket.stat().st_mode & 0o777 == 0o600
        with running.client() as node:
            assert node.status().name == "pe1"
        changed = node_intent(tmp_path, socket_mode=0o660)
        running.call(running.api.apply(changed))
        assert running.api.socket.stat().st_mode & 0o777 == 0o660
    assert not running.api.socket.exists()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "did not happen within 10 s"
        time.sleep(0.01)


def test_a_reader_who_stands_still_is_let_go(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream without a reader holds an iterator and a place among the calls: not for ever."""
    monkeypatch.setattr(admission, "MAX_SECONDS", 0.3)
    many = route("red", "10.0.0.0/8", as_path="65001 " * 100)
    running.node.route_rows = [many] * 200_000
    with running.client() as node:
        stream = node._stub.ShowRoutes(pb.ShowRoutesRequest(), timeout=30)
        next(stream)
        assert running.api._at_once._open == {"uid:0": 1}
        wait_until(lambda: not running.api._at_once._open)
        with pytest.raises(grpc.RpcError) as error:
            list(stream)
        assert code(error) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert [vrf.name for vrf in node.show_vrfs()] == ["red", "blue"]


def test_a_caller_who_hangs_up_is_let_go(running: Serving) -> None:
    running.node.route_rows = [route("red", "10.0.0.0/8", as_path="65001 " * 100)] * 200_000
    with running.client() as node:
        stream = node._stub.ShowRoutes(pb.ShowRoutesRequest(), timeout=30)
        next(stream)
        stream.cancel()
        wait_until(lambda: not running.api._at_once._open)
