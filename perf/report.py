"""The results as a page to read: ``perf/report.md``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from statistics import median

from perf import loop_results, segment_report, segment_targets
from perf.results import FloodRun, Results, RoutingRun
from perf.targets import REFERENCE, Verdict, flooded, looped, megabytes, verdicts

PLOT = "routing.svg"
STEADY = 1.3
"""Greatest ratio of two paces at which runs are comparable."""

Measure = Callable[[RoutingRun], float]

_HEAD = """\
# How fast

Written by `make bench`; the raw figures are in `results.json`. Targets are
informational; missing one does not fail the benchmark.
"""

_METHOD = """\
## How it was measured

Each router runs alone on the lab kernel, with one CPU, in a network namespace; the sender
(`perf/sender.py`, the same for all) is another one on the same kernel and CPU. It sends
{routes:,} VPNv4 routes, /24, in {vrfs} VRFs that all use the same prefixes, with a route
distinguisher, a route target and a VPN label for each VRF, over one iBGP session; all is
packed before the session is up. The way to the sender is a static labelled route in the
main table.

* *Installed*: from the session's start, as the sender sees it, to the last route in the
  kernel's tables. Looked for with single route look-ups, then counted once.
* *Withdrawn*: from the order to withdraw to the last route gone.
* *Memory*: the peaks (VmHWM) of all processes of the router, added up.
* *Core path*: the main table's route is led over the other one of two core links while
  probe packets go to {destinations} destinations in all VRFs, a round every 2 ms at first and
  every 20 ms later. The time runs from the netlink message that changes it. *Stayed* is the
  last probe that left by the old link; *moved* is when, after that, one of every VRF has
  arrived over the new one and all routes of the tables lead there. The truth is between
  them. *Answer* is what the kernel itself took to change the main table's route.
"""


_FLOOD = """\
## Attribute flood

One prefix is announced 5,000 times over the same session, each time with 960 communities that
were never there before, then withdrawn. *Before* and *after*: the peaks of all processes, added up;
*took*: from the first of these UPDATEs until the withdrawal is in the kernel's tables.

