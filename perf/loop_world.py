"""A node of the size that the loop's budget is for, over stand-ins for the kernel.

The router, the reconciler, the event queue, the compiler of policies and the flow book are the
node's own; the kernel's side is played by the stand-ins of the tests. Settings are read from real
files of /proc/sys/net, because that is most of what an idle node does.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address
from typing import Any, cast

import msgspec

from controlplane.model.attributes import Nlri
from controlplane.model.effects import Save
from controlplane.model.events import (
    Event,
    RoutesReceived,
    SessionUp,
    StoreWritten,
    TimePassed,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
)
from controlplane.model.flow import FlowRecord
from controlplane.model.intent import VrfIntent
from controlplane.model.label import LabelBlock
from controlplane.model.prefix import Family, Prefix, parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.workload import Workload
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.language.document import parse_policy
from controlplane.router import Router
from pe.dataplane.foreign_chains import ForeignChains
from pe.dataplane.netlink_events import NetlinkEventHandler
from pe.dataplane.reconciler import DataplaneReconciler
from pe.devices.manager import DeviceManager
from pe.devices.scope import Scope
from pe.event_queue import EventQueue
from pe.fib.manager import FibManager
from pe.filters.manager import FilterManager
from pe.model.state import Link, Structure
from pe.netlink.main_routes import MainRoute
from pe.process import clock
from pe.supervisor import Supervisor
from perf import segment_world
from tests.pe_fakes import (
    FakeFilters,
    FakeNextHops,
    FakeRoutes,
    FakeStructure,
    FakeStructureKernel,
)
from tests.unit.controlplane.rig import PE2, ce_peer, node, port, vpn_attributes, vrf

TIERS = 50
AT_ONCE = 500
"""Settings that are read before the loop goes on: the node reads all of them in a thread."""
PROBED = b"/proc/sys/net/ipv4/conf/lo/rp_filter"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How large the node is."""

    vrfs: int = 1000
    routes: int = 100_000
    rules: int = 10_000
    workloads: int = 5000
    flows: int = 200_000


class Kernel(FakeStructureKernel):
    """The stand-in, with the time that reading real files takes."""

    async def read_all(self, settings: Callable[[Iterable[str]], Iterable[str]]) -> Structure:
        """As the stand-in of the tests, but for a deep copy, which takes a fifth of a second."""
        state = self.world.state
        seen = Structure(
            dict(state.links), dict(state.addresses), dict(state.rules), set(state.last_resorts),
            dict(state.labels), set(state.foreign_labels), dict(state.sysctls),
        )  # fmt: skip
        paths = list(settings(seen.links))
        for first in range(0, len(paths), AT_ONCE):
            self.read_settings(seen, paths[first : first + AT_ONCE])
            await asyncio.sleep(0)
        return seen

    def read_settings(self, seen: Structure, paths: Iterable[str]) -> None:
        """Open and read a file for each."""
        for path in paths:
            file = os.open(PROBED, os.O_RDONLY | os.O_CLOEXEC)
            os.read(file, 64)
            os.close(file)
            seen.sysctls[path] = self.world.state.sysctls.get(path)


class Reconciler(DataplaneReconciler):
    """The node's reconciler over stand-ins."""

    kernel: Kernel

    async def start(self) -> None:
        """As the real one, without sockets."""
        self._open()
        await self._structure.read(Scope(everything=True))
        self._emit([UnderlaySynced()])
        self._task = self._part.start(self._run)

    def _open(self) -> None:
        links = {name: Link(i, name, up=True, carrier=True, mtu=1500)
                 for i, name in enumerate(("lo", "trunk", "core0"), 1)}  # fmt: skip
        self.kernel = Kernel(FakeStructure(Structure(links)))
        self._kernel = cast(Any, self.kernel)
        self._guards = cast(FilterManager, _Filters())
        spare, neighbours = self._options
        self._structure = DeviceManager(
            self._desired, self.kernel, self._guards, self._failures, self._log,
            disabled=self._disabled, spare_ports=spare, neighbours=neighbours,
        )  # fmt: skip
        self._next_hops = cast(Any, FakeNextHops())
        self._forwarding = fib(self)
        self._handler = NetlinkEventHandler(
            self._structure, self._forwarding, self._is_configured, self._failures, self._log,
            self.foreign,
        )  # fmt: skip
        self._handler.underlay.stale = False
        self._chains = cast(ForeignChains, _NoChains())

    def _main_routes(self, _device: int) -> list[MainRoute]:
        return []

    def notified(self) -> None:
        """Take in what a notification has named."""
        self._structure.dirty.add(self.kernel.notified)
        self._report()
        self._notify()

    async def stop(self) -> None:
        """End."""
        if self._task:
            self._task.cancel()


