"""The part of the bench that runs as root on the lab kernel: ``python -m perf.guest DIRECTORY``.

Runs every router under every workload and leaves ``routing.json`` in the directory, anew
after each run, so that what was measured is there even if a later run hangs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from perf import flood, receivers, routing
from perf.machine import pace
from perf.network import PE
from perf.receivers import Receiver
from perf.results import FloodRun, RoutingRun
from perf.workload import Workload

FILE, FLOOD_FILE = "routing.json", "flood.json"
KERNEL_FILE = "kernel"
PER_UPDATE = (50, 1)
PATH_CHANGES = 6

Make = Callable[[Workload, str], Receiver]
RECEIVERS: dict[str, Make] = {"FRR": receivers.frr, "Bulkhead": receivers.bulkhead}


def main(argv: Sequence[str] | None = None) -> int:
    """Run them all; the exit status is 1 if a router failed."""
    options = _options().parse_args(argv)
    (options.directory / KERNEL_FILE).write_text(Path("/proc/version").read_text())
    runs: list[RoutingRun] = []
    for per_update in options.per_update:
        for name in options.receivers:
            load = Workload(options.routes, per_update=per_update)
            say(f"{name}, {load.routes} routes, {per_update} in one UPDATE ...")
            before = pace()
            changes = options.path_changes if per_update == options.per_update[0] else 0
            run = routing.run(RECEIVERS[name](load, PE), load, changes)
            run = msgspec.structs.replace(run, pace=(before, pace()))
            say(describe(run))
            runs.append(run)
            (options.directory / FILE).write_bytes(msgspec.json.encode(runs))
    floods = [_flooded(name) for name in options.receivers]
    (options.directory / FLOOD_FILE).write_bytes(msgspec.json.encode(floods))
    return int(any(run.failure for run in runs) or any(run.failure for run in floods))


def _flooded(name: str) -> FloodRun:
    say(f"{name}, {flood.UPDATES} UPDATEs of one prefix with fresh communities ...")
    run = flood.run(RECEIVERS[name](flood.LOAD, PE))
    say(f"  failed: {run.failure}" if run.failure else f"  {run.grown_kib / 1024:.0f} MB more")
    return run


def describe(run: RoutingRun) -> str:
    """What came out, in a line, or why it failed."""
    if run.failure:
        return f"  failed: {run.failure}"
    moves = ", ".join(f"{change.moved * 1000:.0f}" for change in run.path_changes)
    return (
        f"  installed in {run.install:.1f} s, withdrawn in {run.withdraw:.1f} s, "
        f"{run.peak_kib / 1024:.0f} MB" + (f", path changes in {moves} ms" if moves else "")
    )


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perf.guest")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--routes", type=int, default=Workload().routes)
    parser.add_argument("--per-update", type=int, nargs="+", default=PER_UPDATE)
    parser.add_argument("--receivers", nargs="+", default=list(RECEIVERS), choices=RECEIVERS)
    parser.add_argument("--path-changes", type=int, default=PATH_CHANGES)
    return parser


if __name__ == "__main__":
    sys.exit(main())
