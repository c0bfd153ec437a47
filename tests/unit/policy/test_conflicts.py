"""What two PEs do not agree on: whose an address is, and which group an id stands for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from controlplane.api.access import details
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import Signature
from controlplane.model.source_bindings import ELSEWHERE
from controlplane.model.verdict import BY_PENDING
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import (
    RemoteEndpoint,
    RemoteEndpointsChanged,
    StagedGroups,
    Workload,
    digest_31,
)
from controlplane.policy.conflicts import MOST_LINES
from controlplane.policy.endpoints.placement import RefusedError
from controlplane.policy.endpoints.registry import EndpointRegistry
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import meaning_of
from controlplane.policy.language.revision import Ledger, Revision
from controlplane.policy.workload_routes import SentGroups, WorkloadRoutes
from pe.process import clock
from tests.unit.api.segment_serving import segment_intent
from tests.unit.policy.node import PolicyNode, run_story

SIGNED = Signature("ada", 1.0, "")
WEB, DB = parse_prefix("10.0.0.1"), parse_prefix("10.0.0.2")
GROUPS = """
groups:
  web: {id: 101, selector: tier=web}
  db: {id: 102, selector: tier=db}
modes: {groups: {db: full}}
rules: [allow web to db on tcp/5432]
"""
PE3 = "10.255.0.3"


def means(*groups: tuple[int, str]) -> frozenset[int]:
    found = frozenset(meaning_of(*group) for group in groups)
    return frozenset(digest for digest in found if digest is not None)


def remote(*ids: int, name: str = "db", **more: Any) -> RemoteEndpoint:
    return RemoteEndpoint(frozenset(ids), PE3, name=digest_31(name), **more)


def workload(name: str, *at: str, **tags: str) -> Workload:
    return Workload(name, "red", "p1", tuple(map(parse_prefix, at)), tags)


async def claim(pe: PolicyNode, endpoint: RemoteEndpoint | None, *at: str) -> None:
    pe.router.state.begin(clock.now())
    change = {parse_prefix(text): endpoint for text in at}
    pe.policy.remote_endpoints_changed(RemoteEndpointsChanged("red", change))
    pe.executor.perform(pe.router.state.effects)
    await pe.until(lambda: not pe.policy.maps.is_waiting)


def run(folder: Path, story: Callable[[PolicyNode], Awaitable[None]]) -> None:
    async def whole(pe: PolicyNode) -> None:
        await pe.begin()
        await enforce(pe, GROUPS)
        await story(pe)

    run_story(segment_intent(folder), whole)


async def enforce(pe: PolicyNode, text: str) -> None:
    await pe.access.stage(Revision.of(parse_policy(text)), SIGNED)
    await pe.access.promote("", SIGNED)


def test_an_address_of_another_pe_cannot_be_attached_under_another_name(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await claim(pe, remote(102, moves=4), "10.0.0.2")
        before = pe.policy.state.population.remote[("red", DB)]
        with pytest.raises(RefusedError, match=f"/32 is attached at {PE3} under") as no:
            await pe.access.attach(workload("web", "10.0.0.1", "10.0.0.2", tier="web"), "ada")
        assert details.refusal(no.value).code is grpc.StatusCode.ALREADY_EXISTS
        assert no.value.faults[0].field == "workload.addresses[1]"
        assert not pe.policy.state.population.attachments
        assert pe.policy.state.population.remote == {("red", DB): before}
        # Nor may one that is here take it in addition; what it has already it may keep.
        await pe.access.attach(workload("web", "10.0.0.1"), "ada")
        with pytest.raises(RefusedError):
            await pe.access.attach(workload("web", "10.0.0.1", "10.0.0.2"), "ada")
        conflict = RemoteEndpoint(None, conflict=(PE3, "here"))
        await claim(pe, conflict, "10.0.0.1")
        await pe.access.attach(workload("web", "10.0.0.1", tier="web"), "ada")
        await claim(pe, conflict, "10.0.0.3")
        with pytest.raises(RefusedError, match=f"at {PE3} and here under different names"):
            await pe.access.attach(workload("web", "10.0.0.1", "10.0.0.3"), "ada")
        # The control: under its own name it moves here, as the later of two.
        moved, _ = await pe.access.attach(workload("db", "10.0.0.2", tier="db"), "ada")
        assert moved.moves == 5
        # An earlier version sends no name: its claim is taken over as ever.
        await claim(pe, RemoteEndpoint(frozenset({102}), PE3, 7), "10.0.0.4")
        moved, _ = await pe.access.attach(workload("cache", "10.0.0.4"), "ada")
        assert moved.moves == 8

    run(tmp_path, story)


def test_an_address_in_conflict_is_pending_and_alarmed_until_one_is_gone(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.attach(workload("web", "10.0.0.1", tier="web"), "ada")
        await pe.access.attach(workload("db", "10.0.0.2", tier="db"), "ada")
        flow = ("10.0.0.1", "10.0.0.2", 5432)
        assert pe.kernel.verdict(*flow).allowed
        await claim(pe, RemoteEndpoint(None, conflict=(PE3, "here")), "10.0.0.2")
        assert pe.kernel.verdict(*flow) == BY_PENDING
        assert pe.kernel.verdict("10.0.0.2", "203.0.113.1", 80) == BY_PENDING
        place = ("red", DB.packed)
        assert pe.kernel.bindings.bindings4[place] == "p1", "pending, and not spoofed"
        (line,) = pe.logged("address_conflict")
        assert line["workload"] == "db"
        assert (line["address"], line["attached_at"]) == ("10.0.0.2/32", f"{PE3}, here")
        assert len(pe.policy.conflicts.addresses) == 1
        await claim(pe, None, "10.0.0.2")
        assert pe.kernel.verdict(*flow).allowed
        assert pe.logged("address_conflict_cleared") == [
            {"vrf": "red", "address": "10.0.0.2/32", "conflicts": 0}
        ]
        assert not pe.logged("workload_moved")
        # Between two others it is bound to the core.
        await claim(pe, RemoteEndpoint(None, conflict=("10.255.0.2", PE3)), "10.0.0.9")
        assert pe.kernel.bindings.bindings4["red", parse_prefix("10.0.0.9").packed] == ELSEWHERE
        many = [f"10.0.1.{number}" for number in range(40)]
        await claim(pe, RemoteEndpoint(None, conflict=("10.255.0.2", PE3)), *many)
        assert len(pe.logged("address_conflict")) == 2 + MOST_LINES
        assert pe.logged("address_conflict")[-1]["conflicts"] == 41

    run(tmp_path, story)


def test_an_id_that_another_pe_gives_to_another_group_says_nothing(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.attach(workload("db", "10.0.0.2", tier="db"), "ada")
        flow = ("10.0.0.1", "10.0.0.2", 5432)
        ours = remote(101, name="w", meanings=means((101, "web")))
        await claim(pe, ours, "10.0.0.1", "10.0.0.7")
        assert pe.kernel.verdict(*flow).allowed
        other = remote(101, 500, name="w", meanings=means((101, "guests"), (500, "x")))
        await claim(pe, other, "10.0.0.1", "10.0.0.8")
        assert pe.kernel.verdict(*flow) == BY_PENDING
        assert pe.kernel.verdict("10.0.0.7", "10.0.0.2", 5432).allowed
        (line,) = pe.logged("group_id_conflict")
        assert (line["node"], line["groups"], line["conflicts"]) == (PE3, "101 (web)", 1)
        assert pe.policy.conflicts.group_ids == 1
        await claim(pe, None, "10.0.0.8")
        assert pe.policy.conflicts.group_ids == 1
        await claim(pe, ours, "10.0.0.1")
        assert pe.kernel.verdict(*flow).allowed
        assert [c["groups"] for c in pe.logged("group_id_conflict_cleared")] == ["101 (web)"]
        assert pe.policy.conflicts.group_ids == 0
        # A PE of an earlier version sends no digests, and is trusted as ever.
        await claim(pe, RemoteEndpoint(frozenset({101}), PE3), "10.0.0.1")
        assert pe.kernel.verdict(*flow).allowed

    run(tmp_path, story)


def test_another_policy_here_begins_and_ends_a_conflict(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        await pe.access.attach(workload("db", "10.0.0.2", tier="db"), "ada")
        await claim(pe, remote(101, meanings=means((101, "web"))), "10.0.0.1")
        text = GROUPS.replace("  web:", "  guests:").replace("allow web", "allow guests")
        await enforce(pe, text)
        await pe.until(lambda: pe.policy.conflicts.group_ids == 1)
        assert pe.kernel.verdict("10.0.0.1", "10.0.0.2", 5432) == BY_PENDING
        assert pe.logged("group_id_conflict")[0]["groups"] == "101 (guests)"
        await pe.access.roll_back("", SIGNED)
        await pe.until(lambda: pe.policy.conflicts.group_ids == 0)
        assert pe.kernel.verdict("10.0.0.1", "10.0.0.2", 5432).allowed

    run(tmp_path, story)


def test_the_same_revision_needs_no_comparison(tmp_path: Path) -> None:
    async def story(pe: PolicyNode) -> None:
        policy = pe.policy.state.policy(Slot.ENFORCED)
        assert policy is not None
        staged = StagedGroups(policy.revision, frozenset({101}))
        endpoint = remote(101, meanings=means((101, "guests")), staged=staged)
        await pe.access.attach(workload("db", "10.0.0.2", tier="db"), "ada")
        await claim(pe, endpoint, "10.0.0.1")
        assert pe.kernel.verdict("10.0.0.1", "10.0.0.2", 5432).allowed
        assert pe.policy.conflicts.group_ids == 0

    run(tmp_path, story)


def ledger(*texts: str, staged: str = "") -> Ledger:
    """A ledger in which these were enforced one after the other."""
    made = Ledger()
    for text in texts:
        made, revision = made.draft(parse_policy(text))
        made = made.stage(revision.digest, SIGNED).promote(SIGNED)
    if staged:
        made, revision = made.draft(parse_policy(staged))
        made = made.stage(revision.digest, SIGNED)
    return made


def sent(made: Ledger) -> SentGroups:
    routes = WorkloadRoutes(EndpointRegistry(), made)
    return routes.groups_to_send(workload("web", "10.0.0.1", tier="web"))


OLD = "groups: {web: {id: 101, selector: tier=web}}"
RENAMED = "groups: {front: {id: 101, selector: tier=web}}"
REUSED = "groups: {front: {id: 101, selector: has tier}}"


def test_a_group_is_renamed_pe_by_pe_and_back_without_a_gap() -> None:
    both = means((101, "web"), (101, "front"))
    assert sent(ledger(OLD)).meanings == means((101, "web"))
    assert sent(ledger(OLD, staged=RENAMED)) == SentGroups(frozenset({101}), None, both)
    assert sent(ledger(OLD, RENAMED)).meanings == both
    assert sent(ledger(OLD, RENAMED).roll_back(SIGNED)).meanings == both


def test_a_group_that_takes_over_an_id_is_another_one() -> None:
    old, new = means((101, "web")), means((101, "front"))
    staged = sent(ledger(OLD, staged=REUSED))
    assert staged.meanings == old
    assert staged.staged is not None, "PEs that enforce it judge by it"
    assert staged.staged.groups == {101}
    assert sent(ledger(OLD, REUSED)).meanings == new


def test_ids_that_are_derived_from_names_need_no_digest() -> None:
    assert sent(ledger("groups: {web: tier=web}")).meanings == frozenset()
    assert meaning_of(2**31 - 1, "web") is not None
    assert meaning_of(2**31, "web") is None
