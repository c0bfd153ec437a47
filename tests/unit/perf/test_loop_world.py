"""The node over stand-ins, of which the loop's lag is measured, does its work without a failure."""

from __future__ import annotations

import asyncio

from controlplane.model.events import IntentChanged
from pe.supervisor import Supervisor
from perf.loop_world import Plan, World

SMALL = Plan(vrfs=5, routes=50, rules=10, workloads=5, flows=10)


async def _run(said: list[object]) -> World:
    async with Supervisor(lambda *words, **more: said.append((words, more))) as supervisor:
        world = World(SMALL, supervisor)
        await world.dataplane.start()
        turns = asyncio.create_task(world.turns())
        world.emit(IntentChanged(world.intent), *world.filling())
        async with asyncio.timeout(20):
            while len(world.dataplane.kernel.world.state.links) < 2 * SMALL.vrfs:  # noqa: ASYNC110 - a stand-in
                await asyncio.sleep(0.01)
            world.dataplane.mark_in_sync()
            await asyncio.sleep(0)
            await world.dataplane.settled()
        turns.cancel()
        await world.dataplane.stop()
    return world


def test_it_works_without_a_failure() -> None:
    said: list[object] = []
    world = asyncio.run(_run(said))
    assert said == []
    assert world.dataplane.is_settled
    assert sum(map(len, world.dataplane._desired.routes.values())) == SMALL.routes
