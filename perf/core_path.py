"""The core path changes under all routes: until when does a packet leave by the old link?"""

from __future__ import annotations

import time
from collections import Counter
from typing import NoReturn

from labs.lab import RunningLab
from perf import workload
from perf.fib import Fib
from perf.network import LINKS, TRANSPORT_LABEL, gateway
from perf.probes import DESTINATIONS, Probes, now
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
    stale_at = begun
    _until_moved(lab, probes, old, new, begun)
    while left := count_by_port(tables, load)[old]:
        stale_at = now()
        if stale_at - begun > CHANGE_SECONDS:
            _give_up(lab, f"{left} routes that still lead over {old}")
        _until_moved(lab, probes, old, new, begun)
    _drain(probes)
    last_old = max(begun, probes.seen.last(old))
    return PathChange(
        stayed=last_old - begun,
        moved=max(stale_at, probes.seen.all_on(new, last_old)) - begun,
        told=told - begun,
        sent=probes.sent,
        lost=probes.sent - len(probes.seen.arrivals),
    )


def _steady(lab: RunningLab, probes: Probes, link: str) -> None:
    """Probe until every destination is seen on a link: the positive control of what follows."""
    probes.take()
    probes.forget()
    deadline = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < deadline:
        probes.round()
        time.sleep(LONGEST / 2)
    if len(probes.seen.destinations(link)) < probes.destinations:
        raise AwaitedError(
            f"probes over {link} before the change, saw {_seen(probes)}\n{logs(lab)}"
        )
    _drain(probes)
    probes.forget()


def _drain(probes: Probes) -> None:
    time.sleep(0.05)
    probes.take()


def _until_moved(lab: RunningLab, probes: Probes, old: str, new: str, begun: float) -> None:
    """Probe every destination, and again until all of them are seen on the new link."""
    while True:
        for _ in range(DESTINATIONS):
            probes.round()
            time.sleep(min(max(SHORTEST, (now() - begun) / 50), LONGEST))
        probes.take()
        if probes.seen.moved(old, new, probes.destinations):
            return
        if now() - begun > CHANGE_SECONDS:
            _give_up(lab, f"probes over {new}, saw {_seen(probes)}")


def _seen(probes: Probes) -> str:
    return str({link: len(probes.seen.destinations(link)) for link in LINKS})


def _give_up(lab: RunningLab, what: str) -> NoReturn:
    raise AwaitedError(f"waited {CHANGE_SECONDS:.0f} s after the change for {what}\n{logs(lab)}")


def count_by_port(tables: Fib, load: Workload) -> Counter[str]:
    """How many of the workload's routes lead over each port."""
    total: Counter[str] = Counter()
    for vrf in range(load.vrfs):
        total += tables.ports_of_table(workload.table(vrf), PREFIX_LENGTH)
    return total
