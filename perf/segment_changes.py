"""How soon verdict tables are in the kernel, and what a rebuild costs those who send meanwhile."""

from __future__ import annotations

import asyncio
import re
from time import perf_counter

import msgspec

from controlplane.model.verdict_tables import Slot, TablesDelta, delta_size
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.incremental import IncrementalCompiler
from pe.policy.manager import PolicyMapManager
from perf import segment_text as text
from perf import segment_world as world
from perf.segment_node import CORE, VRF, ZONE, Sender, Site, run
from perf.segment_results import Changes, Rebuild


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: tag changes go in turns, ours and then some of the nft program's."""

    workloads: int = 10_000
    turns: int = 10
    ours: int = 50
    programs: int = 10
    rebuilds: int = 5
    rate: int = 2_000
    """New flows a second while rebuilding."""
    seconds: int = 15


async def tag_changes(keeper: PolicyMapManager, plan: Plan) -> Changes:
    """One workload after the other changes its tier: from the tag to the kernel."""
    maker = IncrementalCompiler(world.policy(), world.inventory(plan.workloads), IdAllocators())
    await _hold(keeper, maker, plan)
    run("nft", "-f", "-", stdin=text.table(maker.tables))
    compiled, enforced, by_program = list[float](), list[float](), list[float]()
    number = 0
    for _ in range(plan.turns):
        for _ in range(plan.ours):
            number += 1
            delta, took = _changed(maker, number, plan)
            compiled.append(took)
            enforced.append(took + await _ours(keeper, delta))
        theirs = []
        for _ in range(plan.programs):
            number += 1
            theirs.append(_changed(maker, number, plan)[0])
        for delta in theirs:
            by_program.append(_by_program(delta))
        for delta in theirs:
            await _ours(keeper, delta)  # the first one looks what the nft program has done
    size = maker.tables.size()
    run("nft", "delete", "table", *text.TABLE.split())
    return Changes(
        workloads=plan.workloads, elements=size, compiled=tuple(compiled),
        enforced=tuple(enforced), by_program=tuple(by_program),
    )  # fmt: skip


async def _hold(keeper: PolicyMapManager, maker: IncrementalCompiler, plan: Plan) -> None:
    keeper.submit_bindings(world.source_bindings(plan.workloads))
    keeper.submit(Slot.ENFORCED, maker.tables)
    keeper.submit(Slot.STAGED, None)
    keeper.zones({VRF: ZONE})
    await keeper.settled()


def _changed(maker: IncrementalCompiler, number: int, plan: Plan) -> tuple[TablesDelta, float]:
    who = number * 17 % plan.workloads
    changed = world.workload(who, (who + 1 + number % (world.TIERS - 1)) % world.TIERS)
    before = perf_counter()
    delta = maker.put(changed)
    took = perf_counter() - before
    assert delta_size(delta) >= world.ADDRESSES
    return delta, took


async def _ours(keeper: PolicyMapManager, delta: TablesDelta) -> float:
    before = perf_counter()
    keeper.submit_delta(Slot.ENFORCED, delta)
    await keeper.settled()
    return perf_counter() - before


def _by_program(delta: TablesDelta) -> float:
    """The same change through the nft program, of a copy: words made before, program started."""
    words = text.change(delta)
    before = perf_counter()
    run("nft", "-f", "-", stdin=words)
    return perf_counter() - before


async def rebuilds(keeper: PolicyMapManager, site: Site, plan: Plan) -> Rebuild:
    """The table is made anew several times, while every packet opens a flow and every other one
    must not pass."""
    maker = IncrementalCompiler(world.policy(), world.inventory(plan.workloads), IdAllocators())
    await _hold(keeper, maker, plan)
    _count_at_the_core(site)
    sender = Sender(site, plan.rate, plan.seconds, (world.ALLOWED, world.DENIED))
    await asyncio.sleep(1)
    seconds = [await _rebuild(keeper) for _ in range(plan.rebuilds)]
    if not sender.sending:
        raise RuntimeError(f"the traffic ended before the rebuilds, which took {seconds}")
    sent, took = await asyncio.to_thread(sender.wait)
    allowed, denied = _counted()
    words, by_program = text.table(maker.tables), list[float]()
    for _ in range(plan.rebuilds):
        before = perf_counter()
        run("nft", "-f", "-", stdin=words)
        by_program.append(perf_counter() - before)
    run("nft", "delete", "table", *text.TABLE.split())
    return Rebuild(
        elements=maker.tables.size(), seconds=tuple(seconds), by_program=tuple(by_program),
        rate=sent / took, sent=sent, lost=sent // 2 - allowed, admitted=denied,
    )  # fmt: skip


async def _rebuild(keeper: PolicyMapManager) -> float:
    before = perf_counter()
    keeper.doubt()
    await keeper.settled()
    return perf_counter() - before


def _count_at_the_core(site: Site) -> None:
    # Behind one label: the UDP ports are 4 + 20 bytes on.
    rules = "".join(
        f"add rule netdev count in @nh,208,16 {port} counter\n"
        for port in (world.ALLOWED, world.DENIED)
    )
    hook = f'type filter hook ingress device "{site.core}" priority 0;'
    head = f"add table netdev count\nadd chain netdev count in {{ {hook} }}\n"
    run("ip", "netns", "exec", CORE, "nft", "-f", "-", stdin=head + rules)


def _counted() -> tuple[int, int]:
    listed = run("ip", "netns", "exec", CORE, "nft", "list", "table", "netdev", "count")
    allowed, denied = (int(n) for n in re.findall(r"packets (\d+)", listed))
    run("ip", "netns", "exec", CORE, "nft", "delete", "table", "netdev", "count")
    return allowed, denied
