"""The kernel is slow with one tenant's change: the answers of another do not wait for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from controlplane.model.intent import CePortIntent, NodeIntent
from controlplane.model.prefix import parse_prefix
from controlplane.model.workload import Workload
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode, run_story


def wider(intent: NodeIntent, vrf: str) -> NodeIntent:
    """The intent with one more port in a VRF."""
    more = CePortIntent(name=f"{vrf}-more", vrf=vrf, addresses=())
    vrfs = tuple(
        msgspec.structs.replace(v, ports=(*v.ports, more)) if v.name == vrf else v
        for v in intent.vrfs
    )
    return msgspec.structs.replace(intent, vrfs=vrfs)


def test_a_tenant_s_answers_come_while_another_is_stuck(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.begin()
        pe.dataplane.stuck.add("red")
        reload = asyncio.get_running_loop().create_task(pe.reload(wider(pe.intent, "red")))
        await pe.until(lambda: "red-more" in pe.dataplane.desired.ce_ports)
        async with asyncio.timeout(5):
            workload = Workload("db", "blue", "q1", (parse_prefix("10.0.0.2"),))
            _, enforced = await pe.access.attach(workload, "ada")
            await pe.reload(wider(wider(pe.intent, "red"), "blue"))
        assert enforced
        assert "blue-more" in pe.dataplane.desired.ce_ports
        assert not reload.done(), "it waits for its own VRF"
        pe.dataplane.stuck.clear()
        pe.dataplane.report()
        async with asyncio.timeout(5):
            await reload

    run_story(segment_intent(tmp_path), story)