def fib(reconciler: Reconciler) -> FibManager:
    """The FIB manager over stand-ins."""
    next_hops, routes = reconciler._next_hops, FakeRoutes()
    return FibManager(reconciler._desired, next_hops, routes, reconciler._failures, reconciler._log)


class _NoChains:
    """No other program has chains."""

    def look(self, _now: float) -> None:
        pass


class _Filters(FakeFilters):
    async def drifted(self) -> bool:
        return False


class World:
    """The node, and the one task that carries its events."""

    def __init__(self, plan: Plan, supervisor: Supervisor) -> None:
        self.plan, self.queue, self.router = plan, EventQueue(), Router()
        self.dataplane = Reconciler(
            emit=self.queue.put, log=lambda *_: None, part=supervisor.part("dataplane")
        )
        self.intent = node(
            *(_vrf(n) for n in range(plan.vrfs)), label_block=LabelBlock(16000, 31999)
        )
        self.book = FlowBook()
        self.compiler = IncrementalCompiler(
            parse_policy(_document(plan.rules)),
            segment_world.inventory(plan.workloads, TIERS),
            IdAllocators(),
        )

    async def turns(self) -> None:
        """Take events, decide, submit: as the node does, without speakers and store."""
        durable: list[Event] = []
        while True:
            events = durable or await self.queue.take(self._patience())
            effects = self.router.handle(events or [TimePassed()], clock.now())
            durable = [StoreWritten()] if any(isinstance(a, Save) for a in effects.actions) else []
            if effects.delta:
                self.dataplane.submit(effects.delta, effects.structure)
            if effects.in_sync:
                self.dataplane.mark_in_sync()
            await asyncio.sleep(0)

    def _patience(self) -> float | None:
        due = self.router.next_deadline
        return None if due is None else max(0.0, due - time.monotonic())

    def emit(self, *events: Event) -> None:
        """Put events into the queue."""
        self.queue.put([*events])

    def learn(self, prefixes: Iterable[Prefix], number: int) -> None:
        """The remote PE advertises these in a VRF."""
        self.emit(_learned(prefixes, number))

    def filling(self) -> list[Event]:
        """The sessions and routes of the node."""
        path = UnderlayPath(ip_address("10.0.1.2"), "core0", (18,))
        found: list[Event] = [
            UnderlayRouteChanged(parse_prefix("10.255.0.2/32"), (path,), 10),
            SessionUp(peer=PE2, families=frozenset({Family.IPV4_VPN})),
        ]
        each = self.plan.routes // self.plan.vrfs
        prefixes = [route(m) for m in range(each)]
        return found + [_learned(prefixes, n) for n in range(self.plan.vrfs)]

    def flows(self, first: int, count: int) -> list[FlowRecord]:
        """New flows, as one read of the log finds them."""
        return [
            FlowRecord(
                0.0, "vrf0", IPv4Address(0x0A000000 + n), IPv4Address(0x0B000000 + n), 6, 40000,
                443, -1, (n & 1) << 30 | 1, None,
            )
            for n in range(first, first + count)
        ]  # fmt: skip

    def workload(self, number: int, tier: int) -> Workload:
        """A workload with another tag."""
        return segment_world.workload(number, tier % TIERS)


def _learned(prefixes: Iterable[Prefix], number: int) -> Event:
    nlri = [Nlri(prefix, parse_rd(f"65000:{number + 1}"), (300,)) for prefix in prefixes]
    attributes = vpn_attributes(f"65000:{number + 1}")
    return RoutesReceived(PE2, Family.IPV4_VPN, PE2.address, attributes, nlri)


def route(number: int) -> Prefix:
    """One of the remote site's prefixes, the same in every VRF."""
    return Prefix((0x14000000 + (number << 8)).to_bytes(4, "big"), 24)


def _vrf(n: int) -> VrfIntent:
    name = f"v{n}"
    plain = port(f"{name}-ce", name, "192.0.2.1/30")
    tagged = msgspec.structs.replace(plain, parent="trunk", vlan=n % 4000 + 1)
    return vrf(name, n + 1, ports=(tagged,), neighbors=(ce_peer(name, "192.0.2.2"),))


def _document(rules: int) -> str:
    pairs = ((a, b) for a in range(TIERS) for b in range(TIERS))
    lines = ["modes: {default: full}", "rules:"]
    lines += [
        f"  - allow tier=t{a} to tier=t{b} on tcp/{2000 + port}"
        for port, (a, b) in ((p, pair) for pair in pairs for p in range(4))
    ]
    return "\n".join(lines[: rules + 2]) + "\n"
