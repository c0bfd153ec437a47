"""The questions of the routing bench: how fast are routes installed, moved and withdrawn?"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import msgspec

from labs.lab import RunningLab, running
from perf import memory, workload
from perf.core_path import change_path, count_by_port
from perf.fib import Fib
from perf.network import LINKS, PE, network
from perf.probes import Probes
from perf.receivers import Receiver
from perf.remote import Sender
from perf.results import PathChange, Peak, RoutingRun
from perf.waiting import AwaitedError, wait
from perf.workload import Workload

ESTABLISH_SECONDS = 60.0
INSTALL_SECONDS = 300.0
WITHDRAW_SECONDS = 300.0
PATH_BUDGET_SECONDS = 90.0
"""After this no further change of the path is begun."""

SAMPLES = 16
"""Prefixes of each VRF that are looked up; the rest is counted once those are there."""


def run(receiver: Receiver, load: Workload, changes: int) -> RoutingRun:
    """Measure one router under one workload, with this many changes of the core path.

    Never raises for what the router fails to do: that is the result's ``failure``.
    """
    result = RoutingRun(
        receiver=receiver.name, per_update=load.per_update, routes=load.routes, vrfs=load.vrfs
    )
    try:
        with running(network(receiver, load)) as lab, Sender(lab, load) as sender:
            return _measure(lab, sender, load, result, changes)
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        return msgspec.structs.replace(result, failure=str(error) or repr(error))


def _measure(
    lab: RunningLab, sender: Sender, load: Workload, result: RoutingRun, changes: int
) -> RoutingRun:
    up = sender.expect("established", ESTABLISH_SECONDS)
    with Fib(PE) as tables:
        watch = Watch(lab, tables, load)
        installed = watch.all_installed()
        sent = sender.expect("announced", 1)
        moved = _path_changes(lab, load, tables, changes)
        told = sender.withdraw()
        gone = watch.all_gone()
    return msgspec.structs.replace(
        result,
        install=installed - up,
        sending=sent - up,
        withdraw=gone - told,
        processes=peaks(),
        path_changes=moved,
    )


def peaks() -> tuple[Peak, ...]:
    """The most memory that each process of the router has had."""
    return tuple(Peak(p.name, p.peak_kib) for p in memory.processes_of(PE))


def _path_changes(
    lab: RunningLab, load: Workload, tables: Fib, wanted: int
) -> tuple[PathChange, ...]:
    changes: list[PathChange] = []
    begun = time.monotonic()
    with Probes(load) as probes:
        while len(changes) < wanted and time.monotonic() < begun + PATH_BUDGET_SECONDS:
            old, new = LINKS if len(changes) % 2 == 0 else reversed(LINKS)
            changes.append(change_path(lab, load, tables, probes, old, new))
    return tuple(changes)


class Watch:
    """Waits until all routes are in the kernel's tables, or none is."""

    def __init__(self, lab: RunningLab, tables: Fib, load: Workload) -> None:
        self._lab, self._tables, self._load = lab, tables, load

    def all_installed(self) -> float:
        """Wait for the last route; when it was there, in monotonic seconds."""
        return self._settle("in", lambda port: port in LINKS, self._load.routes, INSTALL_SECONDS)

    def all_gone(self) -> float:
        """Wait until the last route is gone; when it was, in monotonic seconds."""
        return self._settle("out of", lambda port: port not in LINKS, 0, WITHDRAW_SECONDS)

    def _settle(
        self, where: str, done: Callable[[str | None], bool], expected: int, seconds: float
    ) -> float:
        """Look up samples one after the other, then count; look further where that differs."""
        deadline = time.monotonic() + seconds
        pending = self._samples()

        def settled() -> bool:
            while pending and done(self._port(*pending[-1])):
                pending.pop()
            return not pending

        while True:
            left = deadline - time.monotonic()
            what = f"{self._load.routes} routes {where} the kernel's tables"
            try:
                at = wait(what, settled, left, self._lab)
            except AwaitedError as error:
                raise AwaitedError(f"{error}\nroutes there: {self._count()}") from None
            if self._count() == expected:
                return at
            pending[:] = self._samples()[:: SAMPLES // 4]
            time.sleep(0.2)
            if time.monotonic() > deadline:
                raise AwaitedError(f"{what}: {self._count()} are there after {seconds:.0f} s")

    def _samples(self) -> list[tuple[int, int]]:
        step = (self._load.per_vrf - 1) / (SAMPLES - 1)
        return [
            (vrf, round(number * step))
            for number in range(SAMPLES)
            for vrf in range(self._load.vrfs)
        ]

    def _port(self, vrf: int, index: int) -> str | None:
        return self._tables.port_towards(workload.vrf_name(vrf), self._load.prefix(index))

    def _count(self) -> int:
        return sum(count_by_port(self._tables, self._load).values())
