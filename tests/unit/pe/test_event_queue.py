"""The event queue: bounded batches, fair between sources, in order within one."""

from __future__ import annotations

import asyncio
from collections import Counter
from ipaddress import ip_address

from controlplane.model.attributes import Nlri
from controlplane.model.events import Event, PortChanged, RoutesWithdrawn
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, Prefix
from pe.event_queue import BATCH, QUANTUM, EventQueue, source_of, weight


def withdrawal(vrf: str, number: int, routes: int) -> RoutesWithdrawn:
    peer = PeerId(vrf, ip_address("192.0.2.1"))
    prefixes = (Prefix((number << 12 | n).to_bytes(4, "big"), 32) for n in range(routes))
    return RoutesWithdrawn(peer, Family.IPV4_UNICAST, [Nlri(prefix) for prefix in prefixes])


def flooded(vrfs: int, events: int, routes: int) -> EventQueue:
    queue = EventQueue()
    queue.put([withdrawal(f"vrf{v}", n, routes) for n in range(events) for v in range(vrfs)])
    return queue


async def taken(queue: EventQueue) -> list[Event]:
    return await queue.take(0)


def test_a_batch_is_bounded_however_many_sources_send() -> None:
    async def run() -> None:
        queue = flooded(vrfs=100, events=20, routes=50)
        while batch := await taken(queue):
            assert sum(map(weight, batch)) < BATCH + QUANTUM

    asyncio.run(run())


def test_sources_share_a_batch_and_none_waits_for_a_flood() -> None:
    async def run() -> None:
        queue = flooded(vrfs=30, events=40, routes=25)
        queue.put([withdrawal("quiet", 0, 5)])
        got: Counter[str] = Counter()
        while batch := await taken(queue):
            for event in batch:
                got[source_of(event)] += weight(event)
            if len(queue) and len(got) == 31:
                shares = [n for vrf, n in got.items() if vrf != "quiet"]
                assert max(shares) - min(shares) <= 2 * QUANTUM
        assert got["quiet"] == 5
        assert sum(got.values()) == 30 * 40 * 25 + 5

    asyncio.run(run())


def test_events_heavier_than_a_quantum_are_taken_and_keep_their_order() -> None:
    async def run() -> None:
        queue = flooded(vrfs=3, events=6, routes=QUANTUM * 3)
        seen: dict[str, list[Event]] = {}
        while batch := await taken(queue):
            for event in batch:
                seen.setdefault(source_of(event), []).append(event)
        wanted = [withdrawal("vrf1", n, QUANTUM * 3) for n in range(6)]
        assert seen["vrf1"] == wanted

    asyncio.run(run())


def test_the_node_s_own_events_come_first_and_leave_room_for_the_vrfs() -> None:
    async def run() -> None:
        queue = flooded(vrfs=1, events=5, routes=10)
        queue.put([PortChanged(f"p{n}", True, True) for n in range(3 * BATCH)])
        batch = await taken(queue)
        kinds = [isinstance(event, PortChanged) for event in batch]
        assert kinds == sorted(kinds, reverse=True)
        assert not all(kinds)

    asyncio.run(run())
