"""How much memory the processes of a router take."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its name and the most memory that it has had resident, in KiB."""

    name: str
    peak_kib: int


def processes_of(namespace: str) -> list[Process]:
    """All processes in a network namespace with their peaks (VmHWM)."""
    listed = subprocess.run(
        ["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True
    )
    return [_process(Path("/proc") / pid / "status") for pid in listed.stdout.split()]


def _process(status: Path) -> Process:
    fields = dict(re.findall(r"^(\w+):\s+(\S+)", status.read_text(), re.MULTILINE))
    return Process(fields["Name"], int(fields["VmHWM"]))
