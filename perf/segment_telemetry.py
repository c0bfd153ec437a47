"""New flows, told: how many of them, and what it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from controlplane.segment.enforcer import FlowRecord, Slot
from pe.segment.keeper import SegmentKeeper
from perf import segment_world as world
from perf.segment_node import VRF, ZONE
from perf.segment_results import Telling
from perf.segment_traffic import Traffic, bursts

RATES = (5_000, 10_000, 30_000)
SECONDS, EVERY = 5.0, 0.1
QUIET = 2.5
"""Seconds after which nothing is on its way any more."""


class Listener:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told = self.lost = 0

    def __call__(self, records: Sequence[FlowRecord], lost: int) -> None:
        """Count."""
        self.told += len(records)
        self.lost += lost


async def tellings(keeper: SegmentKeeper, *, staged: bool) -> list[Telling]:
    """One after the other; the sender is the kernel, and every packet opens a flow."""
    tables = world.tables(100)
    keeper.submit(Slot.ENFORCED, tables)
    keeper.submit(Slot.STAGED, tables if staged else None)
    keeper.zones({VRF: ZONE})
    await keeper.settled()
    listener = Listener()
    keeper.watch(listener)
    return [await _telling(keeper, listener, rate) for rate in RATES]


async def _telling(keeper: SegmentKeeper, listener: Listener, rate: int) -> Telling:
    await asyncio.sleep(QUIET)
    listener.told = listener.lost = 0
    before = keeper.counters()[f"judged_{ZONE}"]
    # Denied: they leave no connection behind, so that as many as one likes may come.
    traffic = Traffic(
        int(rate * EVERY), ("10.1.0.0", "10.1.0.0"), ("10.1.0.5", "10.1.0.200"), (1024, 65000),
        (world.DENIED, world.DENIED),
    )  # fmt: skip
    cpu = time.process_time()
    sent, seconds = await asyncio.to_thread(bursts, traffic, SECONDS, EVERY)
    await asyncio.sleep(QUIET)
    return Telling(
        rate=sent / seconds,
        seconds=seconds,
        judged=keeper.counters()[f"judged_{ZONE}"] - before,
        told=listener.told,
        lost=listener.lost,
        cpu=time.process_time() - cpu,
    )
