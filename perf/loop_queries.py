"""The loop's lag while a caller asks what-ifs without a pause, and a floor for it.

A what-if is computed in a process beside the node, so that the machine has one busy process more.
How long an idle loop waits for its processor beside such a process is the floor: what is above it
is the node's own.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import random
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter

from bulkhead.v1 import groups_pb2, policy_pb2

from controlplane.api.access.caller import Caller
from controlplane.api.compute.channel import ProcessChannel
from controlplane.api.compute.pool import ComputePool
from controlplane.model.intent import ApiRole
from controlplane.model.revision import Signature
from controlplane.policy.insight.replica_feed import Needs, ReplicaFeed
from controlplane.policy.language.document import parse_policy
from perf.loop_results import FLOOR, WHAT_IFS, Lag, Recorder
from perf.loop_world import Plan
from tests.parts import LonePart
from tests.scale.worlds_of_queries import QueryNode

SECONDS = 10.0
TICK = 0.002
GROUPS, VRFS = 200, 10
BUSY, CALM = (Caller(name, ApiRole.VIEWER) for name in ("busy", "calm"))


async def lags(plan: Plan, recorder: Recorder) -> list[Lag]:
    """The floor, then the lag under what-ifs."""
    await beside_a_busy_process()
    floor = recorder.taken(FLOOR)
    node = _node(plan)
    pool = ComputePool(
        lambda: (ProcessChannel(_user()), ReplicaFeed(node, "pe1").changes),
        lambda _level, event, fields: print(event, fields, file=sys.stderr),
        LonePart(),
        seconds=600,
    )
    recorder.clear()
    pool.start()
    try:
        await what_ifs(node, pool, plan)
    finally:
        await pool.stop()
    return [floor, recorder.taken(WHAT_IFS)]


async def beside_a_busy_process() -> None:
    """Tick, while another process uses one processor."""
    busy = _busy_process()
    try:
        ends = perf_counter() + SECONDS
        while perf_counter() < ends:  # noqa: ASYNC110 - these iterations are what is measured
            await asyncio.sleep(TICK)
    finally:
        busy.kill()
        busy.wait()


def _busy_process() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", "while True: pass"])


async def what_ifs(node: QueryNode, pool: ComputePool, plan: Plan) -> None:
    """One caller asks what-ifs, another one cheap queries, and workloads change."""
    document = _document(plan, 2, "full")
    request = policy_pb2.WhatIfRequest(document=document).SerializeToString()
    cheap = groups_pb2.TrySelectorRequest(selector="tier=web", vrf="vrf0").SerializeToString()
    asked = asyncio.create_task(pool.run("WhatIf", BUSY, Needs(flows=True), request, ""))
    ends, number = perf_counter() + SECONDS, 0
    while perf_counter() < ends or not number:
        await pool.run("TrySelector", CALM, Needs(), cheap)
        node.attach(0, 600 + number % 50)
        number += 1
        if asked.done():
            asked.result()
            again = pool.run("WhatIf", BUSY, Needs(flows=True), request, "")
            asked = asyncio.create_task(again)
        await asyncio.sleep(TICK)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"


def _node(plan: Plan) -> QueryNode:
    node = QueryNode(VRFS, plan.workloads // VRFS, plan.flows // VRFS)
    signed = Signature("bench", 0.0, "")
    ledger, revision = node.state.ledger.draft(parse_policy(_document(plan, 1, "visibility")))
    node.state.ledger = ledger.stage(revision.digest, signed).promote(signed)
    return node


def _document(plan: Plan, seed: int, mode: str) -> str:
    return "\n".join(_lines(plan, random.Random(seed), mode))  # noqa: S311 - a seeded world


def _lines(plan: Plan, rng: random.Random, mode: str) -> Iterator[str]:
    yield f"modes: {{default: {mode}}}"
    yield "groups:"
    yield from (f"  g{n}: {{id: {n + 1}, selector: app=a{n}}}" for n in range(GROUPS))
    yield "rules:"
    for n in range(plan.rules):
        ends = rng.randrange(GROUPS), rng.randrange(GROUPS)
        yield f"  - allow g{ends[0]} to g{ends[1]} on tcp/{1000 + n % 3000}"
