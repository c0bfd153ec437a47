"""A whole node whose tenants and peers make more sets of groups than there are numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest

from controlplane.api.access import details
from controlplane.model.prefix import host_prefix, parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import RemoteEndpoint, RemoteEndpointsChanged, Workload
from controlplane.policy.compile.full import IdAllocators
from controlplane.policy.compile.identity_quota import IdentityAllocator
from controlplane.policy.endpoints.placement import RefusedError, Why
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Revision
from pe.process import clock
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode

SIGNED = Signature("ada", 1.0, "")
BITS = 10
WEB = parse_prefix("10.0.0.1")
LIMIT = 12
"""Identities that VRF red may have."""


def policy() -> Revision:
    groups = "".join(f"  g{bit}: {{id: {bit + 1}, selector: t{bit}=x}}\n" for bit in range(BITS))
    names = ", ".join(f"g{bit}" for bit in range(BITS))
    return Revision.of(parse_policy(f"groups:\n{groups}rules: ['allow {names} to any on tcp/1']"))


def tags(number: int) -> dict[str, str]:
    return {f"t{bit}": "x" for bit in range(BITS) if number >> bit & 1}


def ids(number: int) -> frozenset[int]:
    return frozenset(bit + 1 for bit in range(BITS) if number >> bit & 1)


def run(folder: Path, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    async def whole() -> None:
        pe = PolicyNode(segment_intent(folder))
        # Small, so that a few hundred changes are as good as 40,000.
        numbers = IdentityAllocator(last=60, most_of_vrf=LIMIT, reserved=30, last_resort=5)
        pe.policy.state.tables._books = IdAllocators(numbers)
        try:
            await pe.begin()
            await pe.access.stage(policy(), SIGNED)
            await pe.access.promote("", SIGNED)
            await story(pe)
        finally:
            await pe.stop()
            pe.store.close()

    asyncio.run(whole())


async def claim(pe: PolicyNode, change: RemoteEndpointsChanged) -> None:
    """A route of another PE carries groups."""
    pe.router.state.begin(clock.now())
    pe.policy.remote_endpoints_changed(change)
    pe.executor.perform(pe.router.state.effects)
    await pe.until(lambda: not pe.policy.maps.is_waiting)


def test_one_workload_may_change_its_tags_for_ever(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.attach(Workload("web", "red", "p1", (WEB,)), "ada")
        for number in range(1, 200):
            gone = [key for key in tags(2**BITS - 1) if key not in tags(number)]
            await pe.access.tag("web", tags(number), tuple(gone), 0, "ada")
        await pe.until(lambda: not pe.policy.maps.is_waiting)
        assert not pe.logged("identity_quota_reached")
        assert len(pe.policy.state.tables._books.identities) < 10

    run(tmp_path, story)


def test_a_peer_beyond_the_quota_has_pending_routes_and_the_node_goes_on(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        prefixes = {n: host_prefix(ip_address(0x0A010000 + n)) for n in range(1, 100)}
        for number, prefix in prefixes.items():
            remote: dict = {prefix: RemoteEndpoint(ids(number), "10.255.0.2")}  # type: ignore[type-arg]
            await claim(pe, RemoteEndpointsChanged("red", remote))
        (line,) = pe.logged("identity_quota_reached")
        assert (line["vrf"], pe.policy.quota_reached) == ("red", 1)
        waiting = pe.policy.state.tables.refused_identities["red"]
        assert waiting > 80
        # The other tenant, and what is there already, are as before.
        await pe.access.attach(Workload("db", "blue", "q1", (WEB,), tags(3)), "bob")
        before = len(pe.store.load_policy().history)
        with pytest.raises(RefusedError, match="VRF red has") as refused:
            await pe.access.attach(Workload("web", "red", "p1", (WEB,), tags(777)), "ada")
        assert refused.value.why is Why.TOO_MANY
        assert len(pe.store.load_policy().history) == before
        assert "web" not in pe.policy.state.population.attachments
        await pe.access.attach(Workload("web", "red", "p1", (WEB,), tags(1)), "ada")
        with pytest.raises(RefusedError, match="VRF red has"):
            await pe.access.tag("web", tags(777), (), 0, "ada")
        assert details.refusal(refused.value).code is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Once the peer withdraws most of them, the rest gets its identities by itself.
        gone = dict.fromkeys(p for n, p in prefixes.items() if n < 95)
        await claim(pe, RemoteEndpointsChanged("red", gone))
        await pe.until(lambda: not pe.policy.state.tables.refused_identities)
        assert pe.logged("identity_quota_cleared")
        compiler = pe.policy.state.compiler(Slot.ENFORCED)
        assert compiler is not None
        await pe.until(lambda: pe.kernel.held[Slot.ENFORCED] == compiler.tables)

    run(tmp_path, story)
