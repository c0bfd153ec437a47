"""A look at the wire: label stacks of frames on a port."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from labs import packets
from labs.lab import RunningLab

Stack = list[list[int]]


def command() -> tuple[str, ...]:
    """How to start this folder's wire tools on a node."""
    return (sys.executable, "-I", "-S", str(Path(packets.__file__)))


def stacks_on(
    lab: RunningLab, node: str, port: str, pinger: str, address: str, source: str
) -> list[Stack]:
    """The label stacks, outermost first as [label, TTL], seen on a port while ``pinger`` pings."""
    tap = lab.popen(node, *command(), "stacks", port, "5", "2")
    try:
        assert tap.stdout is not None  # noqa: S101 - popen gives pipes
        tap.stdout.readline()
        lab.run(
            pinger, "ping", "-c", "3", "-i", "0.2", "-W", "1", "-I", source, address, check=False
        )
        found: list[Stack] = json.loads(tap.communicate(timeout=30)[0])
        return found
    finally:
        tap.kill()
        tap.wait()
