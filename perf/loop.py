"""The event loop's lag in a large node: idle, and for one change of each kind.

    python -m perf.loop DIRECTORY [--vrfs N]    writes loop.json there

Every iteration of the loop is timed. It runs on the host, over stand-ins
for the kernel: what the kernel itself takes for a request is not in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import msgspec

from controlplane.model.attributes import Nlri
from controlplane.model.desired import Delta
from controlplane.model.events import Event, IntentChanged, RoutesWithdrawn, SessionDown, SessionUp
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.model.rd import parse_rd
from controlplane.policy.insight.rule_names import by_number
from pe.process.gc_tuning import freeze_heap
from pe.supervisor import Supervisor
from perf import loop_queries
from perf.loop_results import FILE, Lag, LoopRun, Recorder
from perf.loop_world import Plan, World, route
from tests.unit.controlplane.rig import PE2, ce_peer

IDLE_SECONDS = 9.0
REPEATS = 20
PAUSE_SECONDS = 0.2
FLOWS_AT_ONCE, FLOW_SECONDS = 500, 0.01
"""Records of one read of the flow log, and between two reads."""


def main(argv: Sequence[str]) -> int:
    """Build the node, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m perf.loop")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--vrfs", type=int, default=Plan().vrfs)
    options = parser.parse_args(argv)
    n = options.vrfs
    plan = Plan(vrfs=n, routes=n * 100, rules=n * 10, workloads=n * 5, flows=n * 200)
    recorder = Recorder()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(recorder)) as runner:
        found = runner.run(measured(plan, recorder))
    (options.directory / FILE).write_bytes(msgspec.json.encode(found))
    print(f"longest garbage collection {found.longest_collection * 1000:.1f} ms")
    for lag in found.lags:
        print(
            f"{lag.what:36} p50 {lag.p50 * 1000:7.2f}  p99 {lag.p99 * 1000:7.2f}"
            f"  max {lag.longest * 1000:7.1f}  CPU p99 {lag.cpu_p99 * 1000:7.2f}"
            f"  max {lag.cpu_longest * 1000:7.1f} ms  ({lag.iterations} iterations)"
        )
    return 0


async def measured(plan: Plan, recorder: Recorder) -> LoopRun:
    """All figures."""
    lags: list[Lag] = []
    with freeze_heap() as heap:  # as a node does before its first turn
        async with Supervisor(lambda *_: None) as supervisor:
            world = World(plan, supervisor)
            await world.dataplane.start()
            turns = asyncio.create_task(world.turns())
            collecting = asyncio.create_task(heap.follow())
            filling = world.filling()  # what others send is not made by the node
            recorder.clear()
            began = perf_counter()
            await _fill(world, turns, filling)
            start = perf_counter() - began
            lags.append(recorder.taken("start: sessions, ports, routes, flows"))
            await asyncio.sleep(IDLE_SECONDS)
            lags.append(recorder.taken("idle"))
            for what, change in changes(world):
                for number in range(REPEATS):
                    change(number)
                    await asyncio.sleep(PAUSE_SECONDS)
                await _rest(world, turns)
                lags.append(recorder.taken(what))
            turns.cancel()
            collecting.cancel()
            await world.dataplane.stop()
        del world
    lags += await loop_queries.lags(plan, recorder)
    return LoopRun(
        ports=plan.vrfs, vrfs=plan.vrfs, routes=plan.routes, rules=plan.rules,
        workloads=plan.workloads, flows=plan.flows, start=start,
        longest_collection=heap.longest_pause, lags=tuple(lags),
    )  # fmt: skip


async def _fill(world: World, turns: asyncio.Task[None], filling: Iterable[Event]) -> None:
    """The start: configuration, sessions and routes, then the flows of the first minutes."""
    world.emit(IntentChanged(world.intent), *filling)
    await _rest(world, turns)
    world.dataplane.mark_in_sync()
    await _rest(world, turns)
    for first in range(0, world.plan.flows, FLOWS_AT_ONCE):
        world.book.take(world.flows(first, FLOWS_AT_ONCE), 0, 0.0, by_number, by_number)
        await asyncio.sleep(FLOW_SECONDS)


async def _rest(world: World, turns: asyncio.Task[None]) -> None:
    """Wait until the node has nothing left to do."""
    quiet = 0
    while quiet < 3:
        if turns.done():
            turns.result()
        await asyncio.sleep(0.1)
        world.dataplane.notified()
        await world.dataplane.settled()
        quiet = quiet + 1 if not len(world.queue) else 0


def changes(world: World) -> Iterator[tuple[str, Callable[[int], None]]]:
    """One change of each kind, as a function of how often it was made."""
    dataplane, ports = world.dataplane, world.plan.vrfs
    state = dataplane.kernel.world.state
    every = world.intent.vrfs

    def port(number: int) -> None:
        old = dataplane._desired.ce_ports[f"v{number % ports}-ce"]
        changed = msgspec.structs.replace(old, mtu=1400 + number)
        dataplane.submit(Delta(ce_ports={changed.name: changed}))

    def reload(number: int) -> None:
        vrfs = list(world.intent.vrfs)
        old = vrfs[number % ports]
        changed = tuple(msgspec.structs.replace(p, mtu=1300 + number) for p in old.ports)
        vrfs[number % ports] = msgspec.structs.replace(old, ports=changed)
        world.intent = msgspec.structs.replace(world.intent, vrfs=tuple(vrfs))
        world.emit(IntentChanged(world.intent))

    def large_reload(number: int) -> None:
        vrfs = every if number % 2 else every[: ports // 2]
        world.emit(IntentChanged(msgspec.structs.replace(world.intent, vrfs=vrfs)))

    def one_route(number: int) -> None:
        if number % 2:
            nlri = [Nlri(route(500), parse_rd(f"65000:{number}"), (300,))]
            world.emit(RoutesWithdrawn(PE2, Family.IPV4_VPN, nlri))
        else:
            world.learn((route(500),), number)

    def link(number: int) -> None:
        old = state.links[f"v{number // 2 % ports}-ce"]
        changed = replace(old, carrier=bool(number % 2))
        state.put_link(changed)
        dataplane._structure.touch(changed.name)
        dataplane._structure.link_seen(changed)
        dataplane.notified()

    def session(number: int) -> None:
        peer: PeerId = ce_peer(f"v{number // 2 % ports}", "192.0.2.2").peer
        if number % 2:
            world.emit(SessionDown(peer=peer, reason="bench"))
        else:
            world.emit(SessionUp(peer=peer, families=frozenset({Family.IPV4_UNICAST})))

    def tag(number: int) -> None:
        world.compiler.put(world.workload(number * 17 % world.plan.workloads, number))

    def flows(number: int) -> None:
        world.book.take(world.flows(1 << 20 | number * 500, 500), 0, 0.0, by_number, by_number)

    yield "a port", port
    yield "a reload that changes one port", reload
    yield "a route", one_route
    yield "a port's carrier", link
    yield "a neighbour's session", session
    yield "a workload's tag (compiled)", tag
    yield "500 new flows (booked)", flows
    yield "a reload without half of the VRFs, or with them again", large_reload


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
