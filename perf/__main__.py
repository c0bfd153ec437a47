"""``make bench``: measure beside FRR on the lab kernel, and write the report.

    python -m perf                          all of it, into perf/
    python -m perf --only fleet rebuild     some parts, into perf/partial/
    python -m perf --report                 only the page anew, from results.json

Writes ``report.md``, ``results.json`` and the pictures. The exit status is 1 if something that
was measured failed, and 0 whether or not a target is met.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from labs.kernel import choice
from perf import guest, loop_results, plot, report, segment, segment_names, segment_plot
from perf.loop_results import LoopRun
from perf.machine import machine, versions
from perf.probes import DESTINATIONS
from perf.results import FloodRun, Machine, Results, RoutingRun
from perf.segment_results import SegmentRun

HERE = Path(__file__).parent
ROUTING, LOOP = "routing", "loop"
PARTS = (ROUTING, LOOP, *segment.PARTS)
MEMORY = "4G"
LONGEST_SECONDS = 3600.0
RESULTS = "results.json"


def main(argv: Sequence[str]) -> int:
    """Measure and write, or only write."""
    options = _options().parse_args(argv)
    output = options.output or (HERE / "partial" if options.only else HERE)
    if options.report:
        found = iter((msgspec.json.decode((output / RESULTS).read_bytes(), type=Results),))
    else:
        found = measured(options.only or PARTS)
    for results in found:
        save(results, output)
    print(f"written: {output / 'report.md'}, after {results.seconds / 60:.0f} minutes of measuring")
    return int(results.has_failed)


def measured(parts: Sequence[str]) -> Iterator[Results]:
    """Run the bench on the lab kernel; gives what it has found, whole or not, after each part."""
    chosen = choice.choose()
    print(f"bench on {chosen.kind.value}, {chosen.reason}", flush=True)
    _be_preferred()
    before, started = machine("", chosen.kind.value, MEMORY), time.monotonic()
    done: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch:
        directory = Path(scratch)
        # A lab kernel of its own for each part: what one leaves behind is no other's burden.
        for part in parts:
            command = [sys.executable, "-m", *_job(part, scratch)]
            if part == LOOP:  # over stand-ins for the kernel
                subprocess.run(command, check=False, timeout=LONGEST_SECONDS)
            else:
                choice.run(
                    command, choice=chosen, mem=MEMORY, timeout=LONGEST_SECONDS, results=directory
                )
            done.append(part)
            yield Results(
                date=datetime.now(UTC).isoformat(timespec="minutes"),
                seconds=time.monotonic() - started,
                machine=_with_kernel(before, directory),
                versions=versions(),
                routing=_runs(directory),
                floods=_floods(directory),
                loop=_loop(directory) if LOOP in done else None,
                segment=_segment(directory, [n for n in done if n not in (ROUTING, LOOP)]),
            )


def _job(part: str, scratch: str) -> list[str]:
    """The module that measures a part, and its arguments."""
    if part == ROUTING:
        return ["perf.guest", scratch]
    if part == LOOP:
        return ["perf.loop", scratch]
    return ["perf.segment", scratch, "--part", part]


def _be_preferred() -> None:
    """Raise the priority of this process, where allowed: less of it gets into the figures."""
    with contextlib.suppress(OSError):
        os.nice(-10)


def save(results: Results, output: Path) -> None:
    """Write the figures, the report and its pictures."""
    output.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(results), indent=1)
    (output / RESULTS).write_bytes(text + b"\n")
    destinations = DESTINATIONS * (results.routing[0].vrfs if results.routing else 0)
    (output / "report.md").write_text(report.render(results, destinations))
    if results.routing:
        plot.draw(results.routing, output / report.PLOT)
    found = results.segment
    if found and found.paces:
        segment_plot.draw_paces(found.paces, output / segment_names.PACES_PLOT)
    if found and (found.fleet or found.changes):
        segment_plot.draw_times(found, output / segment_names.CHANGES_PLOT)


def _with_kernel(before: Machine, directory: Path) -> Machine:
    file = directory / guest.KERNEL_FILE
    kernel = file.read_text().split()[2] if file.exists() else "unknown: it did not come up"
    return msgspec.structs.replace(before, lab_kernel=kernel)


def _segment(directory: Path, parts: Sequence[str]) -> SegmentRun | None:
    """The parts on microsegmentation, put together; a part without a word has failed."""
    whole = SegmentRun()
    for part in parts:
        file = segment.file_of(directory, part)
        if file.exists():
            found = msgspec.json.decode(file.read_bytes(), type=SegmentRun)
        else:
            found = SegmentRun(failure=f"{part}: the lab kernel ended before it was done\n")
        whole = whole.joined(found)
    return whole if parts else None


def _loop(directory: Path) -> LoopRun:
    file = directory / loop_results.FILE
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=LoopRun)
    return LoopRun(failure="the process ended before it was done\n")


def _runs(directory: Path) -> tuple[RoutingRun, ...]:
    return msgspec.json.decode(_listed(directory / guest.FILE), type=tuple[RoutingRun, ...])


def _floods(directory: Path) -> tuple[FloodRun, ...]:
    return msgspec.json.decode(_listed(directory / guest.FLOOD_FILE), type=tuple[FloodRun, ...])


def _listed(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b"[]"


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m perf", description="The bench.")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts")
    parser.add_argument("--output", type=Path, help="where to (perf/, or perf/partial/)")
    parser.add_argument("--report", action="store_true", help="measure nothing, write anew")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
