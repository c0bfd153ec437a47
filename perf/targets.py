"""What Bulkhead is to reach beside FRR, and whether it did in one run. Nothing fails for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perf.loop_results import BUDGET_SECONDS, FLOOR, LoopRun
from perf.results import FloodRun, RoutingRun

REFERENCE, OURS = "FRR", "Bulkhead"
INSTALL_SHARE = {50: 0.25, 1: 1.0}
"""Greatest share of FRR's time to install, by routes in one UPDATE."""

PATH_CHANGE_SECONDS = 0.05
FLOOD_MEGABYTES = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what it says, what was measured, and whether that meets it."""

    target: str
    measured: str
    met: bool


def verdicts(runs: Iterable[RoutingRun]) -> Iterator[Verdict]:
    """Every target that the runs allow to judge."""
    done = {(run.receiver, run.per_update): run for run in runs if not run.failure}
    for per_update, share in INSTALL_SHARE.items():
        ours, reference = done.get((OURS, per_update)), done.get((REFERENCE, per_update))
        if ours and reference:
            yield _installed(ours, reference, share)
            yield _remembered(ours, reference)
    for run in done.values():
        if run.receiver == OURS and run.path_changes:
            yield _moved(run)


def _installed(ours: RoutingRun, reference: RoutingRun, share: float) -> Verdict:
    ratio = ours.install / reference.install
    measured = f"{ours.install:.1f} s / {reference.install:.1f} s = {ratio:.2f}"
    target = f"installed in at most {share:.2f} of {REFERENCE}'s time, {_load(ours)}"
    return Verdict(target, measured, ratio <= share)


def _remembered(ours: RoutingRun, reference: RoutingRun) -> Verdict:
    measured = f"{megabytes(ours)} / {megabytes(reference)}"
    target = f"no more memory than {REFERENCE}, {_load(ours)}"
    return Verdict(target, measured, ours.peak_kib <= reference.peak_kib)


def _moved(run: RoutingRun) -> Verdict:
    slowest = max(change.moved for change in run.path_changes)
    target = f"core path changed under {run.routes} routes in less than 50 ms, the slowest"
    return Verdict(target, f"{slowest * 1000:.0f} ms", slowest < PATH_CHANGE_SECONDS)


def flooded(runs: Iterable[FloodRun]) -> Iterator[Verdict]:
    """The bound of what attributes that no route has any more may take."""
    for run in runs:
        if run.receiver == OURS and not run.failure:
            grown = run.grown_kib / 1024
            yield Verdict(
                f"at most {FLOOD_MEGABYTES} MB more after {run.updates:,} UPDATEs of one prefix,"
                " each with communities of its own",
                f"{grown:.0f} MB",
                grown <= FLOOD_MEGABYTES,
            )


def looped(run: LoopRun | None) -> Iterator[Verdict]:
    """The budget of the event loop, for all that was measured but the machine's own floor."""
    lags = [lag for lag in run.lags if lag.what != FLOOR] if run else []
    if run and lags:
        worst = max(lags, key=lambda lag: lag.longest)
        budget = f"no iteration over {BUDGET_SECONDS * 1000:.0f} ms"
        yield Verdict(
            f"event loop with {run.ports:,} ports: {budget}",
            f"{worst.longest * 1000:.0f} ms ({worst.what})",
            worst.longest <= BUDGET_SECONDS,
        )


def megabytes(run: RoutingRun) -> str:
    """The peak of all processes, with its unit."""
    return f"{run.peak_kib / 1024:.0f} MB"


def _load(run: RoutingRun) -> str:
    return f"{run.per_update} in one UPDATE"
