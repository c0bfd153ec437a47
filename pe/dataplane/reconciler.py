"""The reconciler brings the kernel to the desired state, repairs drift and reports events.

One task in the node's loop. It decides nothing about the desired state, and writes to the kernel
in its own iteration only: ``submit`` and the event reader just mark what changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from controlplane.model.desired import Delta, Desired, VrfObjects
from controlplane.model.events import Event, UnderlaySynced, VrfsHeld
from controlplane.model.log import Log
from controlplane.model.supervision import Part, Task
from pe.dataplane.adjacency import AdjacencyProber
from pe.dataplane.foreign import ForeignObjects
from pe.dataplane.foreign_chains import ForeignChains
from pe.dataplane.netlink_events import NetlinkEventHandler
from pe.dataplane.released_zones import ReleasedZones
from pe.dataplane.state import DataplaneState
from pe.dataplane.vrf_reports import VrfReports
from pe.devices.drift import DriftCheck
from pe.devices.kernel import DeviceKernel
from pe.devices.manager import DeviceManager
from pe.devices.ops import AddRule, DropRule
from pe.devices.scope import Scope
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import NextHopWriter, is_ours
from pe.fib.route_batch import RouteWriter
from pe.filters.manager import FilterManager
from pe.model.guards import Guard
from pe.model.state import ROUTE, Failure, Failures, Rule
from pe.netlink.events import EventSocket
from pe.netlink.main_routes import MainRoute
from pe.netlink.ownership import LOCAL_PREFERENCE
from pe.nft.owner import RulesetOwner
from pe.process import sysctl

CHECK_SECONDS = 3.0
"""Period in which drift that no event reports (of a sysctl, a ruleset) is found and repaired."""
SHORTEST_WAIT = 0.05
GUARDS_SECONDS = 10.0
"""How long loading the guards may take."""


class DataplaneReconciler:
    """``emit`` gets events for the control plane; it may call ``submit`` right away.

    ``disabled_guards`` (names of ``Guard``) is for tests, which must see an attack succeed
    without the guard. ``spare_ports`` are left to the host. Nothing happens before the first
    delta with a ``node`` in it: until then a former run's state stays as it is.
    """

    def __init__(
        self,
        *,
        emit: Callable[[list[Event]], None],
        log: Log,
        part: Part,
        disabled_guards: frozenset[str] = frozenset(),
        spare_ports: frozenset[str] = frozenset(),
        neighbours: int = 256,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._emit, self._log, self._check_seconds = emit, log, check_seconds
        self._part = part
        self._drift = DriftCheck(check_seconds)
        self._disabled = frozenset(Guard(name) for name in disabled_guards)
        self._options = (spare_ports, neighbours)
        self.rulesets = RulesetOwner()
        """Shared with the policy manager, which changes rulesets as well."""
        self._desired, self._failures = Desired(), Failures()
        self._reports = VrfReports(self._desired)
        self._zones = ReleasedZones(self._failures, log)
        self._in_sync = False
        self._resync = False
        self._gone_tables: set[int] = set()
        self._prober = AdjacencyProber(emit, log, part)
        self.foreign = ForeignObjects(self._desired, log, part)
        self._chains = ForeignChains(
            self.rulesets, self._desired, log, part, self.foreign.take_chains
        )
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._task: Task | None = None

    async def start(self) -> None:
        """Open sockets, read everything, report the underlay, and begin to follow events."""
        with contextlib.suppress(OSError):  # else each next-hop change notifies for every route
            sysctl.write("ipv4/nexthop_compat_mode", "0")
        self._open()
        await self._kernel.open()
        self._load()
        await self._structure.read(Scope(everything=True))
        self._report()
        self._emit([UnderlaySynced()])
        reader = self._part.guard(self._on_events, self._request_resync)
        asyncio.get_running_loop().add_reader(self._events.fileno(), reader)
        self._task = self._part.start(self._run)

    def _open(self) -> None:
        self._kernel = DeviceKernel()
        self.rulesets.open()
        self._routes, self._next_hops = RouteWriter(), NextHopWriter()
        self._guards = FilterManager(self.rulesets)
        spare, neighbours = self._options
        self._structure = DeviceManager(
            self._desired, self._kernel, self._guards, self._failures, self._log,
            disabled=self._disabled, spare_ports=spare, neighbours=neighbours,
        )  # fmt: skip
        self._forwarding = FibManager(
            self._desired, self._next_hops, self._routes, self._failures, self._log,
            self.foreign.ours_written,
        )  # fmt: skip
        self._handler = NetlinkEventHandler(
            self._structure, self._forwarding, self._is_configured, self._failures, self._log,
            self.foreign,
        )  # fmt: skip
        self._handler.next_hop_pid = self._next_hops.pid
        self.state = DataplaneState(
            self._desired, self._failures, self._structure, self._forwarding, self._guards,
            self.foreign, self._handler,
        )  # fmt: skip
        # Before the dumps: what changes during a dump is reported as an event.
        self._events = EventSocket(self._routes.pid, self._handler.handle, self._on_lost)

    def _is_configured(self, device: str) -> bool:
        desired = self._desired
        return device in desired.ce_ports or device in desired.core_ports or device in desired.vrfs

    def _load(self) -> None:
        objects = self._next_hops.dump()
        for identifier, (protocol, content) in objects.items():
            if not is_ours(identifier, protocol) and content:
                self._handler.underlay.object_changed(identifier, content)
        self._forwarding.load(objects, self._routes.dump())
        self._handler.underlay.stale = True

    def submit(self, delta: Delta, number: int = 0) -> None:
        """Take over a change of the desired state. Cheap; the last change of a key wins.

        ``VrfsHeld`` reports its VRFs under the number, one by one; 0: they are not reported.
        """
        tables: set[int] = set()
        if delta.is_of_paths:
            self._desired.apply(delta)
        else:
            tables = self._apply_objects(delta, number)
        self._forwarding.next_hops_changed(delta.next_hops)
        for table, routes in delta.routes.items():
            self._forwarding.routes.changed(table, routes)
        for table in tables:
            self._forwarding.routes.table_changed(table, sweep=self._in_sync)
        self._notify()

    def _apply_objects(self, delta: Delta, number: int) -> set[int]:
        """Take over a change that has more than paths; return the tables of its VRFs."""
        tables = {self._desired.vrfs[n].table for n in delta.vrfs if n in self._desired.vrfs}
        self._reports.note(delta, number)
        self._zones.changing(delta, self._desired.ce_ports)
        self._structure.changing(delta)
        self._gone_tables |= tables
        self._desired.apply(delta)
        if delta.vrfs:
            self.foreign.tables_changed()
        kept = {vrf.table for vrf in delta.vrfs.values() if vrf}
        self._gone_tables -= kept
        self._prober.change(delta.node, delta.adjacencies)
        return tables | kept

    async def require_verdicts(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        """Have the guards track connections in some VRFs for a policy's sake, and let only judged
        packets cross those in ``judged``; returns once they do, or will from the beginning.
        Raises TimeoutError if the guards cannot be loaded."""
        self._structure.filters.require_verdicts(tracked, judged)
        self._notify()
        if self._desired.node is not None:
            async with asyncio.timeout(GUARDS_SECONDS):
                await self._structure.filters.requirements_met.wait()

    def expect_verdicts(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        """As ``require_verdicts``, without waiting: VRFs that are new open guarded, and stay
        closed until there are verdicts."""
        self._structure.filters.require_verdicts(tracked, judged)
        self._notify()

    def mark_in_sync(self) -> None:
        """Delete from now on what is ours and not desired: a former run left it behind."""
        if not self._in_sync:
            self._in_sync = True
            self._forwarding.sweep()
            self._structure.swept()
            self._notify()

    async def settled(self) -> None:
        """Wait until the kernel is as desired, except for what failed and is retried."""
        await self._idle.wait()

    def failures(self) -> tuple[Failure, ...]:
        """Return what the kernel refuses at present, oldest first."""
        return self._failures.all()

    @property
    def is_settled(self) -> bool:
        """True while the kernel is as desired, except for what failed and is retried."""
        return self._idle.is_set()

    async def stop(self) -> None:
        """Stop the task and close the sockets. The kernel keeps its state and goes on forwarding
        and filtering."""
        if self._task is None:
            return
        self._prober.stop()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        asyncio.get_running_loop().remove_reader(self._events.fileno())
        for part in (self._events, self._routes, self._next_hops, self.rulesets):
            part.close()
        await self._kernel.close()

    async def teardown(self) -> None:
        """Remove every object of ours: ports, labels, VRFs, then filters. Call before ``stop``."""
        gone = Delta(
            node=self._desired.node,
            vrfs=dict.fromkeys(self._desired.vrfs),
            reaches=dict.fromkeys(self._desired.reaches),
            ce_ports=dict.fromkeys(self._desired.ce_ports),
            core_ports=dict.fromkeys(self._desired.core_ports),
            sessions=dict.fromkeys(self._desired.sessions),
            next_hops=dict.fromkeys(self._desired.next_hops),
            labels=dict.fromkeys(self._desired.labels),
            routes={t: dict.fromkeys(routes) for t, routes in self._desired.routes.items()},
        )
        self.submit(gone)
        self.mark_in_sync()
        await self.settled()
        if self._task:
            self._task.cancel()
        await self._guards.clear()
        for rule in list(self._structure.seen.rules):  # notifications change it meanwhile
            if rule.preference == LOCAL_PREFERENCE:
                await self._kernel.perform(AddRule(Rule(rule.afi, 0, rule.table)))
                await self._kernel.perform(DropRule(rule))

    def _notify(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _on_events(self) -> None:
        self._events.read()
        self._handler.report()
        self._report()
        self._notify()

    def _on_lost(self) -> None:
        self._log("warning", "kernel_events_lost", {})
        self._resync = True

    def _request_resync(self) -> None:
        """Resync: of the events in one buffer, those behind the one that raised are unread."""
        self._resync = True
        self._notify()

    def _report(self) -> None:
        events = self._handler.news(self._main_routes)
        if events:
            self._emit(events)

    def _main_routes(self, device: int) -> list[MainRoute]:
        return self._kernel.main_routes(device)

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout()):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._iterate()
            except Exception as error:  # a KeyError once ended the task while BGP went on
                self._idle.clear()
                self._resync = True
                await asyncio.sleep(self._part.failed(error))
                self._wake.set()
                continue
            self._part.completed()
            self._report_vrfs()
            if not self._wake.is_set() and not self._structure.dirty:
                self._idle.set()

    def _report_vrfs(self) -> None:
        if self._resync or self._desired.node is None:
            return
        if held := self._reports.take(self._structure.waits):
            self._emit([VrfsHeld(held)])

    def _timeout(self) -> float:
        now = asyncio.get_running_loop().time()
        due = [self._drift.due]
        others = (
            self._failures.next_due({ROUTE}), self._forwarding.next_due(), self.foreign.due,
            self.foreign.remove_due if self._removes_foreign else None,
        )  # fmt: skip
        due += [t for t in others if t]
        return min(max(min(due) - now, SHORTEST_WAIT), self._check_seconds)

    @property
    def _removes_foreign(self) -> bool:
        node = self._desired.node
        return node is not None and node.removes_foreign_routes and self._in_sync

    async def _iterate(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._resync:
            self._resync = False
            self._structure.resync()
            self._load()
            self.foreign.read_anew()
            self._chains.read_anew()
        if self._desired.node is None:
            return
        self.foreign.follow(now)
        self.foreign.report(now)
        if self._removes_foreign:
            self.foreign.remove(now)
        await self._look_for_drift(now)
        self._verify_next_hops()
        self._forwarding.urgent(self._devices(), now)
        self._forwarding.retry(now)
        if self._structure.is_due(now):
            await self._structure.up(now, sweep=self._in_sync)
            self._report()
            self._verify_next_hops()
        await self._forward(now)
        if self._structure.dirty:
            self._notify()
        elif self._structure.has_leftovers:
            await self._structure.down(now)
            self._report()
            self._notify()
        if self._in_sync:  # before that, ports that are not desired stay
            await self._zones.flush(self._are_leaving, now)

    def _are_leaving(self, ports: set[str]) -> bool:
        return self._structure.waits("", VrfObjects(devices=ports))

    async def _look_for_drift(self, now: float) -> None:
        """Compare what changes without a notification (settings, rulesets) and, as a safety net,
        the rest: a portion of the devices at a time, all of them within the period."""
        if self._drift.begins(now):
            self._drift.begin(self._structure.devices(), now)
            self._forwarding.audit()
            self._structure.check_node()
            self._chains.look(now)
            if await self._guards.drifted():
                self._structure.filters.drifted()
                self.state.ruleset_repairs += 1
                self._log("warning", "drift_repaired", {"kind": "ruleset", "step": "load"})
        self._structure.check_devices(self._drift.take(now), whole=self._drift.is_whole)

    def _verify_next_hops(self) -> None:
        unverified, self._handler.unverified_devices = self._handler.unverified_devices, set()
        self._forwarding.verify_devices(unverified)
        self._forwarding.report_lost()

    async def _forward(self, now: float) -> None:
        """Program next hops, then routes in batches; changed paths go first, before every batch."""
        self._forwarding.converge_all(self._devices(), now)
        ready = self._structure.ready_tables()
        while self._forwarding.batch(ready, now) or self._forwarding.collect(now):
            await asyncio.sleep(0)
            self._forwarding.urgent(self._devices(), now)
            if self._structure.dirty:
                return
        gone = self._gone_tables
        self._gone_tables = {table for table in gone if not self._forwarding.release_table(table)}

    def _devices(self) -> dict[str, int]:
        return self._structure.seen.indexes
