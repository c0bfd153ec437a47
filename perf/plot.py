"""The figures of the report as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from perf.results import RoutingRun
from perf.targets import OURS, REFERENCE

COLOURS = {REFERENCE: "#9aa5b1", OURS: "#d9482b"}
Measure = Callable[[RoutingRun], float]


def draw(runs: Sequence[RoutingRun], path: Path) -> None:
    """Write an SVG with a panel for each question, a bar for each router."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bulkhead"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    _bars(axes[0], runs, "installed, s", lambda run: run.install)
    _bars(axes[1], runs, "withdrawn, s", lambda run: run.withdraw)
    _bars(axes[2], runs, "memory of all processes, MB", lambda run: run.peak_kib / 1024)
    moved = [run for run in runs if run.path_changes]
    _bars(axes[3], moved, "core path changed, ms (log)", _path_milliseconds, log=True)
    axes[3].axhline(50, color="black", linewidth=0.8, linestyle="--")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def _path_milliseconds(run: RoutingRun) -> float:
    return median(change.moved for change in run.path_changes) * 1000


def _bars(
    axis: Any, runs: Sequence[RoutingRun], title: str, measure: Measure, *, log: bool = False
) -> None:
    done = [run for run in runs if not run.failure]
    groups = sorted({run.per_update for run in done}, reverse=True)
    receivers = [name for name in COLOURS if any(run.receiver == name for run in done)]
    width = 0.8 / max(1, len(receivers))
    for run in done:
        place = groups.index(run.per_update) + receivers.index(run.receiver) * width
        bar = axis.bar(place, measure(run), width * 0.95, color=COLOURS[run.receiver], log=log)
        axis.bar_label(bar, fmt=_figure, fontsize=8)
    middle = 0.4 - width / 2
    labels = [f"{group} in an UPDATE" for group in groups]
    axis.set_xticks([number + middle for number in range(len(groups))], labels, fontsize=8)
    handles = [axis.bar(0, 0, color=COLOURS[name], label=name) for name in receivers]
    if handles:
        axis.legend(fontsize=8)
    axis.margins(y=0.15)
    axis.set_title(title, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
