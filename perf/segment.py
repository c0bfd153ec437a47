"""The bench of microsegmentation, as root on the lab kernel: ``python -m perf.segment DIRECTORY``.

Leaves ``segment.json`` in the directory.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from controlplane.segment.enforcer import Slot
from pe.agent import Agent
from pe.segment.keeper import SegmentKeeper
from perf import segment_changes, segment_forwarding, segment_node, segment_telemetry
from perf.segment_results import SegmentRun

FILE = "segment.json"
PARTS = ("changes", "rebuild", "telemetry", "forwarding")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status is 1 if something failed."""
    options = _options().parse_args(argv)
    with segment_node.namespaces():
        found = asyncio.run(_measured(options.parts))
    (options.directory / FILE).write_bytes(msgspec.json.encode(found))
    return int(bool(found.failure))


async def _measured(parts: Sequence[str]) -> SegmentRun:
    agent = Agent(emit=lambda _: None, log=_log)
    keeper = SegmentKeeper(log=_log, require=agent.require_verdicts)
    await keeper.start()
    await agent.start()
    agent.submit(segment_node.desired())
    agent.mark_in_sync()
    await agent.settled()
    segment_node.settle_neighbours()
    found = SegmentRun()
    try:
        for part in parts:
            say(f"{part} ...")
            found = await _part(part, agent, keeper, found)
    except (OSError, RuntimeError):
        found = msgspec.structs.replace(found, failure=traceback.format_exc())
        say(found.failure)
    finally:
        await keeper.stop()
        await agent.stop()
    return found


async def _part(part: str, agent: Agent, keeper: SegmentKeeper, found: SegmentRun) -> SegmentRun:
    keeper.submit(Slot.STAGED, None)
    keeper.zones({segment_node.VRF: segment_node.ZONE})
    match part:
        case "changes":
            changes = await segment_changes.tag_changes(keeper)
            return msgspec.structs.replace(found, changes=changes)
        case "rebuild":
            rebuild = await segment_changes.rebuilds(keeper)
            return msgspec.structs.replace(found, rebuild=rebuild)
        case "telemetry":
            tellings = await segment_telemetry.tellings(keeper, staged=False)
            return msgspec.structs.replace(found, telling=tuple(tellings))
        case _:
            paces = await segment_forwarding.paces(agent, keeper, say)
            return msgspec.structs.replace(found, paces=tuple(paces))


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _log(level: str, event: str, fields: dict[str, str | int]) -> None:
    if level != "debug":
        say(f"  {level} {event} {fields}")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perf.segment")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
