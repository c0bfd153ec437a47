"""Ends established flows that the enforced tables do not allow any more.

The kernel asks nobody about a flow that was allowed once. Whenever a policy narrows, or a workload
gets other groups, the flows that are open on the strength of what was before are looked for here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from ipaddress import ip_address

from controlplane.model.flow import LiveFlow
from controlplane.model.prefix import IPAddress, Prefix
from controlplane.model.supervision import Work
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Packet
from controlplane.policy.carrier import Log
from controlplane.policy.compile.reader import Reader
from controlplane.policy.enforcer import Enforcer
from controlplane.policy.state import PolicyState

DELAY = 0.05
"""Seconds that changes gather before established flows are held against them."""

REST = 4
"""So many times as long as that took rests the next: a kernel with many flows is not asked for
them all the time."""

FLOWS_AT_ONCE = 1_000
"""Of established flows, held against the tables in one turn."""

ENDS_AT_MOST = 16
"""Of so many addresses the flows are asked for one by one; of more, all of the VRF."""

Spawn = Callable[[Callable[[], Work]], None]
"""Has something done in the background, and says so if it fails."""


class FlowRevoker:
    """Of one node. ``settle`` returns once the kernel holds what was decided."""

    def __init__(
        self, enforcer: Enforcer, director: PolicyState, *,
        settle: Callable[[], Awaitable[object]], spawn: Spawn, log: Log,
    ) -> None:  # fmt: skip
        self._enforcer, self._director = enforcer, director
        self._settle, self._spawn, self._log = settle, spawn, log
        self._places: dict[str, set[Prefix]] = {}
        self._seconds = 0.0

    @property
    def has_work(self) -> bool:
        """Whether changes wait to be held against established flows."""
        return bool(self._places)

    def soon(self, vrf: str, places: Iterable[Prefix]) -> None:
        """The groups of whoever is at these places changed: in a moment, end what is open on the
        strength of the old ones."""
        if vrf not in self._places:
            self._places[vrf] = set()
            self._spawn(partial(self._sweep, vrf))
        self._places[vrf].update(places)

    async def end_forbidden(self, vrfs: Iterable[str], ends: Collection[IPAddress] = ()) -> int:
        """End what is not allowed in some VRFs, now; how many flows. With ``ends`` only those
        from or to one of them are looked at."""
        compiler = self._director.compiler(Slot.ENFORCED)
        if compiler is None:
            return 0
        ended = 0
        for vrf in tuple(vrfs):
            live = await self._enforcer.live(vrf, ends)
            for at in range(0, len(live), FLOWS_AT_ONCE):
                # Anew each time: others have their turn in between, and may change the tables.
                reader = Reader(compiler.tables)
                part = live[at : at + FLOWS_AT_ONCE]
                if doomed := [flow for flow in part if _forbidden(reader, flow)]:
                    ended += await self._enforcer.end(doomed)
                await asyncio.sleep(0)
        return ended

    async def _sweep(self, vrf: str) -> None:
        await asyncio.sleep(max(DELAY, REST * self._seconds))
        places = self._places.pop(vrf)
        await self._settle()
        if self._director.begun and vrf in self._director.zones:
            started = time.perf_counter()
            ended = await self.end_forbidden([vrf], _few_ends(places))
            self._seconds = time.perf_counter() - started
            if ended:
                self._log("info", "flows_ended", {"vrf": vrf, "flows": ended})


def _forbidden(reader: Reader, flow: LiveFlow) -> bool:
    kind = max(flow.icmp_type, 0)
    packet = Packet(flow.source.version, flow.protocol, flow.dport, kind, flow.sport)
    return not reader.verdict(flow.vrf, flow.source, flow.destination, packet).allowed


def _few_ends(places: Collection[Prefix]) -> tuple[IPAddress, ...]:
    """The addresses, if they are few and no networks: else nothing, which stands for all."""
    if len(places) > ENDS_AT_MOST or any(p.length < p.afi.bits for p in places):
        return ()
    return tuple(ip_address(place.packed) for place in places)
