"""Packets a second and times of changes, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from perf.segment_names import BOTH, FEW, LISTED, NEW, PLAIN, POLICY, TRACKED
from perf.segment_pairs import percentile
from perf.segment_results import Pace, SegmentRun
from perf.segment_targets import HERE_SECONDS, THERE_SECONDS

POLICY_COLOUR, LIST_COLOUR, TRACKED_COLOUR, PLAIN_COLOUR = (
    "#d9482b",
    "#5b7083",
    "#000000",
    "#9aa5b1",
)


def draw_paces(paces: Sequence[Pace], path: Path) -> None:
    """An SVG: packets a second by the number of entries, of few flows and of new ones."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, flows, title in (
        (axes[0], FEW, "established flows: packets/s"),
        (axes[1], NEW, "a new flow with each packet: packets/s (log)"),
    ):
        _by_size(axis, {pace.name: pace for pace in paces if pace.flows == flows})
        axis.set_title(title, fontsize=10)
        axis.set_xscale("log")
        axis.set_xlabel("entries of the policy, or rules of the list", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axes[0].set_ylim(bottom=0)
    axes[1].set_yscale("log")
    for axis in axes:
        axis.yaxis.set_major_formatter(pyplot.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes[0].legend(fontsize=8, loc="lower left")
    _save(pyplot, figure, path)


def _by_size(axis: Any, by: dict[str, Pace]) -> None:
    lines = [(POLICY, POLICY_COLOUR, "o"), (LISTED, LIST_COLOUR, "s")]
    for kind, colour, marker in lines:
        drawn = sorted((p for n, p in by.items() if n.startswith(kind)), key=lambda p: p.size)
        if drawn:
            middles = [median(pace.rounds) for pace in drawn]
            low = [m - percentile(p.rounds, 0.05) for m, p in zip(middles, drawn, strict=True)]
            high = [percentile(p.rounds, 0.95) - m for m, p in zip(middles, drawn, strict=True)]
            sizes = [pace.size for pace in drawn]
            axis.errorbar(
                sizes, middles, (low, high), color=colour, marker=marker, capsize=3, label=kind,
                linewidth=1.5, markersize=5, elinewidth=0.8,
            )  # fmt: skip
            axis.annotate(
                f"{middles[-1]:,.0f}", (sizes[-1], middles[-1]), fontsize=8, color=colour,
                xytext=(0, 7), textcoords="offset points", ha="center",
            )  # fmt: skip
    for name, colour, style in (
        (PLAIN, PLAIN_COLOUR, "-"), (TRACKED, TRACKED_COLOUR, "--"), (BOTH, POLICY_COLOUR, ":"),
    ):  # fmt: skip
        if name in by:
            level = median(by[name].rounds)
            axis.axhline(level, color=colour, linestyle=style, linewidth=1, label=name)


def draw_times(run: SegmentRun, path: Path) -> None:
    """An SVG: how soon a tag is enforced, as shares of all changes."""
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(9, 4), layout="constrained")
    lines: list[tuple[str, Sequence[float], str, str]] = []
    if run.fleet:
        lines += [
            ("enforced at the PE called", [c.here for c in run.fleet.changes], POLICY_COLOUR, "-"),
            ("the call's answer", [c.answered for c in run.fleet.changes], POLICY_COLOUR, ":"),
            ("enforced at the remote PE", [c.there for c in run.fleet.changes], "#2b6cd9", "-"),
        ]
    if run.changes:
        lines += [
            ("verdict tables alone", run.changes.enforced, PLAIN_COLOUR, "-"),
            ("the nft program", run.changes.by_program, PLAIN_COLOUR, "--"),
        ]
    for label, times, colour, style in lines:
        found = sorted(times)
        shares = [(number + 1) / len(found) for number in range(len(found))]
        milliseconds = [seconds * 1000 for seconds in found]
        axis.step(milliseconds, shares, colour, linestyle=style, label=label, where="post")
    for seconds, colour, label in (
        (HERE_SECONDS, POLICY_COLOUR, "50 ms"), (THERE_SECONDS, "#2b6cd9", "500 ms"),
    ):  # fmt: skip
        axis.axvline(seconds * 1000, color=colour, linewidth=0.7, linestyle="--")
        axis.annotate(label, (seconds * 1000, 0.02), fontsize=8, color=colour, ha="right")
    axis.axhline(0.99, color="#c0c8d0", linewidth=0.7)
    axis.annotate(
        "99 %", (0.005, 0.99), xycoords=("axes fraction", "data"), fontsize=8, color="#808890",
        va="top",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_title("a tag changes: share of the changes done within so many ms (log)", fontsize=10)
    axis.xaxis.set_major_formatter(pyplot.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, loc="center right")
    _save(pyplot, figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bulkhead"
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
