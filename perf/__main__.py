"""``make bench``: measure beside FRR on the lab kernel, and write the report.

    python -m perf [--routes N] [--per-update N ...] [--receivers NAME ...]

Writes ``report.md``, ``results.json`` and the plot into ``perf/``, or ``--output``. The exit
status is 1 if a router failed, and 0 whether or not a target is met.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from labs.kernel import choice
from perf import guest, plot, report, segment, segment_plot, segment_report
from perf.machine import machine, versions
from perf.probes import DESTINATIONS
from perf.results import Machine, Results, RoutingRun
from perf.segment_results import SegmentRun

HERE = Path(__file__).parent
MEMORY = "4G"
LONGEST_SECONDS = 3600.0


def main(argv: Sequence[str]) -> int:
    """Measure and write; with ``--report`` only write anew from ``results.json``."""
    output = HERE
    if "--report" in argv:
        results = msgspec.json.decode((output / "results.json").read_bytes(), type=Results)
    else:
        results = measure(argv)
        (output / "results.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"
        )
    write(results, output)
    print(f"written: {output / 'report.md'}")
    return int(any(run.failure for run in results.routing) or not results.routing)


def measure(options: Sequence[str]) -> Results:
    """Run the bench on the lab kernel and return what it found, whole or not."""
    chosen = choice.choose()
    print(f"bench on {chosen.kind.value}, {chosen.reason}", flush=True)
    before = machine("", chosen.kind.value, MEMORY)
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch:
        directory = Path(scratch)
        command = [sys.executable, "-m", "perf.guest", scratch, *options]
        choice.run(command, choice=chosen, mem=MEMORY, timeout=LONGEST_SECONDS, results=directory)
        return Results(
            date=datetime.now(UTC).isoformat(timespec="minutes"),
            machine=_with_kernel(before, directory),
            versions=versions(),
            routing=_runs(directory),
            segment=_segment(directory, chosen),
        )


def write(results: Results, output: Path) -> None:
    """Write the report and its plot."""
    destinations = DESTINATIONS * (results.routing[0].vrfs if results.routing else 0)
    (output / "report.md").write_text(report.render(results, destinations))
    plot.draw(results.routing, output / report.PLOT)
    if results.segment and results.segment.paces:
        segment_plot.draw(results.segment.paces, output / segment_report.PLOT)


def _with_kernel(before: Machine, directory: Path) -> Machine:
    file = directory / guest.KERNEL_FILE
    kernel = file.read_text().split()[2] if file.exists() else "unknown: it did not come up"
    return msgspec.structs.replace(before, lab_kernel=kernel)


def _segment(directory: Path, chosen: choice.Choice) -> SegmentRun | None:
    """The part on microsegmentation, on a lab kernel of its own."""
    command = [sys.executable, "-m", "perf.segment", str(directory)]
    choice.run(command, choice=chosen, mem=MEMORY, timeout=LONGEST_SECONDS, results=directory)
    file = directory / segment.FILE
    return msgspec.json.decode(file.read_bytes(), type=SegmentRun) if file.exists() else None


def _runs(directory: Path) -> tuple[RoutingRun, ...]:
    file = directory / guest.FILE
    return (
        msgspec.json.decode(file.read_bytes(), type=tuple[RoutingRun, ...]) if file.exists() else ()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
