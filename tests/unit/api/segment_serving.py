"""The services of microsegmentation over a kernel that is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from bulkhead.segment import Segment

from controlplane.api.compute.pool import ComputePool
from controlplane.api.server import AddServices
from controlplane.api.services.policy_services import segment_services
from controlplane.model.flow import FlowRecord
from controlplane.model.intent import CePortIntent, NodeIntent, VrfIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    Packet,
    RemoteEndpointsChanged,
    WorkloadAttached,
    WorkloadDetached,
)
from controlplane.policy.compile.reader import Reader
from controlplane.policy.controller import PolicyController
from pe.process import clock
from tests.unit.api.fake_node import FakeNode
from tests.unit.api.inline_worker import inline_pool
from tests.unit.api.serving import Serving, node_intent, serving
from tests.unit.controlplane.rig import ce_peer, targets
from tests.unit.policy.kernel import FakeKernel
from tests.unit.policy.node import PolicyNode

WEB, PAY, PARTNER = "10.0.0.1", "10.0.0.2", "203.0.113.9"
POLICY = """
name: payroll
groups:
  web: {id: 101, selector: tier=web}
  payroll: {id: 102, selector: app=payroll}
  pci: {id: 103, selector: scope=pci}
networks: {partners: [203.0.113.0/24]}
modes: {groups: {payroll: full}}
rules:
  security: [deny partners to workloads on tcp/22]
  application: [allow web to payroll on tcp/443]
"""
PORTS = tuple(
    CePortIntent(name=f"p{n}", vrf="red", addresses=(), sources=(parse_prefix("10.0.0.0/24"),))
    for n in (1, 2)
)


def segment_intent(folder: Path, second: str = "blue", **more: Any) -> NodeIntent:
    import msgspec

    from controlplane.model.rd import parse_rd

    one = targets("65000:1")
    neighbors = (ce_peer("red", "192.0.2.2", port="p1"),)
    red = VrfIntent(
        name="red", rd=parse_rd("65000:1"), import_targets=one, export_targets=one, ports=PORTS,
        neighbors=neighbors,
    )  # fmt: skip
    blue = msgspec.structs.replace(
        red, name=second, rd=parse_rd("65000:2"),
        neighbors=() if second == "blue" else (ce_peer(second, "172.31.0.2", port="q1"),),
        ports=(CePortIntent(name="q1", vrf=second, addresses=()),),
    )  # fmt: skip
    return node_intent(folder, vrfs=(red, blue), **more)


@dataclass
class Desk:
    """A served node."""

    running: Serving
    pe: PolicyNode
    segment: Segment

    @property
    def kernel(self) -> FakeKernel:
        return self.pe.kernel

    @property
    def policy(self) -> PolicyController:
        return self.pe.policy

    @property
    def emitted(self) -> list[WorkloadAttached | WorkloadDetached]:
        """The workload routes that were laid and withdrawn."""
        return self.pe.emitted

    def flow(
        self, source: str, destination: str, port: int = 443, vrf: str = "red", count: int = 1,
        *, older: bool = False,
    ) -> None:  # fmt: skip
        """Report flows as the kernel does, evaluated by the tables that it holds."""
        src, dst = ip_address(source), ip_address(destination)

        def word(slot: Slot) -> int | None:
            held = self.kernel.held.get(slot)
            packet = Packet(src.version, 6, dport=port)
            return Reader(held).verdict(vrf, src, dst, packet).word if held else None

        judged = (word(Slot.ENFORCED) or 0, word(Slot.STAGED))
        record = FlowRecord(time.time(), vrf, src, dst, 6, 40000, port, -1, *judged, older)
        self.lose(0, [record] * count)

    def lose(self, lost: int, records: list[FlowRecord] | None = None) -> None:
        async def report() -> None:
            assert self.kernel.on_flows is not None
            self.kernel.on_flows(records or [], lost)

        self.running.call(report())

    def claim(self, change: RemoteEndpointsChanged) -> None:
        """A route of another PE carries groups, as if it had become the best one."""

        async def identify() -> None:
            state = self.pe.router.state
            state.begin(clock.now())
            self.policy.remote_endpoints_changed(change)
            self.pe.executor.perform(state.effects)

        self.running.call(identify())

    def attach(self, name: str, address: str, **tags: str) -> None:
        self.segment.attach(name, "red", "p1", [address], tags)


@contextmanager
def segment_desk(
    folder: Path,
    others: AddServices = lambda _server: (),
    second: str = "blue",
    node: FakeNode | None = None,
    **more: Any,
) -> Iterator[Desk]:
    """A served node with VRFs red and ``second``, which has a neighbour where it is not blue;
    ``others`` adds services to those of microsegmentation."""
    intent = segment_intent(folder, second, **more)
    made: list[PolicyNode] = []
    pools: list[ComputePool] = []

    async def start(node: FakeNode) -> AddServices:
        made.append(PolicyNode(intent))
        await made[0].begin()
        pools.append(inline_pool(made[0].access))
        pools[0].start()
        services = segment_services(made[0].access, node, pools[0])
        return lambda server: (*services(server), *others(server))

    async def end() -> None:
        await pools[0].stop()
        await made[0].stop()
        made[0].store.close()

    with serving(intent, node or FakeNode(), start) as running, running.client() as client:
        try:
            yield Desk(running, made[0], client.segment)
        finally:
            running.call(end())


def enforce(desk: Desk, document: str = POLICY) -> str:
    """Stage a document and promote it; its digest."""
    digest = desk.segment.stage(document, reason="test").revision.digest
    desk.segment.promote(digest, "go")
    return digest


def refused(code: grpc.StatusCode) -> pytest.RaisesContext[grpc.RpcError]:  # type: ignore[name-defined]
    """Expect a call to end with this code."""
    return pytest.raises(grpc.RpcError, check=lambda error: error.code() is code)