"""


def render(results: Results, destinations: int) -> str:
    """The whole page, in Markdown."""
    runs = results.routing
    found = [
        *verdicts(runs), *flooded(results.floods), *looped(results.loop),
        *segment_targets.verdicts(results.segment),
    ]  # fmt: skip
    parts = [_HEAD, _facts(results), _steadiness(_paces(results)), _targets(found)]
    if runs:
        first = runs[0]
        parts += [
            f"## Routes\n\n![Routes, memory and core path]({PLOT})\n",
            _table(runs),
            _paths(runs),
            _METHOD.format(routes=first.routes, vrfs=first.vrfs, destinations=destinations),
        ]
    if results.floods:
        parts.append(_floods(results.floods))
    parts += loop_results.section(results.loop)
    parts += segment_report.section(results.segment)
    return "\n".join([*parts, *_failures(runs)])


def _facts(results: Results) -> str:
    machine = results.machine
    facts = {
        "date": results.date,
        "took": f"{results.seconds / 60:.0f} minutes",
        "machine": f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:.0f} GiB",
        "load before": f"{machine.load:.1f}",
        "host kernel": machine.host_kernel,
        "lab kernel": f"{machine.lab_kernel} ({machine.lab_kind}, {machine.guest_memory})",
        "pace": _pace(_paces(results)),
        **results.versions,
    }
    return _rows(("", ""), ((name, value) for name, value in facts.items()))


def _paces(results: Results) -> list[float]:
    """What the fixed loop took each time, in seconds."""
    segment = results.segment.pace if results.segment else ()
    return [*(pace for run in results.routing for pace in run.pace), *segment]


def _steadiness(paces: Sequence[float]) -> str:
    """A warning if something else had the CPU: then the shares are not to be relied on."""
    if not paces or max(paces) <= STEADY * min(paces):
        return ""
    return (
        f"**The machine was not steady**: the same loop took up to {max(paces) / min(paces):.1f} "
        "times as long at one moment as at another, so something else had the CPU, and not to the "
        "same degree all the time. Run it again on a quiet machine before relying on a figure of "
        "one run beside one of another; shares of packets a second compare neighbours in time.\n"
    )


def _pace(paces: Sequence[float]) -> str:
    """Whether all that was measured had the machine to itself alike."""
    if not paces:
        return "unknown"
    low, high = (f"{seconds * 1000:.0f}" for seconds in (min(paces), max(paces)))
    return f"a fixed loop took {low} to {high} ms before and after each part"


def _targets(found: Sequence[Verdict]) -> str:
    if not found:
        return "## Targets\n\nNothing to judge: a part is missing.\n"
    rows = ((v.target, v.measured, "met" if v.met else "**missed**") for v in found)
    return "## Targets\n\n" + _rows(("target", "measured", ""), rows)


def _table(runs: Iterable[RoutingRun]) -> str:
    done = {(run.receiver, run.per_update): run for run in runs if not run.failure}
    rows = []
    for (receiver, per_update), run in done.items():
        other = done.get((REFERENCE, per_update)) if receiver != REFERENCE else None
        rows.append(
            (
                f"{receiver}, {per_update} in one UPDATE",
                f"{run.install:.1f} s{_share(run, other, _install)}",
                f"{run.routes / run.install:,.0f}/s" if run.install else "",
                f"{run.withdraw:.1f} s{_share(run, other, _withdraw)}",
                f"{megabytes(run)}{_share(run, other, _peak)}",
                ", ".join(f"{p.name} {p.kib / 1024:.0f}" for p in run.processes),
            )
        )
    head = ("router", "installed", "routes", "withdrawn", "memory", "of it, MB")
    caption = f"In brackets the share of {REFERENCE}'s figure.\n\n"
    return caption + _rows(head, rows)


_install: Measure = attrgetter("install")
_withdraw: Measure = attrgetter("withdraw")
_peak: Measure = attrgetter("peak_kib")


def _share(ours: RoutingRun, reference: RoutingRun | None, measure: Measure) -> str:
    return f" ({measure(ours) / measure(reference):.2f})" if reference else ""


def _paths(runs: Iterable[RoutingRun]) -> str:
    rows = []
    for run in runs:
        if run.path_changes:
            moved = [change.moved * 1000 for change in run.path_changes]
            stayed = [change.stayed * 1000 for change in run.path_changes]
            told = [change.told * 1000 for change in run.path_changes]
            sent = sum(change.sent for change in run.path_changes)
            lost = sum(change.lost for change in run.path_changes)
            rows.append(
                (
                    run.receiver,
                    str(len(moved)),
                    f"{median(stayed):.1f} ms",
                    f"{median(moved):.1f} ms",
                    f"{max(moved):.1f} ms",
                    f"{median(told):.1f} ms",
                    f"{lost} of {sent}",
                )
            )
    head = ("core path", "changes", "stayed", "moved", "slowest", "answer", "probes lost")
    return _rows(head, rows) if rows else ""


def _floods(runs: Iterable[FloodRun]) -> str:
    rows = [
        (
            run.receiver,
            f"{sum(p.kib for p in run.before) / 1024:.0f} MB",
            f"{sum(p.kib for p in run.after) / 1024:.0f} MB",
            f"{run.seconds:.1f} s",
            run.failure.splitlines()[0] if run.failure else "",
        )
        for run in runs
    ]
    return _FLOOD + _rows(("router", "before", "after", "took", ""), rows)


def _failures(runs: Iterable[RoutingRun]) -> list[str]:
    return [
        f"## Failed: {run.receiver}, {run.per_update} in one UPDATE\n\n```\n{run.failure}\n```\n"
        for run in runs
        if run.failure
    ]


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
