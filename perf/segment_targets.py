"""What microsegmentation is to reach, and whether it did in one run. Nothing fails for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perf import segment_world as world
from perf.segment_names import BOTH, FEW, NEW, TRACKED, policy_name
from perf.segment_pairs import Ratio, percentile, ratio
from perf.segment_report import ms
from perf.segment_results import Fleet, Pace, Rebuild, SegmentRun, TelemetryRun
from perf.targets import Verdict

HERE_SECONDS, THERE_SECONDS, REBUILD_SECONDS = 0.05, 0.5, 2.0
FLAT, BELOW_TRACKING, BELOW_ONE_REVISION = 0.05, 0.15, 0.10
SIZES = tuple(policy_name(size) for size in world.SIZES)


def verdicts(run: SegmentRun | None) -> Iterator[Verdict]:
    """Every target that the run allows to judge."""
    if run is None:
        return
    if run.fleet and run.fleet.changes:
        yield from _changes(run.fleet)
    if run.rebuild:
        yield _rebuild(run.rebuild)
    yield from _paces(run.paces)
    yield from map(_telemetry, run.telemetry)


def _changes(fleet: Fleet) -> Iterator[Verdict]:
    what = f"one tag changes among {fleet.workloads:,} workloads, {fleet.elements:,} entries"
    for where, most, times in (
        ("at the PE that was called", HERE_SECONDS, [change.here for change in fleet.changes]),
        ("at the remote PE", THERE_SECONDS, [change.there for change in fleet.changes]),
    ):
        found = percentile(times, 0.99)
        yield Verdict(
            f"{what}: enforced {where}, p99 under {most * 1000:.0f} ms", ms(found), found < most
        )


def _rebuild(rebuild: Rebuild) -> Verdict:
    slowest = max(rebuild.seconds)
    clean = not (rebuild.lost or rebuild.admitted)
    return Verdict(
        f"{rebuild.elements:,} entries rebuilt in under 2 s, none lost or wrongly admitted",
        f"{slowest:.2f} s; {rebuild.lost} lost, {rebuild.admitted} admitted of {rebuild.sent:,}",
        slowest < REBUILD_SECONDS and clean,
    )


def _paces(paces: Sequence[Pace]) -> Iterator[Verdict]:
    for flows, title in ((FEW, "established flows"), (NEW, "new flows")):
        by = {pace.name: pace for pace in paces if pace.flows == flows}
        sizes = [by[name] for name in SIZES if name in by]
        if len(sizes) == len(SIZES):
            ratios = [ratio(pace, sizes[0]).middle for pace in sizes]
            spread = 1 - min(ratios) / max(ratios)
            words = f"packets/s flat within 5 % across policy sizes, {title}"
            yield Verdict(words, f"{spread:.1%}", spread <= FLAT)
        yield from _below(by, title)


def _below(by: dict[str, Pace], title: str) -> Iterator[Verdict]:
    for words, name, other, most in (
        (f"at most 15 % below tracking and one rule, {title}", SIZES[-1], TRACKED, BELOW_TRACKING),
        (
            f"staged and enforced within 10 % of enforced, {title}",
            BOTH,
            SIZES[-1],
            BELOW_ONE_REVISION,
        ),
    ):
        if name in by and other in by:
            found = ratio(by[name], by[other])
            yield Verdict(words, _below_words(found), found.below <= most)


def _below_words(found: Ratio) -> str:
    side = "below" if found.below >= 0 else "above"
    return f"{abs(found.below):.1%} {side}"


def _telemetry(telemetry: TelemetryRun) -> Verdict:
    staged = " with a revision staged" if telemetry.staged else ""
    return Verdict(
        f"at {telemetry.rate:,.0f} new flows/s{staged} every one is seen or counted as lost",
        f"{telemetry.seen:,} seen and {telemetry.lost:,} lost of {telemetry.sent:,} sent",
        telemetry.seen + telemetry.lost == telemetry.sent == telemetry.judged,
    )
