"""How soon a change of policy is enforced, and what a rebuild costs those who send meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from ipaddress import IPv4Address
from time import perf_counter

from controlplane.segment.compile import Books
from controlplane.segment.enforcer import Slot
from controlplane.segment.incremental import IncrementalCompiler
from controlplane.segment.tables import Delta, delta_size
from pe.segment.keeper import SegmentKeeper
from pe.segment.program import TABLE
from perf import segment_world as world
from perf.segment_node import CORE, ZONE, Sender, run
from perf.segment_results import Changes, Rebuild

WORKLOADS = 10_000
ROUNDS = 500
PROGRAM_ROUNDS = 50
REBUILDS = 3
RATE, SECONDS = 2_000, 12


async def tag_changes(keeper: SegmentKeeper) -> Changes:
    """One workload after the other changes its tier: from the tag to the kernel."""
    compiler = IncrementalCompiler(world.policy(), world.inventory(WORKLOADS), Books())
    keeper.submit(Slot.ENFORCED, compiler.tables)
    await keeper.settled()
    compiled, enforced = [], []
    for number in range(ROUNDS):
        changed = world.workload(number * 17 % WORKLOADS, tier=(number * 7 + 3) % world.TIERS)
        before = perf_counter()
        delta = compiler.put(changed)
        between = perf_counter()
        keeper.submit_delta(Slot.ENFORCED, delta)
        await keeper.settled()
        compiled.append(between - before)
        enforced.append(perf_counter() - before)
        assert delta_size(delta) >= world.ADDRESSES
    by_program = [_by_program(delta) for delta in _more(compiler)]
    keeper.submit(Slot.ENFORCED, compiler.tables)
    await keeper.settled()
    size = compiler.tables.size()
    return Changes(
        workloads=WORKLOADS,
        elements=size,
        compiled=tuple(compiled),
        enforced=tuple(enforced),
        by_program=tuple(by_program),
    )


def _more(compiler: IncrementalCompiler) -> Iterator[Delta]:
    for number in range(PROGRAM_ROUNDS):
        yield compiler.put(world.workload(number, tier=(number + 11) % world.TIERS))


def _by_program(delta: Delta) -> float:
    """The same change of addresses through the nft program: the usual way."""
    change = delta["addresses4"]
    gone = ", ".join(f"{ZONE:#x} . {IPv4Address(packed)}" for _, packed in change.gone)
    put = ", ".join(
        f"{ZONE:#x} . {IPv4Address(packed)} : {value:#x}"
        for (_, packed), value in change.put.items()
    )
    name = f"inet {TABLE} e_addresses4"
    text = f"delete element {name} {{ {gone} }}\nadd element {name} {{ {put} }}\n"
    before = perf_counter()
    run("nft", "-f", "-", stdin=text)
    return perf_counter() - before


async def rebuilds(keeper: SegmentKeeper) -> Rebuild:
    """The table is made anew several times, while every packet opens a flow and every other one
    must not pass."""
    tables = world.tables(WORKLOADS)
    keeper.submit(Slot.ENFORCED, tables)
    await keeper.settled()
    _count_at_the_core()
    sender = Sender(RATE, SECONDS, world.ALLOWED, world.DENIED)
    await asyncio.sleep(1)
    seconds = [await _rebuild(keeper) for _ in range(REBUILDS)]
    if not sender.sending:
        raise RuntimeError("the traffic ended before the rebuilds")
    sent, _ = await asyncio.to_thread(sender.wait)
    allowed, denied = _counted()
    return Rebuild(
        elements=tables.size(), seconds=tuple(seconds), sent=sent,
        lost=sent // 2 - allowed, admitted=denied,
    )  # fmt: skip


async def _rebuild(keeper: SegmentKeeper) -> float:
    before = perf_counter()
    keeper.doubt()
    await keeper.settled()
    return perf_counter() - before


def _count_at_the_core() -> None:
    # Behind one label: the UDP ports are 4 + 20 bytes on.
    rules = "".join(
        f"add rule netdev count in @nh,208,16 {port} counter\n"
        for port in (world.ALLOWED, world.DENIED)
    )
    hook = 'type filter hook ingress device "up0" priority 0;'
    head = f"add table netdev count\nadd chain netdev count in {{ {hook} }}\n"
    run("ip", "netns", "exec", CORE, "nft", "-f", "-", stdin=head + rules)


def _counted() -> tuple[int, int]:
    listed = run("ip", "netns", "exec", CORE, "nft", "list", "table", "netdev", "count")
    allowed, denied = (int(n) for n in re.findall(r"packets (\d+)", listed))
    run("ip", "netns", "exec", CORE, "nft", "delete", "table", "netdev", "count")
    return allowed, denied
