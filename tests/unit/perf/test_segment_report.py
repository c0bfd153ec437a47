"""Targets of microsegmentation are checked with figures of the same round; all are printed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from perf import segment_plot, segment_report, segment_world
from perf.fleet_probes import NEW, OLD, Side
from perf.segment_names import BOTH, FEW, PLAIN, TRACKED, listed_name, policy_name
from perf.segment_pairs import percentile, ratio
from perf.segment_results import (
    Changes,
    Fleet,
    FleetChange,
    Pace,
    Rebuild,
    SegmentRun,
    TelemetryRun,
)
from perf.segment_targets import verdicts

SIZES = [policy_name(size) for size in segment_world.SIZES]


def pace(name: str, *rounds: float, flows: str = FEW, size: int = 10) -> Pace:
    return Pace(name=name, flows=flows, rounds=rounds, size=size, sent=100, arrived=100)


def paces(largest: float = 100.0, both: float = 100.0) -> tuple[Pace, ...]:
    return (
        pace(PLAIN, 200.0, 100.0),
        pace(TRACKED, 110.0, 55.0),
        pace(SIZES[0], 100.0, 50.0),
        pace(SIZES[1], 100.0, 50.0),
        pace(SIZES[2], largest, largest / 2),
        pace(BOTH, both, both / 2),
        pace(listed_name(10), 10.0, 5.0),
    )


def judged(run: SegmentRun) -> list[bool]:
    return [verdict.met for verdict in verdicts(run)]


def test_a_round_in_which_the_machine_was_slow_changes_no_share() -> None:
    found = ratio(pace("a", 50.0, 100.0, 5.0), pace("b", 100.0, 200.0, 10.0))
    assert (found.middle, found.low, found.high) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="zip"):
        ratio(pace("a", 1.0), pace("b", 1.0, 2.0))


@pytest.mark.parametrize(
    ("largest", "both", "met"),
    [
        (96.0, 90.0, [True, True, True]),
        (94.0, 90.0, [False, True, True]),
        (93.0, 90.0, [False, False, True]),
        (96.0, 85.0, [True, True, False]),
    ],
)
def test_paces_are_flat_near_tracking_and_near_one_revision(
    largest: float, both: float, met: list[bool]
) -> None:
    assert judged(SegmentRun(paces=paces(largest, both))) == met


def fleet(*changes: tuple[float, float]) -> Fleet:
    return Fleet(
        workloads=10, elements=50, attach_seconds=1.0, learn_seconds=2.0, probe_seconds=0.004,
        changes=tuple(FleetChange(answered=h, here=h, there=t) for h, t in changes),
    )  # fmt: skip


def test_the_p99_of_changes_counts_and_not_the_slowest() -> None:
    quick = [(0.01, 0.1)] * 199
    assert judged(SegmentRun(fleet=fleet(*quick, (0.3, 3.0)))) == [True, True]
    assert judged(SegmentRun(fleet=fleet(*quick[:100], (0.3, 3.0), (0.3, 3.0)))) == [False, False]
    assert percentile([1.0] * 99 + [5.0], 0.99) == 5.0


@pytest.mark.parametrize(
    ("seconds", "lost", "admitted", "met"),
    [(1.9, 0, 0, True), (2.0, 0, 0, False), (1.0, 1, 0, False), (1.0, 0, 1, False)],
)
def test_a_rebuild_is_quick_and_clean(seconds: float, lost: int, admitted: int, met: bool) -> None:
    rebuild = Rebuild(
        elements=50, seconds=(0.1, seconds), by_program=(1.0,), rate=2000.0, sent=100, lost=lost,
        admitted=admitted,
    )  # fmt: skip
    assert judged(SegmentRun(rebuild=rebuild)) == [met]


@pytest.mark.parametrize(
    ("sent", "judgements", "seen", "met"),
    [(100, 100, 90, True), (101, 100, 90, False), (100, 100, 89, False), (100, 99, 90, False)],
)
def test_telemetry_is_exact_or_a_miss(sent: int, judgements: int, seen: int, met: bool) -> None:
    telemetry = TelemetryRun(
        rate=1e4, seconds=1.0, staged=False, sent=sent, judged=judgements, seen=seen, lost=10,
        cpu=0.5,
    )  # fmt: skip
    assert judged(SegmentRun(telemetry=(telemetry,))) == [met]


def whole() -> SegmentRun:
    few = paces()
    new = tuple(msgspec.structs.replace(p, flows="new") for p in few if p.name != PLAIN)
    lost = msgspec.structs.replace(new[0], arrived=93)
    return SegmentRun(
        paces=(*few, lost, *new[1:]),
        changes=Changes(
            workloads=10, elements=50, compiled=(0.001,), enforced=(0.002,), by_program=(0.02,)
        ),
        fleet=fleet((0.01, 0.1), (0.02, 0.2)),
        failure="telemetry: it broke\n",
    )


def test_the_page_shows_shares_losses_and_failures() -> None:
    page = "\n".join(segment_report.section(whole()))
    assert "| policy, 10 | 10 | 75/s | 50/s | 13,333,333 | 0.909 (0.91-0.91) | 0.500" in page
    assert "7 of 100" in page
    assert "it broke" in page
    assert "| a tag, from the call: enforced at the remote PE | 2 | 150.0 ms | 200.0 ms" in page


def test_pictures_are_drawn_of_any_map(tmp_path: Path) -> None:
    segment_plot.draw_paces(paces(), tmp_path / "a.svg")
    segment_plot.draw_times(whole(), tmp_path / "b.svg")
    assert all("<svg" in (tmp_path / name).read_text() for name in ("a.svg", "b.svg"))


def test_parts_that_were_run_apart_are_put_together() -> None:
    joined = SegmentRun(paces=paces()).joined(SegmentRun(fleet=fleet((0.1, 0.1)), failure="x"))
    assert joined.paces
    assert joined.fleet
    assert joined.failure == "x"


def side(old_seen: list[int], new_seen: list[int], sent: int) -> Side:
    made = Side()
    for number in range(sent):
        made.sent[OLD][number] = made.sent[NEW][number] = float(number)
    made.seen[OLD].update({n: n + 0.1 for n in old_seen})
    made.seen[NEW].update({n: n + 0.1 for n in new_seen})
    return made


def test_a_tag_is_enforced_once_the_new_passes_and_the_old_does_not() -> None:
    assert side([0, 1, 2], [], 5).enforced() is None
    assert side([0, 1], [3, 4], 5).enforced() == 3.1, "the new one is let through later"
    assert side([0, 1, 2, 3], [2, 3, 4], 5).enforced() == 4.0, "the old one is stopped later"
    assert side([0, 1, 2, 3, 4], [2, 3, 4], 5).enforced() is None, "not stopped yet"
    assert side([0], [1, 3, 4], 5).contradictions(until=9.0) == 1
