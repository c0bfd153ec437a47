"""The report judges what was measured, and says so where there is nothing to judge."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perf import plot, report
from perf.results import FloodRun, Machine, PathChange, Peak, Results, RoutingRun
from perf.targets import flooded, verdicts

MACHINE = Machine(
    cpu="A CPU", cores=2, memory_gib=24.0, load=0.5, host_kernel="6.1", lab_kernel="6.12.1",
    lab_kind="uml", guest_memory="4G",
)  # fmt: skip


def run(receiver: str, per_update: int, install: float, kib: int, moved: float = 0) -> RoutingRun:
    changes = (
        (PathChange(stayed=moved / 2, moved=moved, told=0.001, sent=100, lost=3),) if moved else ()
    )
    return RoutingRun(
        receiver=receiver, per_update=per_update, routes=100_000, vrfs=10, install=install,
        withdraw=2.0, processes=(Peak("bgpd", kib),), path_changes=changes, pace=(0.1, 0.2),
    )  # fmt: skip


def judged(*runs: RoutingRun) -> list[bool]:
    return [verdict.met for verdict in verdicts(runs)]


@pytest.mark.parametrize(
    ("per_update", "seconds", "met"), [(50, 10.0, True), (50, 10.1, False), (1, 40.0, True),
                                       (1, 40.1, False)],
)  # fmt: skip
def test_the_share_of_the_time_depends_on_the_workload(
    per_update: int, seconds: float, met: bool
) -> None:
    found = judged(run("FRR", per_update, 40.0, 1000), run("Bulkhead", per_update, seconds, 1000))
    assert found == [met, True]


def test_one_kibibyte_more_than_the_reference_is_a_miss() -> None:
    assert judged(run("FRR", 1, 40, 1000), run("Bulkhead", 1, 1, 1001)) == [True, False]


def test_the_slowest_path_change_counts() -> None:
    ours = run("Bulkhead", 50, 1, 1, moved=0.01)
    slow = (*ours.path_changes, PathChange(stayed=0, moved=0.05, told=0, sent=1, lost=0))
    assert judged(ours) == [True]
    assert judged(msgspec.structs.replace(ours, path_changes=slow)) == [False]


def test_a_failed_run_is_not_judged_and_is_shown() -> None:
    failed = msgspec.structs.replace(run("Bulkhead", 50, 0, 0), failure="waited 300 s for routes")
    runs = (run("FRR", 50, 40, 1000), failed)
    assert judged(*runs) == []
    page = report.render(results(*runs), 160)
    assert "waited 300 s for routes" in page
    assert "Nothing to judge" in page


def test_the_page_holds_every_figure_and_its_share() -> None:
    page = report.render(
        results(
            run("FRR", 50, 40, 400 * 1024, moved=6),
            run("Bulkhead", 50, 4, 100 * 1024, moved=0.012),
        ),
        160,
    )
    assert "| Bulkhead, 50 in one UPDATE | 4.0 s (0.10) | 25,000/s | 2.0 s (1.00) |" in page
    assert "100 MB (0.25)" in page
    assert "| Bulkhead | 1 | 6.0 ms | 12.0 ms | 12.0 ms | 1.0 ms | 3 of 100 |" in page
    assert "100 to 200 ms" in page
    assert "missed" not in page


@pytest.mark.parametrize(("grown", "met"), [(32 << 10, True), ((32 << 10) + 1, False)])
def test_a_flood_of_attributes_is_judged_by_what_stays(grown: int, met: bool) -> None:
    flood = FloodRun(receiver="Bulkhead", updates=5000, before=(Peak("pe", 100 << 10),),
                     after=(Peak("pe", (100 << 10) + grown),), seconds=2.0)  # fmt: skip
    assert [verdict.met for verdict in flooded([flood])] == [met]
    page = report.render(msgspec.structs.replace(results(), floods=(flood,)), 160)
    assert "| Bulkhead | 100 MB | 132 MB | 2.0 s |" in page
    failed = msgspec.structs.replace(flood, failure="the session ended")
    assert not list(flooded([failed]))
    assert msgspec.structs.replace(results(), floods=(failed,)).has_failed


def test_a_machine_that_was_not_steady_is_reported() -> None:
    quiet = msgspec.structs.replace(run("FRR", 50, 40, 1), pace=(0.1, 0.12))
    assert "not steady" not in report.render(results(quiet), 160)
    busy = msgspec.structs.replace(quiet, pace=(0.1, 0.3))
    assert "up to 3.0 times as long" in report.render(results(quiet, busy), 160)


def test_results_survive_their_file_and_the_plot_is_drawn(tmp_path: Path) -> None:
    before = results(run("FRR", 50, 40, 1000, moved=6), run("Bulkhead", 50, 4, 100, moved=0.012))
    assert msgspec.json.decode(msgspec.json.encode(before), type=Results) == before
    plot.draw(before.routing, tmp_path / "plot.svg")
    assert "</svg>" in (tmp_path / "plot.svg").read_text()


def results(*runs: RoutingRun) -> Results:
    return Results(date="2026-01-01", machine=MACHINE, versions={"FRR": "8.4.4"}, routing=runs)
