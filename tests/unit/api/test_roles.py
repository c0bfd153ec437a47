"""Who may call what: by role, by VRF, and nothing by default."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from bulkhead.client import Node
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from controlplane.api import server as api_server
from controlplane.api.access.audit_chain import first_break
from controlplane.api.access.caller import Caller, UnixPeer, certified_caller, local_caller
from controlplane.api.access.certificate_names import NameKind
from controlplane.api.access.limits import AtOnce, RateLimit, TooManyRequests
from controlplane.api.access.roles import RULES, AccessRule, allows
from controlplane.model.intent import ApiGrant, ApiRole
from tests.unit.api.serving import Serving, node_intent, serving


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Serving]:
    with serving(node_intent(tmp_path)) as found:
        yield found


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    """The caller in the list is taken for the process at the other end."""
    who = [Caller("uid:0", ApiRole.ADMIN)]
    monkeypatch.setattr(api_server, "local_caller", lambda _peer: who[0])
    return who


def refused(call: Callable[[], object]) -> grpc.StatusCode | None:
    try:
        call()
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return None


def raw(channel: grpc.Channel, method: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    """A call of bytes, as any client may send them."""
    return channel.unary_unary(f"/bulkhead.v1.Node/{method}", bytes, bytes)


def served_methods(node: Node) -> set[str]:
    """Every method of every service, from the server's own reflection."""
    reflection = reflection_pb2_grpc.ServerReflectionStub(node.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    listed = next(reflection.ServerReflectionInfo(iter([request])))
    pool = descriptor_pool.Default()
    names = [service.name for service in listed.list_services_response.service]
    return {
        f"/{name}/{method.name}"
        for name in names
        for method in pool.FindServiceByName(name).methods
    }


def test_every_method_of_every_service_has_a_rule(running: Serving) -> None:
    with running.client() as node:
        methods = served_methods(node)
    assert len(methods) >= 11 + 2 + 1, "reflection did not list what is served"
    assert methods - set(RULES) == set()


def test_a_method_without_a_rule_is_refused_even_to_root(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running.client() as node:
        assert refused(node.show_vrfs) is None
        monkeypatch.delitem(RULES, "/bulkhead.v1.Node/ShowVrfs")
        assert refused(node.show_vrfs) is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("role", "clear", "reload"),
    [
        (ApiRole.VIEWER, False, False),
        (ApiRole.OPERATOR, True, False),
        (ApiRole.POLICY_EDITOR, True, False),
        (ApiRole.ADMIN, True, True),
    ],
)
def test_what_each_role_may_change(
    running: Serving, caller: list[Caller], role: ApiRole, clear: bool, reload: bool
) -> None:
    caller[0] = Caller("someone", role)
    with running.client() as node:
        assert refused(node.show_vrfs) is None
        assert (refused(lambda: node.clear_neighbor("10.1.1.2", "red")) is None) == clear
        assert (refused(node.reload) is None) == reload
    assert (len(running.node.cleared), running.node.reloads) == (clear, reload)


def test_a_caller_without_a_role_may_not_even_look(running: Serving, caller: list[Caller]) -> None:
    caller[0] = Caller("stranger", None)
    with running.client() as node:
        assert refused(node.show_vrfs) is grpc.StatusCode.PERMISSION_DENIED


def test_one_customer_sees_nothing_of_another_or_of_the_core(
    running: Serving, caller: list[Caller]
) -> None:
    caller[0] = Caller("red.example.net", ApiRole.OPERATOR, frozenset({"red"}))
    with running.client() as node:
        assert {vrf.name for vrf in node.show_vrfs()} == {"red"}
        assert {n.vrf for n in node.show_neighbors()} == {"red"}
        assert {r.vrf for r in node.show_routes()} == {"red"}
        assert {label.vrf for label in node.show_labels()} == {"red"}
        assert {hop.vrf for hop in node.show_next_hops()} == {"red"}
        assert {port.vrf for port in node.show_ports()} == {"red"}
        assert {guard.vrf for guard in node.show_guards()} == {"red"}
        assert list(node.status().loopbacks) == []
        for call in (
            lambda: list(node.show_routes("blue")),
            lambda: node.show_neighbors("green"),
            lambda: node.clear_neighbor("10.1.1.2", "blue"),
            lambda: node.clear_neighbor("10.255.0.2"),
            node.show_counters,
        ):
            assert refused(call) is grpc.StatusCode.PERMISSION_DENIED
        assert refused(lambda: node.clear_neighbor("10.1.1.2", "red")) is None
    assert [peer.vrf for peer in running.node.cleared] == ["red"]


def test_metadata_gives_no_rights(running: Serving, caller: list[Caller]) -> None:
    caller[0] = Caller("someone", ApiRole.VIEWER)
    forged = (("x-user", "admin"), ("x-role", "admin"), ("authorization", "Bearer root"))
    with running.client() as node:
        reload = raw(node.channel, "Reload")
        status = refused(lambda: reload(b"", metadata=forged, timeout=10))
    assert status is grpc.StatusCode.PERMISSION_DENIED
    assert running.node.reloads == 0


def test_grpcs_own_socket_knows_no_caller(running: Serving) -> None:
    inner = Path(running.intent.run_dir) / "api-inner"
    assert inner.stat().st_mode & 0o777 == 0o700
    with grpc.insecure_channel(f"unix:{inner / 'local.sock'}") as channel:
        call = raw(channel, "GetStatus")
        assert refused(lambda: call(b"", timeout=10)) is grpc.StatusCode.UNAUTHENTICATED


def test_changes_are_written_down_before_and_after(running: Serving) -> None:
    with running.client() as node:
        node.show_vrfs()
        assert running.audit == []
        node.clear_neighbor("10.1.1.2", "red")
        running.node.refusal = ("pe.yaml:1:1: wrong",)
        assert refused(node.reload) is grpc.StatusCode.INVALID_ARGUMENT
    asked, ended, _, refusal = running.audit
    assert (asked["phase"], asked["who"], asked["role"]) == ("asked", "uid:0", "admin")
    assert asked["method"] == "/bulkhead.v1.Node/ClearNeighbor"
    assert '"address": "10.1.1.2"' in asked["request"]
    assert (ended["before"], ended["after"], ended["result"]) == ("Established", "reset", "OK")
    assert (refusal["after"], refusal["result"]) == ("refused: 1 errors", "INVALID_ARGUMENT")
    assert first_break(running.audit_lines) is None


def test_an_internal_error_is_hidden_from_the_caller_and_logged(
    running: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("key 0xdeadbeef")

    monkeypatch.setattr(running.node, "reload", fail)
    with running.client() as node, pytest.raises(grpc.RpcError) as error:
        node.reload()
    assert "deadbeef" not in str(error.value)
    assert any("deadbeef" in str(fields) for _, fields in running.notes.lines)
    assert running.audit[-1]["result"] == "INTERNAL"


def test_a_refused_change_is_written_down(running: Serving, caller: list[Caller]) -> None:
    caller[0] = Caller("someone", ApiRole.VIEWER)
    with running.client() as node:
        assert refused(node.reload) is grpc.StatusCode.PERMISSION_DENIED
    assert [(e["who"], e["phase"]) for e in running.audit] == [("someone", "refused")]


def test_what_cannot_be_written_down_is_not_done(running: Serving) -> None:
    (Path(running.intent.state_dir) / "audit.log").mkdir()
    with running.client() as node:
        assert refused(node.reload) is grpc.StatusCode.FAILED_PRECONDITION
        assert refused(node.show_vrfs) is None
    assert running.node.reloads == 0


def test_a_caller_in_a_hurry_is_slowed_down(running: Serving, caller: list[Caller]) -> None:
    """One call after the other is served at the caller's pace; who asks far ahead is refused, and
    root's own loops are not held up."""
    running.api._rate.burst, running.api._rate.rate = 3, 20.0
    caller[0] = Caller("noc", ApiRole.VIEWER)
    with running.client() as node:
        began = time.monotonic()
        assert [refused(node.status) for _ in range(13)] == [None] * 13
        assert time.monotonic() - began > 0.4, "ten turns at twenty a second"
        running.api._rate.rate = 0.5
        assert refused(node.status) is grpc.StatusCode.RESOURCE_EXHAUSTED
        caller[0] = local_caller(UnixPeer(1, 0, 0))
        assert [refused(node.status) for _ in range(40)] == [None] * 40


def test_a_request_that_is_too_large_is_refused(running: Serving) -> None:
    with running.client() as node:
        call = raw(node.channel, "ShowNeighbors")
        status = refused(lambda: call(b"\n" + b"x" * (5 << 20), timeout=10))
        assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(node.show_vrfs) is None


def test_local_users() -> None:
    assert local_caller(UnixPeer(1, 0, 0)) == Caller("uid:0", ApiRole.ADMIN, unpaced=True)
    assert local_caller(UnixPeer(1, 54321, 0)) == Caller("uid:54321", ApiRole.VIEWER)


def test_a_certificate_is_known_by_the_first_name_with_a_grant() -> None:
    grants = (
        ApiGrant(identity="spiffe://x/noc", role=ApiRole.OPERATOR),
        ApiGrant(identity="noc", role=ApiRole.ADMIN),
    )
    a, uri, common = (NameKind.DNS, "a"), (NameKind.URI, "spiffe://x/noc"), (NameKind.COMMON, "noc")
    assert certified_caller([a, uri], grants).role is ApiRole.OPERATOR
    assert certified_caller([a], grants) == Caller("a", None)
    assert certified_caller([common], grants).role is ApiRole.ADMIN
    assert certified_caller([], grants) == Caller("no name", None)


def test_default_deny() -> None:
    look = AccessRule(ApiRole.VIEWER)
    assert allows(look, ApiRole.VIEWER, limited=True)
    assert not allows(None, ApiRole.ADMIN, limited=False)
    assert not allows(look, None, limited=False)
    assert not allows(AccessRule(ApiRole.VIEWER, whole_node=True), ApiRole.ADMIN, limited=True)


def test_the_bucket_fills_again() -> None:
    now = [0.0]
    limit = RateLimit(rate=2, burst=2, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(3)] == [True, True, False]
    assert limit.take("b")
    now[0] = 0.5
    assert [limit.take("a") for _ in range(2)] == [True, False]


def test_a_turn_is_waited_for_unless_it_is_far_off() -> None:
    now = [0.0]
    limit = RateLimit(rate=2, burst=1, clock=lambda: now[0])
    assert [limit.turn("a") for _ in range(4)] == [0.0, 0.5, 1.0, None]
    now[0] = 0.5
    assert limit.turn("a") == 1.0


def test_at_once() -> None:
    open_ = AtOnce(each=1, total=2)
    with open_.hold("a"), open_.hold("b"):
        for key in ("a", "c"):
            with pytest.raises(TooManyRequests), open_.hold(key):
                pass
    with open_.hold("a"):
        pass


def test_why_a_route_is_absent_names_other_vpns_to_callers_of_the_whole_node_alone(
    running: Serving, caller: list[Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running.node, "route_rows", [])
    with running.client() as node:
        caller[0] = Caller("noc", ApiRole.VIEWER)
        assert "core" in node.why_no_route("red", "10.9.0.0/16")
        caller[0] = Caller("tenant", ApiRole.VIEWER, frozenset({"red"}))
        assert node.why_no_route("red", "10.9.0.0/16") == [
            "no neighbour of red has announced 10.9.0.0/16"
        ]
