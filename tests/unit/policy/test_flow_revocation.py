"""Flow revocation: what is to be ended is kept until it has been ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from controlplane.model.flow import LiveFlow
from controlplane.model.prefix import IPAddress, parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.workload import Workload
from controlplane.policy import flow_revocation
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

SIGNED = Signature("ada", 1.0, "")
WEB, PAY = ip_address("10.0.0.1"), ip_address("10.0.0.2")
FULL = Revision.of(parse_policy("modes: {default: full}"))
NO_BUFFERS = OSError(105, "no buffer space available")


def flow(port: int) -> LiveFlow:
    return LiveFlow("red", WEB, PAY, 6, port, 443, -1, 5, 500)


def run(folder: Path, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    async def whole() -> None:
        pe = PolicyNode(segment_intent(folder))
        try:
            await pe.begin()
            address = parse_prefix("10.0.0.1")
            await pe.access.attach(Workload("web", "red", "p1", (address,), {"t": "w"}), "ada")
            await pe.until(lambda: not pe.policy.revocation.has_work)
            await pe.access.stage(FULL, SIGNED)
            pe.kernel.flows["red"] = [flow(4000)]
            pe.kernel.asked.clear()
            await story(pe)
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(whole())


@pytest.mark.parametrize("good", [0, 2])
def test_a_failure_to_read_or_to_end_is_tried_again(
    tmp_path: Path, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_revocation, "RETRY_SECONDS", 0.01)

    async def story(pe: PolicyNode) -> None:
        pe.kernel.failures = [*[None] * good, NO_BUFFERS]  # the first reads succeed
        promotion = asyncio.create_task(pe.access.promote("", SIGNED))
        await pe.until(lambda: bool(pe.policy.failing()))
        assert pe.policy.failing()[0].startswith("Forbidden flows of VRF ")
        moved = await promotion
        assert not pe.policy.failing()
        assert pe.kernel.ended == [flow(4000)]
        assert moved.ended == 1
        assert len(pe.logged("flow_revocation_failed")) == 1
        assert not pe.policy.revocation.has_work

    run(tmp_path, story)


def test_a_tag_s_flows_are_kept_over_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_revocation, "RETRY_SECONDS", 0.01)

    async def story(pe: PolicyNode) -> None:
        await pe.access.promote("", SIGNED)
        pe.kernel.ended.clear()
        pe.kernel.asked.clear()
        pe.kernel.failures = [NO_BUFFERS, NO_BUFFERS]
        await pe.access.tag("web", {"t": "x"}, (), 0, "ada")
        await pe.until(lambda: pe.kernel.ended == [flow(4000)])
        assert pe.kernel.asked == [frozenset({"10.0.0.1"})] * 3, "the same ends each time"

    run(tmp_path, story)


def test_a_promotion_counts_what_a_pass_that_was_under_way_ends(tmp_path: Path) -> None:
    """It was answered "0 flows ended" where a tag's pass ended them by the new tables."""

    async def story(pe: PolicyNode) -> None:
        live, held = pe.kernel.live, asyncio.Event()

        async def later(vrf: str, ends: Collection[IPAddress] = ()) -> Sequence[LiveFlow]:
            await held.wait()
            return await live(vrf, ends)

        pe.kernel.live = later  # type: ignore[method-assign]
        pe.policy.revocation.soon("red", [parse_prefix("10.0.0.1")])
        await pe.until(lambda: bool(pe.policy.revocation._passes))
        promoting = asyncio.get_running_loop().create_task(pe.access.promote("", SIGNED))
        await pe.until(lambda: bool(pe.policy.revocation._tokens))
        held.set()
        assert (await promoting).ended == 1
        assert pe.kernel.ended == [flow(4000)]

    run(tmp_path, story)


def test_many_flows_are_compared_a_batch_in_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_revocation, "FLOWS_AT_ONCE", 10)

    async def story(pe: PolicyNode) -> None:
        pe.kernel.flows["red"] = [flow(port) for port in range(95)]
        turns = pe.part.turns
        moved = await pe.access.promote("", SIGNED)
        assert moved.ended == 95
        assert pe.part.turns - turns >= 10

    run(tmp_path, story)


def test_a_caller_is_answered_though_flows_cannot_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_revocation, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(flow_revocation, "ANSWER_SECONDS", 0.05)

    async def story(pe: PolicyNode) -> None:
        pe.kernel.failures = [NO_BUFFERS] * 1000
        moved = await pe.access.promote("", SIGNED)
        assert (moved.ended, pe.policy.revocation.has_work) == (0, True)
        pe.kernel.failures.clear()
        await pe.until(lambda: pe.kernel.ended == [flow(4000)])

    run(tmp_path, story)
