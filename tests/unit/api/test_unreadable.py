"""A node whose store has revisions that this program does not accept: it serves, and says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from bulkhead.v1 import policy_pb2 as pb
from bulkhead.v1.workloads_pb2 import AttachWorkloadRequest, Workload
from click.testing import CliRunner

from controlplane.model.revision import KeptRevision, State
from controlplane.model.verdict_tables import Slot
from controlplane.policy.language.canonical import digest_of
from controlplane.policy.language.revision import Ledger
from controlplane.store import open_store
from pe.cli.main import main
from tests.unit.api.segment_serving import (
    POLICY,
    Desk,
    enforce,
    refused,
    segment_desk,
    segment_intent,
)

OLD = '{"name":"old","rules":[{"action":"allow","from":["any"],"services":[],"to":["any"]}]}'
OLDER = OLD.replace("old", "older")


def keep(folder: Path, *revisions: tuple[State, str]) -> None:
    kept = [KeptRevision(digest_of(text), state, text) for state, text in revisions]
    ledger: Any = SimpleNamespace(revisions={each.digest: each for each in kept}, trail=())
    store = open_store(Path(segment_intent(folder).state_dir))
    store.save_ledger(Ledger(), ledger)
    store.close()


def enforced(desk: Desk) -> bool:
    """Attach a workload: whether the kernel is said to hold it."""
    wish = Workload(name="db", vrf="red", port="p1", addresses=["10.0.0.9"])
    request = AttachWorkloadRequest(workload=wish)
    return bool(desk.segment.workloads.AttachWorkload(request).enforced)


def test_the_node_serves_and_a_readable_revision_repairs_it(tmp_path: Path) -> None:
    keep(tmp_path, (State.ENFORCED, OLD), (State.DRAFT, OLDER))
    with segment_desk(tmp_path) as desk:
        rows = {row.name: row for row in desk.segment.revisions()}
        assert rows["old"].state == pb.Revision.STATE_ENFORCED
        assert "is empty" in rows["old"].problem
        assert rows["older"].problem
        assert desk.segment.revision(rows["old"].digest).document == OLD
        assert desk.kernel.held == {}, "the kernel keeps what it has"
        assert desk.pe.logged("policy_unreadable")[0]["name"] == "old"
        assert not enforced(desk), "no order goes to the kernel"
        assert not enforced(desk), "the same call again"
        with refused(grpc.StatusCode.FAILED_PRECONDITION) as caught:
            desk.segment.stage(revision=rows["older"].digest)
        assert "unreadable" in str(caught.value.details())
        shown = CliRunner().invoke(
            main, ["policy", "list", "--socket", str(desk.running.api.socket)]
        )
        assert "enforced, unreadable" in shown.output
        enforce(desk, POLICY)
        assert desk.kernel.held[Slot.ENFORCED] is not None
        assert not desk.pe.policy.state.is_frozen
        assert enforced(desk), "the control"
        after = {row.name: row for row in desk.segment.revisions()}
        assert after["old"].state == pb.Revision.STATE_SUPERSEDED
        with refused(grpc.StatusCode.FAILED_PRECONDITION):
            desk.segment.roll_back(after["old"].digest)
