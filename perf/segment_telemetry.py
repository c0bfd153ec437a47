"""New flows, told: how many of them, and what it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec

from controlplane.model.flow import FlowRecord
from controlplane.model.verdict_tables import Slot
from controlplane.policy.insight.flowbook import FlowBook
from controlplane.policy.insight.rule_names import by_number
from pe.policy.manager import PolicyMapManager
from perf import segment_world as world
from perf.segment_node import CLIENT, VRF, ZONE, Site
from perf.segment_results import TelemetryRun
from perf.segment_traffic import Traffic, bursts

EVERY = 0.1
WORKLOADS = 100
QUIET = 3.0
"""Seconds after which nothing is on its way any more: twice what the keeper checks, and more."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Rates (new flows a second) without and with a staged revision, each for so many seconds."""

    rates: tuple[int, ...] = (5_000, 10_000, 30_000)
    staged_rates: tuple[int, ...] = (5_000, 10_000)
    seconds: float = 5.0


async def telemetry_runs(keeper: PolicyMapManager, site: Site, plan: Plan) -> list[TelemetryRun]:
    """One after the other; the sender is the kernel, and every packet opens a flow."""
    found = []
    for staged, rates in ((False, plan.rates), (True, plan.staged_rates)):
        tables = world.tables(WORKLOADS)
        keeper.submit_bindings(world.source_bindings(WORKLOADS))
        keeper.submit(Slot.ENFORCED, tables)
        keeper.submit(Slot.STAGED, tables if staged else None)
        keeper.zones({VRF: ZONE})
        await keeper.settled()
        for rate in rates:
            found.append(await _telemetry(keeper, site, rate, plan.seconds, staged=staged))
    return found


async def _telemetry(
    keeper: PolicyMapManager, site: Site, rate: int, seconds: float, *, staged: bool
) -> TelemetryRun:
    book = FlowBook()

    def take(records: Sequence[FlowRecord], lost: int) -> None:
        book.take(records, lost, time.time(), by_number, by_number)

    keeper.watch(lambda *_: None)
    await asyncio.sleep(QUIET)
    keeper.watch(take)
    before = keeper.counters()[f"judged_{ZONE}"]
    # Denied: they leave no connection behind, so that as many as one likes may come.
    targets = (world.address(1), world.address(WORKLOADS * world.ADDRESSES - 1))
    count = int(rate * EVERY)
    traffic = Traffic(count, (CLIENT, CLIENT), targets, (1024, 65000), world.DENIED)
    cpu = time.process_time()
    sent, took = await asyncio.to_thread(bursts, site, traffic, seconds, EVERY)
    await asyncio.sleep(QUIET)
    return TelemetryRun(
        rate=sent / took,
        seconds=took,
        staged=staged,
        sent=sent,
        judged=keeper.counters()[f"judged_{ZONE}"] - before,
        seen=sum(each.count for each in book.seen()),
        lost=book.lost,
        cpu=time.process_time() - cpu,
    )
