"""Test MGMT-3, -4: what an authenticated caller may do, and how much of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
from bulkhead.v1 import node_pb2, workloads_pb2

from controlplane.api.access.limits import RateLimit
from controlplane.api.access.roles import RULES
from labs.attack import ip, link
from labs.attack.inside import run_in, socket_in
from labs.attack.net import Net, circuit
from labs.attack.port import Port
from labs.waiting import until
from tests.attack.management import (
    ADMIN,
    IN_VRF,
    NOC,
    OPERATOR,
    PORT,
    RED,
    Management,
    managed,
    refused,
)
from tests.unit.api.test_roles import served_methods

DENIED = grpc.StatusCode.PERMISSION_DENIED
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(scope="module")
def desk(net: Net) -> Iterator[Management]:
    with managed(net) as found:
        yield found


def test_mgmt_03_every_rpc_of_every_service_has_a_role(net: Net) -> None:
    """What the running node serves by its own account, reflection and health included."""
    methods = served_methods(net.pe1)
    assert {m.split("/")[1] for m in methods} >= {
        "bulkhead.v1.Node", "bulkhead.v1.Workloads", "bulkhead.v1.Policy", "bulkhead.v1.Flows",
        "bulkhead.v1.Groups", "bulkhead.v1.Evidence", "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }  # fmt: skip
    assert len(methods) >= 38
    assert methods - set(RULES) == set()


def first_answer(call: Any) -> bytes | None:
    """Of a method called with one empty message."""
    return next(call(iter([b""]), timeout=20), None)


def test_mgmt_03_without_a_grant_no_rpc_at_all(desk: Management, net: Net) -> None:
    """Default deny, tried with each method that there is."""
    with desk.client(desk.authority.issue("x", "spiffe://example.net/guest")) as guest:
        answers = {}
        for method in sorted(served_methods(net.pe1)):
            # Where requests are a stream the first of them is enough.
            call = guest.channel.stream_stream(method, bytes, bytes)
            answers[method] = refused(partial(first_answer, call))
            if len(answers) % 40 == 0:
                time.sleep(1)  # its own rate limit is not what is asked about
    assert {m: code for m, code in answers.items() if code is not DENIED} == {}


def test_mgmt_03_red_does_not_edit_blue(desk: Management, net: Net) -> None:
    """Attach a workload in red as red's policy editor; in blue every change is refused, and request
    metadata gives no rights."""
    forged = (("x-user", "admin"), ("x-role", "admin"), ("x-vrf", "blue"))
    segment = net.pe1.segment
    segment.attach("blue-web", "blue", "ce-blue-3", ["10.3.0.5"], {"tier": "web"})
    before = [w.SerializeToString() for w in segment.list_workloads()]
    try:
        with desk.client(desk.authority.issue("x", RED)) as red:
            attempts: dict[str, Any] = {
                "AttachWorkload": workloads_pb2.AttachWorkloadRequest(
                    workload=workloads_pb2.Workload(
                        name="mine", vrf="blue", port="ce-blue-3", addresses=["10.3.0.77"]
                    )
                ),
                "TagWorkload": workloads_pb2.TagWorkloadRequest(name="blue-web", set={"a": "b"}),
                "DetachWorkload": workloads_pb2.DetachWorkloadRequest(name="blue-web"),
            }
            for method, request in attempts.items():
                call = red.channel.unary_unary(f"/bulkhead.v1.Workloads/{method}", bytes, bytes)
                raw = request.SerializeToString()
                code = refused(partial(call, raw, metadata=forged, timeout=20))
                # Whether blue has such a workload is not red's to know: to detach a name that is
                # not known is no error.
                unknown = [None] if method == "DetachWorkload" else []
                assert code in (DENIED, grpc.StatusCode.NOT_FOUND, *unknown), method
            assert refused(lambda: red.clear_neighbor("192.168.1.2", "blue")) is DENIED
            assert refused(lambda: red.segment.stage("rules: []", "mine now")) is DENIED
            assert refused(red.reload) is DENIED
            assert [w.SerializeToString() for w in segment.list_workloads()] == before
            red.segment.attach("red-web", "red", "ce-red-3", ["10.3.0.5"], {"tier": "web"})
            assert {w.name for w in segment.list_workloads()} == {"blue-web", "red-web"}, "control"
            assert {w.name for w in red.segment.list_workloads()} == {"red-web"}
    finally:
        for name in ("blue-web", "red-web"):
            segment.detach(name)
    log = (net.lab.dir("pe1") / "state/audit.log").read_text()
    entries = [json.loads(line) for line in log.splitlines()]
    mine = [e for e in entries if e["who"] == RED]
    assert {e.get("result") for e in mine if e["phase"] == "ended"} >= {"PERMISSION_DENIED", "OK"}


# -- MGMT-4: how much -----------------------------------------------------------------------------


def test_mgmt_04_a_million_rules_in_one_call(desk: Management, net: Net) -> None:
    """Refused by its size before anything looks at it; what does fit has a number of rules."""
    rules = "rules:\n" + "- allow any to any on tcp/1\n" * 1_000_000
    with desk.client(desk.authority.issue("x", ADMIN)) as node:
        started = time.monotonic()
        assert refused(lambda: node.segment.stage(rules, "")) is EXHAUSTED
        assert time.monotonic() - started < 20
        assert refused(lambda: node.segment.stage(rules[: 2 << 20], "")) is EXHAUSTED
        problems = node.segment.check(rules[: rules.index("\n", 900_000)]).problems
        assert [p.path for p in problems] == ["rules"]
        assert "10000 at most" in problems[0].problem
        assert node.status().name, "the connection is still good"
    assert not net.pe1.segment.revisions()


def test_mgmt_04_a_flooding_caller_slows_no_other(desk: Management, net: Net) -> None:
    with (
        desk.client(desk.authority.issue("x", OPERATOR)) as hasty,
        desk.client(desk.authority.issue("y", ADMIN)) as calm,
    ):
        began = time.monotonic()
        calls = [hasty._stub.GetStatus.future(node_pb2.GetStatusRequest(), timeout=60)
                 for _ in range(1000)]  # fmt: skip
        assert calm.status().name
        waited = time.monotonic() - began
        codes = [call.code() for call in calls]
        took = time.monotonic() - began
    served, limit = codes.count(grpc.StatusCode.OK), RateLimit()
    assert 100 <= served <= limit.burst + limit.rate * took, f"{served} in {took:.1f} s"
    assert waited < took / 2, "the calm caller had to wait for the hasty one"
    assert net.pe1.status().name


def test_mgmt_04_streams(desk: Management) -> None:
    """One caller follows at most thirty-two things at a time."""
    with desk.client(desk.authority.issue("x", OPERATOR)) as node:
        another = desk.client(desk.authority.issue("x", OPERATOR))
        watch = "/bulkhead.v1.Workloads/WatchWorkloads"

        def opened(number: int) -> Any:
            client = another if number % 2 else node
            return client.channel.unary_stream(watch, bytes, bytes)(b"")

        streams = [opened(number) for number in range(40)]

        def refused_for_their_number() -> int:
            ended = [(number, s) for number, s in enumerate(streams) if s.done()]
            for number, stream in ended:
                assert stream.code() is EXHAUSTED
                if "slow down" in stream.details():  # its ration was used up before this test
                    streams[number] = opened(number)
            return sum("at once" in stream.details() for _, stream in ended)

        try:
            assert until(lambda: refused_for_their_number() >= 8, 30.0)
            assert refused_for_their_number() == 8
        finally:
            for stream in streams:
                stream.cancel()
            another.close()


def test_mgmt_04_slow_and_silent_connections(desk: Management, net: Net) -> None:
    """Hold connections with slow or silent handshakes: sixteen at most, each closed at its
    deadline; the Unix socket is served meanwhile, and then the NOC again."""
    admin = desk.authority.issue("x", ADMIN)
    slow = []
    for _ in range(20):
        plain = socket_in(NOC)
        plain.settimeout(30)
        plain.connect((IN_VRF, PORT))
        slow.append(plain)
    try:
        for connection in slow[::2]:
            with contextlib.suppress(OSError):  # one of those beyond the sixteenth
                connection.send(b"\x16\x03\x01\x02")
        assert net.pe1.status().name
        closed = 0
        for connection in slow:
            try:
                closed += connection.recv(1 << 10) == b""
            except ConnectionError:
                closed += 1
        assert closed == len(slow), "a connection is still open"
    finally:
        for connection in slow:
            connection.close()
    assert until(lambda: desk.answer(admin) is None, 30.0, every=0.5)


def test_mgmt_04_half_open_connections(desk: Management, net: Net) -> None:
    """A thousand SYNs without an end leave room for who means it (tcp_syncookies)."""
    noc, pe = Port(NOC, "eth0"), Port("pe1", "mgmt0")
    run_in(NOC, "ping", "-c1", "-W5", IN_VRF)
    frames = [
        link.ethernet(pe.mac, noc.mac, link.IPV4,
                      ip.tcp(f"172.31.0.{100 + n % 100}", IN_VRF, PORT, sport=1024 + n))
        for n in range(1000)
    ]  # fmt: skip
    noc.send(*frames)
    assert desk.answer(desk.authority.issue("x", ADMIN)) is None
    net.sentinel(circuit("red", 1))
