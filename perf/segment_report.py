"""The page's part on microsegmentation: targets, tables, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from perf.segment_results import Pace, SegmentRun
from perf.targets import Verdict

PLOT = "segment.svg"
FEW, NEW = "few", "new"
PLAIN, TRACKED = "neither", "tracking, one rule"
SIZES = ("few entries", "1,000 entries", "50,000 entries")
BOTH = "50,000 entries, two revisions"
CHANGE_SECONDS, REBUILD_SECONDS = 0.05, 2.0
FLAT, BELOW_TRACKING, BELOW_ONE_REVISION = 0.05, 0.15, 0.10

_METHOD = """\
All of it on the lab kernel, whose one CPU sender, PE, receiver and policy share. Packets a second:
60-byte UDP from the kernel's packet generator, CE to core, a label pushed; the best of many short
shots, since whatever else the machine does only takes away. *Few*: 1,000 connections over and
over. *New*: every packet opens a flow. The list has the same outcome as rules one after the
other, and accepts what was accepted before without asking them again. A tag change is one
workload of many that changes groups: from the call to the kernel's answer, without gRPC. A
rebuild deletes and makes everything in one transaction, while 2,000 flows a second are opened,
half of them forbidden.
"""


def section(run: SegmentRun | None) -> list[str]:
    """Parts of the page, in Markdown."""
    if run is None:
        return []
    parts = ["## Microsegmentation\n"]
    if run.paces:
        parts += [f"![Packets a second]({PLOT})\n", _paces(run.paces)]
    parts += [_times(run), _tellings(run), _METHOD]
    if run.failure:
        parts.append(f"### Failed\n\n```\n{run.failure}\n```\n")
    return [part for part in parts if part]


def verdicts(run: SegmentRun | None) -> Iterator[Verdict]:
    """Every target that the run allows to judge."""
    if run is None:
        return
    if run.changes:
        found = percentile(run.changes.enforced, 0.99)
        yield Verdict(
            f"one tag changes among {run.changes.workloads:,} workloads, "
            f"{run.changes.elements:,} entries: p99 under 50 ms",
            _ms(found),
            found < CHANGE_SECONDS,
        )
    if run.rebuild:
        slowest = max(run.rebuild.seconds)
        clean = not (run.rebuild.lost or run.rebuild.admitted)
        yield Verdict(
            f"{run.rebuild.elements:,} entries rebuilt in under 2 s, none lost or wrongly admitted",
            f"{slowest:.2f} s; {run.rebuild.lost} lost, {run.rebuild.admitted} admitted "
            f"of {run.rebuild.sent:,}",
            slowest < REBUILD_SECONDS and clean,
        )
    yield from _pace_verdicts(run.paces)
    for telling in run.telling:
        exact = telling.told + telling.lost == telling.judged
        yield Verdict(
            f"at {telling.rate:,.0f} new flows/s every one is told or counted as lost",
            f"{telling.told:,} told and {telling.lost:,} lost of {telling.judged:,}",
            exact,
        )


def _pace_verdicts(paces: Sequence[Pace]) -> Iterator[Verdict]:
    best = {(pace.name, pace.flows): max(pace.rounds) for pace in paces}
    sizes = [best[name, FEW] for name in SIZES if (name, FEW) in best]
    if len(sizes) == len(SIZES):
        spread = 1 - min(sizes) / max(sizes)
        words = "packets/s flat within 5 % whatever the number of entries"
        yield Verdict(words, _percent(spread), spread <= FLAT)
    for words, name, other, most in (
        ("at most 15 % below tracking and one rule", SIZES[-1], TRACKED, BELOW_TRACKING),
        ("staged and enforced within 10 % of enforced", BOTH, SIZES[-1], BELOW_ONE_REVISION),
    ):
        if (name, FEW) in best and (other, FEW) in best:
            below = 1 - best[name, FEW] / best[other, FEW]
            yield Verdict(words, f"{_percent(below)} below", below <= most)


def _paces(paces: Sequence[Pace]) -> str:
    names = list(dict.fromkeys(pace.name for pace in paces))
    by = {(pace.name, pace.flows): pace for pace in paces}
    plain = by.get((PLAIN, FEW))
    rows = []
    for name in names:
        few, new = by.get((name, FEW)), by.get((name, NEW))
        share = f"{max(few.rounds) / max(plain.rounds):.2f}" if few and plain else ""
        rows.append((name, _pace(few), share, _pace(new)))
    head = ("packets/s", "few flows: best (median)", "of neither", "new flows: best (median)")
    return _rows(head, rows)


def _pace(pace: Pace | None) -> str:
    if pace is None:
        return ""
    lost = f", {pace.lost} lost" if pace.lost else ""
    return f"{max(pace.rounds):,.0f} ({median(pace.rounds):,.0f}){lost}"


def _times(run: SegmentRun) -> str:
    rows = []
    if run.changes:
        found = run.changes
        for name, times in (
            ("tag change, call to kernel", found.enforced),
            ("of it compiling", found.compiled),
            ("the same addresses through the nft program", found.by_program),
        ):
            rows.append((name, _ms(median(times)), _ms(percentile(times, 0.99)), _ms(max(times))))
    if run.rebuild:
        times = run.rebuild.seconds
        rows.append(("rebuild", _ms(median(times)), "", _ms(max(times))))
    return _rows(("", "median", "p99", "slowest"), rows) if rows else ""


def _tellings(run: SegmentRun) -> str:
    rows = [
        (
            f"{telling.rate:,.0f}",
            f"{telling.told:,}",
            f"{telling.lost:,}",
            f"{telling.cpu / telling.seconds:.0%}",
        )
        for telling in run.telling
    ]
    return _rows(("new flows/s", "told", "lost", "CPU of the reader"), rows) if rows else ""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
