"""A node of two tenants, of whom the second has canaries for names, addresses and numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from bulkhead.v1 import flows_pb2 as flows
from bulkhead.v1 import workloads_pb2 as workloads
from google.protobuf import descriptor_pool
from google.protobuf.message import Message

from controlplane.api.services.selftest_service import selftest_service
from controlplane.model import view as v
from controlplane.model.route_view import RouteFilter, RouteView
from tests.unit.api import fake_node
from tests.unit.api.fake_node import FakeNode
from tests.unit.api.segment_serving import Desk, enforce, segment_desk
from tests.unit.api.test_roles import served_methods
from tests.unit.api.test_selftest_service import Runner

CANARIES = (b"indigo", b"172.31.", b"198.18.", b"31337")
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


class TwoTenants(FakeNode):
    """The rows of the second tenant are canaries."""

    def vrfs(self) -> Iterable[v.VrfView]:
        return [fake_node.vrf("red"), fake_node.vrf("indigo", rd="65000:31337")]

    def neighbors(self) -> Iterable[v.NeighborView]:
        return [fake_node.neighbor("red", "10.1.1.2"), fake_node.neighbor("indigo", "172.31.0.2")]

    def routes(self, wanted: RouteFilter) -> Iterator[RouteView]:
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


@contextmanager
def two_tenants(folder: Path) -> Iterator[World]:
    """Run the node, with flows, revisions and workloads of both tenants."""
    services = selftest_service(Runner())
    with segment_desk(folder, services, "indigo", TwoTenants()) as desk:
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
