"""Keeps the structure: reads it, plans, and carries out the plan in order of phase, the ruleset
at its place between isolating VRFs and attaching ports."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable, Iterable

from controlplane.model.desired import Desired
from controlplane.model.prefix import Afi, IPAddress
from pe.devices.kernel import DeviceKernel
from pe.devices.ops import Phase, SetMaster, SetUp, Step
from pe.devices.plan import plan
from pe.devices.settings import settings
from pe.filters.context import RenderContext
from pe.filters.manager import FilterManager
from pe.filters.ruleset import ruleset
from pe.model.guards import Guard
from pe.model.state import Failures, LastResort, Structure
from pe.netlink.ownership import VRF_ALIAS
from pe.nft.text_model import name as nft_name

Log = Callable[[str, str, dict[str, str | int]], None]
KINDS = ("rule", "setting", "vrf", "void", "port", "label", "last-resort", "ruleset")
STUBBORN = 4
"""As often may the same step be needed in a row; then it counts as failed, and waits."""


class DeviceManager:
    """``seen`` is what the last reading found; ``dirty`` asks for another."""

    def __init__(
        self,
        desired: Desired,
        kernel: DeviceKernel,
        guards: FilterManager,
        failures: Failures,
        log: Log,
        *,
        disabled: frozenset[Guard],
        spare_ports: frozenset[str],
        neighbours: int,
    ) -> None:
        self.desired = self._desired = desired
        self._kernel, self._guards = kernel, guards
        self._failures, self._log = failures, log
        self._disabled, self._spare, self._neighbours = disabled, spare_ports, neighbours
        self.seen = Structure()
        self.dirty = True
        self.expected = True
        """Differences are of our own making, by a change or a device that came: not drift."""
        self.repairs = 0
        self._down: list[Step] = []
        self._repeats: Counter[Step] = Counter()
        self._guarded_as: dict[str, int] = {}
        self._tracked: frozenset[str] = frozenset()
        self._judged: frozenset[str] = frozenset()
        self.requirements_met = asyncio.Event()

    def require_verdicts(self, tracked: frozenset[str], judged: frozenset[str]) -> None:
        """Have connections of VRFs tracked, and only judged packets cross some of them."""
        self._tracked, self._judged = tracked, judged
        self.requirements_met.clear()
        self.dirty = self.expected = True

    def read(self) -> None:
        """See what is there."""
        self.seen = self._kernel.read(self._paths)

    def _paths(self, devices: Iterable[str]) -> Iterable[str]:
        vlans = (port.name for port in self._desired.ce_ports.values() if port.parent)
        return settings(self._desired, {*devices, *vlans}, self._disabled)

    async def up(self, now: float, *, sweep: bool) -> None:
        """All that is missing, and make a note of what is too much."""
        self.dirty = False
        self.read()
        steps = plan(self._desired, self.seen, sweep=sweep, disabled=self._disabled)
        self._judge(steps)
        moved = await self._perform((s for s in steps if s.phase < Phase.FILTER), now)
        self._down = [s for s in steps if s.phase > Phase.PERMIT]
        # The guards of ports that are about to go stay until these are down.
        loaded = await self._filter(now, keep=not sweep or bool(self._down))
        later = [s for s in steps if Phase.FILTER < s.phase <= Phase.PERMIT]
        moved = await self._perform(later, now) or moved
        # What failed or waits asks for another turn when it is due, not for one at once.
        self.dirty = self.dirty or moved
        if not (steps or loaded):
            self.expected = False
        if later:
            self.read()

    @property
    def has_leftovers(self) -> bool:
        """True if ``down`` has something to do."""
        return bool(self._down)

    async def down(self, now: float) -> None:
        """All that is too much, once no route needs it."""
        steps, self._down = self._down, []
        await self._perform((s for s in steps if s.phase <= Phase.DETACH), now)
        self.read()
        await self._filter(now, keep=False)
        await self._perform((s for s in steps if s.phase > Phase.UNFILTER), now)
        self.dirty = True

    def _judge(self, steps: list[Step]) -> None:
        """Drift or not; forget failures of what needs nothing any more."""
        wanted: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for step in steps:
            wanted[step.subject[0]].add(step.subject[1])
        for kind in KINDS:
            if kind != "ruleset":
                self._failures.clear_kind(kind, wanted[kind])
        if not self.expected and not len(self._failures):
            for step in steps:
                self.repairs += 1
                fields: dict[str, str | int] = {"kind": step.subject[0], "name": step.subject[1]}
                self._log("warning", "drift_repaired", {**fields, "step": repr(step.op)})
        self._repeats = Counter({s: self._repeats[s] for s in steps})

    async def _perform(self, steps: Iterable[Step], now: float) -> bool:
        """True if anything was done."""
        done = False
        broken: set[tuple[str, str]] = set()
        for step in steps:
            kind, key = step.subject
            if step.subject in broken or self._failures.waiting(kind, key, now):
                continue
            if not self._is_allowed(step):
                continue
            try:
                await self._try(step)
                done = True
            except OSError as error:
                broken.add(step.subject)
                self._fail(kind, key, error, now)
        return done

    async def _try(self, step: Step) -> None:
        self._repeats[step] += 1
        await self._kernel.perform(step.op)
        if self._repeats[step] >= STUBBORN:
            raise OSError(errno.EAGAIN, f"does not stay: {step.op!r}")

    def _fail(self, kind: str, key: str, error: OSError, now: float) -> None:
        if self._failures.failed(kind, key, error, now):
            words = error.strerror or str(error)
            self._log("error", "kernel_refused", {"kind": kind, "name": key, "reason": words})

    def _is_allowed(self, step: Step) -> bool:
        """A CE port gets into its VRF, and up, only behind its guard (FAIL-1, FAIL-4)."""
        if not isinstance(step.op, SetMaster | SetUp) or step.phase > Phase.PERMIT:
            return True
        return step.op.name not in self._desired.ce_ports or self.is_guarded(step.op.name)

    def is_guarded(self, port: str) -> bool:
        """True if a CE port's edge guard is in force."""
        off = Guard.EDGE in self._disabled
        return off or self._guards.has_chain("netdev", f"ce_{nft_name(port)}")

    def _core_addresses(self) -> frozenset[IPAddress]:
        """Those of core ports, link-local ones left out: every link has those."""
        found = (a.interface.ip for a in self.seen.addresses if a.port in self._desired.core_ports)
        return frozenset(address for address in found if not address.is_link_local)

    async def _filter(self, now: float, *, keep: bool) -> bool:
        scope = RenderContext(
            self._desired, self.seen.links, self._disabled, self._spare, self._neighbours,
            self._core_addresses(), self._tracked, self._judged,
        )  # fmt: skip
        if self._failures.waiting("ruleset", "", now):
            return False
        links = {name: link.index for name, link in self.seen.links.items()}
        if any(links.get(name, index) != index for name, index in self._guarded_as.items()):
            self._guards.doubt()  # another device under an old name, heard of or not: no guard
        try:
            loaded = await self._guards.bring(ruleset(scope), keep=keep)
            if (scope.tracked, scope.judged) == (self._tracked, self._judged):
                self.requirements_met.set()
            self._failures.cleared("ruleset", "")
            self._guarded_as = links
        except (OSError, ValueError) as error:
            refused = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
            self._fail("ruleset", "", refused, now)
            return False
        return loaded

    def ready_tables(self) -> dict[int, bool]:
        """The tables of VRFs; True where routes may go in."""
        return {vrf.table: self._is_isolated(vrf.name) for vrf in self._desired.vrfs.values()}

    def _is_isolated(self, vrf: str) -> bool:
        table = self._desired.vrfs[vrf].table
        link = self.seen.links.get(vrf)
        closed = Guard.LAST_RESORT in self._disabled or all(
            LastResort(afi, table) in self.seen.last_resorts for afi in Afi
        )
        made = link is not None and link.up and link.alias == VRF_ALIAS and link.table == table
        return closed and made
