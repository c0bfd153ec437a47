"""A node without a kernel, BGP processes or API: the router, the executor and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.api.services.policy_access import PolicyAccess
from controlplane.api.tickets import Tickets
from controlplane.model.desired import Delta, Desired, objects_by_vrf
from controlplane.model.effects import Effect
from controlplane.model.events import (
    EndOfRib,
    Event,
    IntentChanged,
    SessionUp,
    UnderlaySynced,
    VrfsHeld,
)
from controlplane.model.flow import FlowRecord
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.prefix import Family
from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from controlplane.router import Router
from controlplane.store import EmbeddedStore, open_store
from controlplane.vpn.vrf import Vrf
from controlplane.vpn.workloads import Workloads
from pe.event_queue import EventQueue
from pe.executor import Executor
from pe.node import Node
from pe.process import clock
from tests.parts import LonePart
from tests.unit.policy.kernel import FakeKernel

Lines = list[tuple[str, str, dict[str, str | int]]]


@dataclass
class FakeDataPlane:
    """The kernel's routes and devices as they should be; held at once, but those of the VRFs that
    are ``stuck``."""

    desired: Desired = field(default_factory=Desired)
    deltas: list[Delta] = field(default_factory=list)
    in_sync: bool = False
    stuck: set[str] = field(default_factory=set)
    emit: Callable[[list[Event]], None] = lambda _events: None
    _waiting: dict[str, int] = field(default_factory=dict)

    async def start(self) -> None:
        """Nothing to read."""

    def submit(self, delta: Delta, number: int = 0) -> None:
        self.deltas.append(delta)
        desired = self.desired
        vrfs = objects_by_vrf(delta, desired.vrfs, desired.ce_ports, desired.labels)
        desired.apply(delta)
        if number:
            self._waiting |= dict.fromkeys(vrfs, number)
            self.report()

    def report(self) -> None:
        """Report the VRFs that are not stuck."""
        held = {v: number for v, number in self._waiting.items() if v not in self.stuck}
        self._waiting = {v: n for v, n in self._waiting.items() if v in self.stuck}
        if held:
            self.emit([VrfsHeld(held)])

    def mark_in_sync(self) -> None:
        self.in_sync = True

    async def stop(self) -> None:
        """Nothing to end."""


@dataclass
class FakeSpeakers:
    """What the peers were sent."""

    sent: list[Effect] = field(default_factory=list)
    peers: dict[str, tuple[PeerIntent, ...]] = field(default_factory=dict)
    restart_time: int = 0

    def configure(self, peers: Mapping[str, tuple[PeerIntent, ...]], restart_time: int) -> None:
        self.peers |= peers
        self.restart_time = restart_time

    def perform(self, actions: Sequence[Effect]) -> None:
        self.sent += actions

    async def stop(self) -> None:
        """Nothing to end."""


class RecordedWorkloads(Workloads):
    """Notes which routes were laid, and calls `on_lay` before each."""

    def __init__(self) -> None:
        super().__init__()
        self.emitted: list[WorkloadAttached | WorkloadDetached] = []
        self.on_lay: Callable[[], None] = lambda: None

    def attach(self, event: WorkloadAttached, vrfs: dict[str, Vrf]) -> None:
        self.on_lay()
        self.emitted.append(event)
        super().attach(event, vrfs)

    def detach(self, name: str, vrfs: dict[str, Vrf]) -> None:
        self.emitted.append(WorkloadDetached(name))
        super().detach(name, vrfs)


class PolicyNode:
    """Run within a loop: ``begin`` starts the node, ``stop`` ends it."""

    def __init__(
        self, intent: NodeIntent, kernel: FakeKernel | None = None,
        store: EmbeddedStore | None = None,
    ) -> None:  # fmt: skip
        self.intent = intent
        self.store = store or open_store(Path(intent.state_dir))
        self.kernel, self.dataplane, self.speakers = (
            kernel or FakeKernel(), FakeDataPlane(), FakeSpeakers(),
        )  # fmt: skip
        self.lines: Lines = []
        self.queue = EventQueue()
        self.dataplane.emit = self.queue.put
        self.router = Router(self.store.load_labels(), self.store.load_policy(), clock.now())
        self.workloads = RecordedWorkloads()
        self.router.state.workloads = self.workloads
        self.tickets = Tickets(self.queue.put)
        self.policy = self.router.policy
        self.access = PolicyAccess(self.policy, self.tickets.submit, intent)
        self.part = LonePart()
        self.executor = Executor(
            self.store, self.dataplane, self.kernel, self.kernel, self.speakers,
            emit=self.queue.put, log=self._log, part=self.part, answer=self.tickets.resolve,
            publish=self.access.publish,
        )  # fmt: skip
        self.node = Node(
            self.router, self.dataplane, self.speakers, self.executor, self.queue, self.part
        )
        self.kernel.watch(self._take_flows)
        self._task: asyncio.Task[None] | None = None

    def _log(self, level: str, event: str, fields: dict[str, str | int]) -> None:
        self.lines.append((level, event, fields))

    def _take_flows(self, records: Sequence[FlowRecord], lost: int) -> None:
        for line in self.policy.flows_seen(records, lost, clock.now().wall):
            self._log(line.level, line.event, line.fields)

    def logged(self, event: str) -> list[dict[str, str | int]]:
        """The fields of the log lines of an event."""
        return [fields for _, name, fields in self.lines if name == event]

    @property
    def emitted(self) -> list[WorkloadAttached | WorkloadDetached]:
        """The workload routes that were laid and withdrawn."""
        return self.workloads.emitted

    async def begin(self, *, in_sync: bool = True) -> None:
        """Start the node; with ``in_sync`` nothing is waited for."""
        self._task = asyncio.get_running_loop().create_task(self.node.run(self.intent))
        await self.until(lambda: self.router.intent is not None)
        if in_sync:
            await self.sync()

    async def sync(self) -> None:
        """Have every peer up with all its routes sent, none at all."""
        for peer in (p.peer for p in self.intent.all_peers):
            families = frozenset({Family.IPV4_UNICAST})
            self.queue.put([SessionUp(peer=peer, families=families)])
            self.queue.put([EndOfRib(peer, Family.IPV4_UNICAST)])
        self.queue.put([UnderlaySynced()])
        await self.until(lambda: self.policy.state.begun)

    async def do(self, *events: Event) -> None:
        """Have events handled."""
        self.queue.put(list(events))
        await self.until(lambda: not len(self.queue))
        await asyncio.sleep(0)

    async def reload(self, intent: NodeIntent) -> None:
        """Reload another configuration. Raises IntentRefusedError."""
        await self.tickets.submit(lambda ticket: IntentChanged(intent, ticket))
        self.intent = intent

    async def until(self, is_so: Callable[[], bool], turns: int = 5000) -> None:
        """Let the node go on until something is so."""
        for turn in range(turns):
            if is_so():
                return
            if self._task is not None and self._task.done():
                self._task.result()
            await asyncio.sleep(0 if turn < 200 else 0.001)
        raise AssertionError("it does not come to that")

    async def stop(self) -> None:
        """End the node; its store stays open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def run_story(intent: NodeIntent, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    """Run a story on a node of its own, which is stopped in the end."""

    async def whole() -> None:
        pe = PolicyNode(intent)
        try:
            await story(pe)
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(whole())
