"""Keeps verdict tables in the kernel: deltas in a fraction of a millisecond, everything else as a
difference or a rebuild, always one transaction.

While the process is away the kernel goes on judging with what it has. After a start nothing is
touched until it was said which VRFs are under policy and what is enforced; then all is replaced
at once, so that no packet meets a half. What others did to our table is undone: before each
transaction the ruleset's generation says whether another program was there, and a check does so
now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace

from controlplane.model.flow import LiveFlow, OnFlows
from controlplane.model.log import Log
from controlplane.model.prefix import IPAddress
from controlplane.model.source_bindings import SourceBindings
from controlplane.model.supervision import Part, Task
from controlplane.model.verdict_tables import Slot, Tables, TablesDelta
from pe.model.mark_code import MarkCode
from pe.nft.diff import Change, elements_change, merge
from pe.nft.model import Chain
from pe.nft.owner import RulesetOwner
from pe.nft.socket import BatchRefusedError
from pe.observe.flow_log import ROOM, FlowLog
from pe.policy.desired import Wanted
from pe.policy.ports import PortReader
from pe.policy.program import TABLE
from pe.policy.tracking import Tracking
from pe.process import sysctl
from pe.process.clock import boot_id

Require = Callable[[frozenset[str], frozenset[str]], Awaitable[None]]
"""VRFs that have to be tracked, and those of them whose packets the guards must find judged."""

PART = "segment"
CHECK_SECONDS = 1.0
RETRY_SECONDS = 1.0
MANY_FLOWS = 500
"""To end so many takes 0.1 s; it is worth that all connections are judged once more."""


async def _nothing_to_require(tracked: frozenset[str], judged: frozenset[str]) -> None:
    del tracked, judged


class PolicyMapManager:
    """Hold the policy maps in the kernel. ``require`` has the guards track and check VRFs, and
    returns once they do; without it nothing sees to that. ``flow_room`` is how many bytes of
    flows may wait to be reported. ``rulesets``: shared with the node's other users of nftables.
    ``part`` owns the loop, ``flows`` the reader of the flow log."""

    def __init__(
        self,
        *,
        log: Log,
        part: Part,
        flows: Part,
        require: Require = _nothing_to_require,
        check_seconds: float = CHECK_SECONDS,
        flow_room: int = ROOM,
        rulesets: RulesetOwner | None = None,
    ) -> None:
        self._log, self._require, self._check_seconds = log, require, check_seconds
        self._part, self._flows_part = part, flows
        self._flow_room, self._own = flow_room, None if rulesets else RulesetOwner()
        self._rulesets = rulesets or self._own or RulesetOwner()
        self._holder = self._rulesets.holder(PART, (TABLE,), self._report_drift)
        self._code = MarkCode.of(boot_id())
        self._wanted = Wanted(code=self._code)
        self._required: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._refused: OSError | None = None
        self._task: Task | None = None
        self._checking: Task | None = None
        self._log_dropped: int | None = None
        self._mark = 0
        self._acknowledged: tuple[int, str] = (0, "")
        self._report: Callable[[int, str], None] = lambda _number, _reason: None
        self.repairs = 0
        """How often our table was put right after another program had changed it."""

    async def start(self) -> None:
        """Open sockets. Raises OSError."""
        with contextlib.suppress(OSError):  # else flows have no packets and bytes
            sysctl.write("netfilter/nf_conntrack_acct", "1")
        with contextlib.suppress(OSError):
            # A connection of which a part went another way, as its workload moved, goes on.
            sysctl.write("netfilter/nf_conntrack_tcp_be_liberal", "1")
        self._rulesets.open()
        self._ports, self._tracking = PortReader(), Tracking(self._code)
        self._flows = FlowLog(
            self._vrf_of_zone, self._log, self._flows_part, self._flow_room, self._code
        )
        self._task = self._part.start(self._run)

    async def stop(self) -> None:
        """End. The kernel goes on judging with what it holds."""
        if self._task is None:
            return
        for task in (self._task, self._checking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._task = self._checking = None
        self._flows.close()
        for part in (self._ports, self._tracking, *((self._own,) if self._own else ())):
            part.close()

    # What is to be held

    def zones(self, zones: dict[str, int]) -> None:
        """Have these VRFs, and no others, under policy."""
        self._wanted.set_zones(zones)
        self._awake()

    def submit(self, slot: Slot, tables: Tables | None) -> None:
        """Have a slot hold these tables. An enforced slot without any denies everything."""
        self._wanted.set_tables(slot, tables)
        self._awake()

    def submit_delta(self, slot: Slot, delta: TablesDelta) -> None:
        """Change a slot. Raises KeyError if it does not hold what the delta was made from."""
        self._wanted.change_tables(slot, delta)
        self._awake()

    def submit_bindings(self, bindings: SourceBindings) -> None:
        """Drop what comes from a port with an address that is bound elsewhere."""
        self._wanted.set_bindings(bindings)
        self._awake()

    def submit_bindings_delta(self, delta: TablesDelta) -> None:
        """Change the bindings. Raises KeyError if they are not what the delta was made from."""
        self._wanted.change_bindings(delta)
        self._awake()

    def mark(self, number: int) -> None:
        """Acknowledge what was submitted by now under this number."""
        self._mark = number
        self._awake()

    def on_acknowledged(self, report: Callable[[int, str], None]) -> None:
        """Report each number once the kernel holds it (reason "") or refuses it."""
        self._report = report

    async def settled(self) -> None:
        """Wait until the kernel holds what was submitted. Raises OSError, the kernel's refusal;
        it is tried again all the same."""
        await self._idle.wait()
        if self._refused:
            raise self._refused

    async def live(self, vrf: str, ends: Collection[IPAddress] = ()) -> Sequence[LiveFlow]:
        """The flows of a VRF that a verdict allowed; with ``ends``, those from or to one."""
        zone = (self._wanted.zones or {}).get(vrf)
        if zone is None:
            return []
        return await asyncio.to_thread(self._tracking.live, vrf, zone, ends)

    async def end(self, flows: Sequence[LiveFlow]) -> int:
        """End these flows; how many were there to end. Of many the kernel judges each one's next
        packet itself, while they are being ended one after the other (0.2 ms each)."""
        zones = self._wanted.zones or {}
        known = [(zones[flow.vrf], flow) for flow in flows if flow.vrf in zones]
        if len(known) >= MANY_FLOWS:
            self._wanted.begin_epoch()
            self._awake()
        return await asyncio.to_thread(self._tracking.end, known)

    def watch(self, on_flows: OnFlows) -> None:
        """Report new flows from now on. Call after ``start``."""
        self._flows.watch(on_flows)

    def doubt(self) -> None:
        """Make our table anew, from its names alone, in one transaction."""
        self._again()

    # What `pe show` asks for.

    def counters(self) -> dict[str, int]:
        """Return the packets of each counter, such as ``judged_10`` (the zone's number)."""
        return {c.name: c.packets for c in self._rulesets.counters((TABLE,))}

    @property
    def flow_log(self) -> FlowLog:
        """The reader of new flows."""
        return self._flows

    @property
    def is_settled(self) -> bool:
        """True while the kernel holds what was submitted, or has refused it."""
        return self._idle.is_set()

    @property
    def refusal(self) -> str:
        """Why the kernel does not hold what was submitted, "" if it does or will."""
        return str(self._refused or "")

    def vrfs_by_zone(self) -> dict[int, str]:
        """The VRFs under policy by their conntrack zones."""
        return {zone: vrf for vrf, zone in (self._wanted.zones or {}).items()}

    # The loop

    def _awake(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _vrf_of_zone(self, zone: int) -> str | None:
        zones = self._wanted.zones or {}
        return next((vrf for vrf, number in zones.items() if number == zone), None)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            # Counted from the last check: changes that never end must not put it off.
            due = checked + (RETRY_SECONDS if self._refused else self._check_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            if checking := loop.time() >= due:
                checked = loop.time()
            self._wake.clear()
            mark = self._mark
            try:
                await self._turn(checking=checking)
                self._refused = None
                self._part.completed()
            except OSError as error:
                self._fail(error)
            except Exception as error:  # everything is built anew, as after a refusal
                self._fail(OSError(errno.EINVAL, repr(error)))
                self._acknowledge(mark)
                await asyncio.sleep(self._part.failed(error))
            self._acknowledge(mark)
            if not self._wake.is_set():
                self._idle.set()

    def _acknowledge(self, mark: int) -> None:
        """Report what the kernel holds, or refuses: each once, however often it is tried."""
        if self._wanted.whole and not self._refused:
            return  # it is to be made anew: not held yet
        reason = str(self._refused) if self._refused else ""
        if mark and (mark, reason) != self._acknowledged:
            self._acknowledged = (mark, reason)
            self._report(mark, reason)

    def _fail(self, error: OSError) -> None:
        if self._refused is None or str(self._refused) != str(error):
            words = error.strerror or str(error)
            self._log("error", "kernel_refused", {"kind": "segment", "reason": words})
        self._refused = error
        self._holder.doubt()

    async def _turn(self, *, checking: bool) -> None:
        if not self._wanted.known:
            return
        if checking:
            self._begin_check()
            self._count_log_dropped()
            self._flows.flush()
        if checking or self._wanted.whole:
            self._wanted.set_ports(self._ports.ports())
        if self._wanted.whole or self._holder.doubted:
            await self._bring_whole()
        else:
            await self._bring_change(self._wanted.take_change() or {})
            await self._bring_epoch(self._wanted.take_epoch())

    async def _bring_whole(self) -> None:
        """Work everything out, and have the kernel hold it. VRFs are tracked before they are
        judged, and the guards look for verdicts only while there are any."""
        vrfs = self._wanted.vrfs
        await self._require_guards(vrfs | self._required[0], self._required[1] & vrfs)
        parts = self._wanted.take_parts()
        try:
            await self._holder.bring(await asyncio.to_thread(parts.ruleset))
        except BaseException:
            self._wanted.whole = True
            raise
        await self._require_guards(vrfs, vrfs)

    async def _require_guards(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        if (tracked, judged) != self._required:
            await self._require(tracked, judged)
            self._required = (tracked, judged)

    async def _bring_change(self, pending: Change) -> None:
        """Deltas go as they are: this is the way that has to be quick."""
        if any(gone or put for gone, put in pending.values()):
            async with self._rulesets.turn:
                await self._apply(pending)

    async def _bring_epoch(self, chains: dict[str, Chain]) -> None:
        """Change the rules of the epoch alone; the elements are what the kernel holds."""
        if chains and not self._holder.doubted:
            held = self._holder.loaded[TABLE]
            await self._holder.bring({TABLE: replace(held, chains={**held.chains, **chains})})

    async def _apply(self, pending: Change) -> None:
        held = self._holder.loaded[TABLE]
        try:
            done = await self._holder.change(elements_change(TABLE, held.sets, pending))
        except BatchRefusedError as error:
            self._log("warning", "policy_maps_repaired", {"reason": str(error)})
            done = False
        if done:
            merge(held.elements, pending)
        else:
            self._again()

    def _again(self) -> None:
        """Everything from the beginning, at once."""
        self._holder.doubt()
        self._wanted.whole = True
        self._awake()

    # Others

    def _count_log_dropped(self) -> None:
        """Flows that were too many to be logged: lost to the watcher."""
        log_dropped = sum(
            n for name, n in self.counters().items() if name.startswith("log_dropped_")
        )
        if self._log_dropped is not None:
            self._flows.add_lost(max(0, log_dropped - self._log_dropped))
        self._log_dropped = log_dropped

    def _report_drift(self) -> None:
        self.repairs += 1
        fields: dict[str, str | int] = {"kind": "segment", "step": "rebuild"}
        self._log("warning", "drift_repaired", fields)

    def _begin_check(self) -> None:
        """Check beside what changes: a tag once waited half a second for it."""
        if self._checking is None or self._checking.done():
            self._checking = self._part.spawn(self._check())

    async def _check(self) -> None:
        """Did another program touch our table? One small request while none changed any."""
        try:
            await self._holder.has_drifted()
        except OSError as error:
            self._fail(error)
        except Exception as error:
            self._fail(OSError(errno.EINVAL, repr(error)))
            self._part.failed(error)
        if self._holder.doubted and not self._wanted.whole:
            self._wanted.whole = True
            self._awake()
