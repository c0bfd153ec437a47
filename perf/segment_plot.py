"""Packets a second by configuration, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perf.segment_report import FEW, NEW
from perf.segment_results import Pace

COLOURS = {FEW: "#d9482b", NEW: "#9aa5b1"}


def draw(paces: Sequence[Pace], path: Path) -> None:
    """Write an SVG with a bar for each configuration and kind of traffic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bulkhead"
    from matplotlib import pyplot

    names = list(dict.fromkeys(pace.name for pace in paces))
    figure, axis = pyplot.subplots(figsize=(9, 4), layout="constrained")
    for shift, flows in enumerate((FEW, NEW)):
        drawn = [pace for pace in paces if pace.flows == flows]
        places = [names.index(pace.name) + 0.4 * shift for pace in drawn]
        bars = axis.barh(
            places, [max(p.rounds) for p in drawn], 0.38, color=COLOURS[flows],
            label=f"{flows} flows",
        )  # fmt: skip
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axis.set_yticks([place + 0.2 for place in range(len(names))], names, fontsize=8)
    axis.invert_yaxis()
    axis.legend(fontsize=8)
    axis.margins(x=0.12)
    axis.set_title("packets/s through the PE, best of many shots", fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
