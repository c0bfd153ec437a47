"""The core path changes under all routes: until when does a packet leave by the old link?"""

from __future__ import annotations

import time
from collections import Counter

from labs.lab import RunningLab
from perf import workload
from perf.fib import Fib
from perf.network import TRANSPORT_LABEL, gateway
from perf.probes import Probes, now
from perf.receivers import REMOTE
from perf.results import PathChange
from perf.waiting import AwaitedError, logs
from perf.workload import PREFIX_LENGTH, Workload

CHANGE_SECONDS = 120.0
STEADY_SECONDS = 0.5
SHORTEST, LONGEST = 0.002, 0.02
"""Seconds between two rounds of probes: finer at first, where a fast router needs it."""


def change_path(
    lab: RunningLab, load: Workload, tables: Fib, probes: Probes, old: str, new: str
) -> PathChange:
    """Lead the way to the remote PE over another link; when all routes follow.

    Raises AwaitedError when some do not within 120 seconds.
    """
    _steady(lab, probes, old)
    begun = now()
    tables.replace_labelled(REMOTE, TRANSPORT_LABEL, gateway(new), new)
    told = now()
    moved = told
    while True:
        _until_moved(lab, probes, old, new, begun)
        moved = max([moved, *probes.seen.last[old].values()])
        stale = count_by_port(tables, load)[old]
        if not stale:
            break
        moved = now()
    _drain(probes)
    return PathChange(
        moved=moved - begun,
        told=told - begun,
        sent=probes.sent,
        lost=probes.sent - probes.seen.count,
    )


def _steady(lab: RunningLab, probes: Probes, link: str) -> None:
    """Probe until every destination is seen on a link: the positive control of what follows."""
    probes.take()
    probes.forget()
    deadline = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < deadline:
        probes.round()
        time.sleep(LONGEST / 2)
    if len(probes.seen.last[link]) < probes.destinations:
        seen = {name: len(last) for name, last in probes.seen.last.items()}
        raise AwaitedError(f"probes over {link} before the change, saw {seen}\n{logs(lab)}")
    _drain(probes)
    probes.forget()


def _drain(probes: Probes) -> None:
    time.sleep(0.05)
    probes.take()


def _until_moved(lab: RunningLab, probes: Probes, old: str, new: str, begun: float) -> None:
    while not probes.seen.moved(old, new, probes.destinations):
        elapsed = now() - begun
        if elapsed > CHANGE_SECONDS:
            arrived = len(probes.seen.last[new])
            raise AwaitedError(
                f"waited {CHANGE_SECONDS:.0f} s for all routes over {new}: probes to {arrived} of "
                f"{probes.destinations} destinations left by it\n{logs(lab)}"
            )
        probes.round()
        time.sleep(min(max(SHORTEST, elapsed / 50), LONGEST))


def count_by_port(tables: Fib, load: Workload) -> Counter[str]:
    """How many of the workload's routes lead over each port."""
    total: Counter[str] = Counter()
    for vrf in range(load.vrfs):
        total += tables.ports_of_table(workload.table(vrf), PREFIX_LENGTH)
    return total
