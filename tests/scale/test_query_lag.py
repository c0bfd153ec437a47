"""MGMT-4: a caller that asks what-ifs in a loop delays no other caller's cheap query.

Counted, not timed: how many cheap queries are answered for each what-if. The lag of the loop is
measured by ``perf.loop``.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import random

from bulkhead.v1 import groups_pb2, policy_pb2

from controlplane.api.access.caller import Caller
from controlplane.api.compute.channel import ProcessChannel
from controlplane.api.compute.pool import ComputePool
from controlplane.model.intent import ApiRole
from controlplane.model.revision import Signature
from controlplane.policy.insight.replica_feed import Needs, ReplicaFeed
from controlplane.policy.language.document import parse_policy
from tests.parts import LonePart
from tests.scale.worlds_of_queries import QueryNode

RULES, GROUPS, VRFS, WORKLOADS, FLOWS = 3_000, 200, 10, 500, 500
BUSY, CALM = (Caller(name, ApiRole.VIEWER) for name in ("busy", "calm"))
EVERYTHING = Needs(flows=True)


def document(seed: int, mode: str = "visibility") -> str:
    """Three thousand rules between two hundred groups."""
    rng = random.Random(seed)  # noqa: S311 - a seeded world
    lines = [f"modes: {{default: {mode}}}", "groups:"]
    lines += [f"  g{n}: {{id: {n + 1}, selector: app=a{n}}}" for n in range(GROUPS)]
    lines += ["rules:"]
    lines += [
        f"  - allow g{rng.randrange(GROUPS)} to g{rng.randrange(GROUPS)} on tcp/{1000 + n % 3000}"
        for n in range(RULES)
    ]
    return "\n".join(lines)


def node() -> QueryNode:
    """Three thousand rules in force, five thousand workloads, five thousand flows."""
    made = QueryNode(VRFS, WORKLOADS, FLOWS)
    signed = Signature("scale", 0.0, "")
    ledger, revision = made.state.ledger.draft(parse_policy(document(1)))
    made.state.ledger = ledger.stage(revision.digest, signed).promote(signed)
    return made


def test_what_ifs_in_a_loop_delay_no_cheap_query() -> None:
    made = node()
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"
    logged: list[str] = []
    pool: list[ComputePool] = []
    request = policy_pb2.WhatIfRequest(document=document(2, "full")).SerializeToString()
    cheap = groups_pb2.TrySelectorRequest(selector="tier=web", vrf="vrf0").SerializeToString()

    finished = 0

    async def busy() -> None:
        nonlocal finished
        while True:
            (answer,) = await pool[0].run("WhatIf", BUSY, EVERYTHING, request, "")
            assert policy_pb2.WhatIfResponse.FromString(answer).pairs
            finished += 1

    async def measured() -> int:
        loop = asyncio.get_running_loop()
        pool.append(
            ComputePool(
                lambda: (ProcessChannel(user), ReplicaFeed(made, "pe1").changes),
                lambda _level, event, fields: logged.append(f"{event} {fields}"),
                LonePart(),
                seconds=600,
            )
        )
        pool[0].start()
        task, answered = loop.create_task(busy()), 0
        try:
            while finished < 2 or answered < 20:
                assert await pool[0].run("TrySelector", CALM, Needs(), cheap)
                made.attach(0, 600 + answered % 50)
                answered += 1
                assert not task.done()
            return answered
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await pool[0].stop()

    with asyncio.Runner() as runner:
        answered = runner.run(measured())
    assert logged == []
    assert answered >= 3 * finished, "the calm caller waited for the busy one"
