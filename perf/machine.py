"""Where a bench runs, and with which versions of what."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from labs.peers.frr import DAEMONS
from perf.results import Machine

CHECKOUT = Path(__file__).parents[1]
PACE_ROUNDS = 3_000_000


def machine(lab_kernel: str, lab_kind: str, guest_memory: str) -> Machine:
    """Describe the host; the caller says what runs the lab."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=model[1] if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=pages / (1 << 30),
        load=os.getloadavg()[0],
        host_kernel=platform.release(),
        lab_kernel=lab_kernel,
        lab_kind=lab_kind,
        guest_memory=guest_memory,
    )


def pace() -> float:
    """Seconds for a fixed loop: the same each time unless something else has the CPU."""
    begun = time.monotonic()
    sum(number & 7 for number in range(PACE_ROUNDS))
    return time.monotonic() - begun


def versions() -> dict[str, str]:
    """The versions of the routers and of what they stand on."""
    commit = _said("git", "-C", str(CHECKOUT), "describe", "--always", "--dirty")
    return {
        "Bulkhead": f"{version('bulkhead')}, {commit}",
        "FRR": _said(f"{DAEMONS}/bgpd", "--version").removeprefix("bgpd version "),
        "ExaBGP": version("exabgp"),
        "Python": platform.python_version(),
    }


def _said(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"unknown ({error.strerror})"
    return (done.stdout.splitlines() or ["unknown"])[0]
