"""A part of the bench of microsegmentation, as root on the lab kernel:
``python -m perf.segment DIRECTORY --part PART``. Leaves a file of its results in the directory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import grpc
import msgspec

from labs.lab import LabError
from labs.namespaces import inside
from pe.process import gc_tuning as collector
from pe.supervisor import Supervisor
from perf import fleet, segment_changes, segment_forwarding, segment_telemetry
from perf.guest import KERNEL_FILE
from perf.machine import pace
from perf.segment_node import Site, sites
from perf.segment_pe import Half, log
from perf.segment_results import SegmentRun

PARTS = ("changes", "rebuild", "telemetry", "forwarding", "fleet")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured in each part."""

    changes: segment_changes.Plan = segment_changes.Plan()
    telemetry: segment_telemetry.Plan = segment_telemetry.Plan()
    forwarding: segment_forwarding.Plan = segment_forwarding.Plan()
    fleet: fleet.Plan = fleet.Plan()


def file_of(directory: Path, part: str) -> Path:
    """Where a part leaves its results."""
    return directory / f"segment-{part}.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 if it failed."""
    options = _options().parse_args(argv)
    (options.directory / KERNEL_FILE).write_text(Path("/proc/version").read_text())
    say(f"{options.part} ...")
    before = pace()
    found = _measured(options.part, msgspec.json.decode(options.plan, type=Plan))
    found = msgspec.structs.replace(found, pace=(before, pace()))
    file_of(options.directory, options.part).write_bytes(msgspec.json.encode(found))
    return int(bool(found.failure))


def _measured(part: str, plan: Plan) -> SegmentRun:
    """What was found, or why it failed."""
    try:
        match part:
            case "forwarding":
                return SegmentRun(paces=tuple(segment_forwarding.paces(say, plan.forwarding)))
            case "fleet":
                return SegmentRun(fleet=fleet.fleet(say, plan.fleet))
            case _:
                return asyncio.run(_on_one(part, plan))
    except (OSError, RuntimeError, LabError, grpc.RpcError):
        failure = f"{part}: {traceback.format_exc()}"
        say(failure)
        return SegmentRun(failure=failure)


async def _on_one(part: str, plan: Plan) -> SegmentRun:
    """The parts that need one PE, in this process."""
    # As in a node: the collector is out of the way.
    with sites(1) as (site,), inside(site.pe), collector.freeze_heap():
        async with Supervisor(log) as supervisor:
            half = Half(supervisor)
            await half.start(site)
            try:
                return await _with_half(half, site, part, plan)
            finally:
                await half.stop()


async def _with_half(half: Half, site: Site, part: str, plan: Plan) -> SegmentRun:
    match part:
        case "changes":
            return SegmentRun(changes=await segment_changes.tag_changes(half.keeper, plan.changes))
        case "rebuild":
            rebuild = await segment_changes.rebuilds(half.keeper, site, plan.changes)
            return SegmentRun(rebuild=rebuild)
        case _:
            told = await segment_telemetry.telemetry_runs(half.keeper, site, plan.telemetry)
            return SegmentRun(telemetry=tuple(told))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perf.segment")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--plan", default="{}", help="how much of it, as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
