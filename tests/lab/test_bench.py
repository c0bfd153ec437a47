"""The bench still works, on a small scale, and no word about how long anything took."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perf import guest, segment
from perf.results import RoutingRun
from perf.segment_names import BOTH, FEW, NEW, PLAIN, listed_name, policy_name
from perf.segment_results import SegmentRun

CHANGES = {
    "workloads": 200, "turns": 2, "ours": 3, "programs": 2, "rebuilds": 2, "rate": 200,
    "seconds": 4,
}  # fmt: skip
PLAN = {
    "changes": CHANGES,
    "telemetry": {"rates": [2000], "staged_rates": [1000], "seconds": 1.0},
    "forwarding": {
        "few_rounds": 2, "few_packets": 3000, "new_rounds": 2, "new_packets": 300,
        "sizes": [10, 1000],
    },
    "fleet": {"workloads": 20, "changes": 4},
}  # fmt: skip


@pytest.mark.parametrize("receiver", ["FRR", "Bulkhead"])
def test_a_small_bench_installs_moves_and_withdraws_its_routes(
    receiver: str, tmp_path: Path
) -> None:
    options = ["--routes", "1000", "--per-update", "50", "--path-changes", "2"]
    status = guest.main([str(tmp_path), "--receivers", receiver, *options])
    (run,) = msgspec.json.decode((tmp_path / guest.FILE).read_bytes(), type=list[RoutingRun])
    assert (status, run.failure) == (0, "")
    assert run.install > 0
    assert run.withdraw > 0
    assert run.peak_kib > 10_000
    assert [change.sent > change.lost for change in run.path_changes] == [True, True]


def measured(part: str, directory: Path) -> SegmentRun:
    """One part of the bench of microsegmentation, on a small scale."""
    plan = msgspec.json.encode(PLAN).decode()
    segment.main([str(directory), "--part", part, "--plan", plan])
    text = segment.file_of(directory, part).read_bytes()
    found = msgspec.json.decode(text, type=SegmentRun)
    assert found.failure == ""
    return found


def test_tags_change_in_tables_ours_and_the_nft_programs(tmp_path: Path) -> None:
    changes = measured("changes", tmp_path).changes
    assert changes
    assert (len(changes.enforced), len(changes.by_program)) == (6, 4)
    assert changes.elements > 1000


def test_a_rebuild_under_traffic_loses_and_admits_nothing(tmp_path: Path) -> None:
    rebuild = measured("rebuild", tmp_path).rebuild
    assert rebuild
    assert (rebuild.sent, rebuild.lost, rebuild.admitted) == (800, 0, 0)
    assert len(rebuild.seconds) == len(rebuild.by_program) == 2


def test_every_flow_that_was_sent_is_seen_or_counted_as_lost(tmp_path: Path) -> None:
    telemetry_runs = measured("telemetry", tmp_path).telemetry
    assert [telemetry.staged for telemetry in telemetry_runs] == [False, True]
    for telemetry in telemetry_runs:
        assert telemetry.sent == telemetry.judged == telemetry.seen + telemetry.lost
        assert telemetry.seen > 0


def test_every_configuration_lets_its_packets_through(tmp_path: Path) -> None:
    paces = measured("forwarding", tmp_path).paces
    names = {policy_name(10), policy_name(1000), listed_name(10), listed_name(1000), BOTH}
    assert names < {pace.name for pace in paces if pace.flows == NEW}
    assert names | {PLAIN} < {pace.name for pace in paces if pace.flows == FEW}
    for pace in paces:
        assert (len(pace.rounds), pace.arrived >= pace.sent > 0) == (2, True), pace


def test_a_tag_reaches_the_other_pe(tmp_path: Path) -> None:
    fleet = measured("fleet", tmp_path).fleet
    assert fleet
    assert len(fleet.changes) == 4
    assert all(change.here > 0 and change.there > 0 for change in fleet.changes)
