"""What the bench of the event loop records, and its part of the report."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from time import perf_counter, thread_time

import msgspec

BUDGET_SECONDS = 0.05
FILE = "loop.json"
"""Where ``perf.loop`` leaves what it found."""
FLOOR = "floor: idle, beside a busy process"
WHAT_IFS = "what-ifs without a pause"


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Iterations of the loop while one thing went on: for so many seconds no event was looked at,
    in the median, at the 99th percentile and at most. ``cpu``: of the thread's own CPU time."""

    what: str
    iterations: int
    p50: float
    p99: float
    longest: float
    cpu_p99: float = 0.0
    cpu_longest: float = 0.0


class Recorder(selectors.DefaultSelector):
    """A selector that notes how long each iteration of the loop took, and its CPU time: on a
    machine with other work the two differ, and the second one is ours."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._seconds: list[float] = []
        self._cpu: list[float] = []
        self._since = perf_counter(), thread_time()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as ever."""
        wall, cpu = self._since
        self._seconds.append(perf_counter() - wall)
        self._cpu.append(thread_time() - cpu)
        found = super().select(timeout)
        self._since = perf_counter(), thread_time()
        return found

    def taken(self, what: str) -> Lag:
        """The figures since the last time."""
        found, cpu = sorted(self._seconds), sorted(self._cpu)
        self.clear()
        return Lag(
            what=what,
            iterations=len(found),
            p50=found[len(found) // 2],
            p99=found[len(found) * 99 // 100],
            longest=found[-1],
            cpu_p99=cpu[len(cpu) * 99 // 100],
            cpu_longest=cpu[-1],
        )


class LoopRun(msgspec.Struct, frozen=True, kw_only=True):
    """A node of this size. ``start``: seconds until it was in sync, from its configuration on;
    ``longest_collection``: of the garbage collector, in seconds."""

    ports: int = 0
    vrfs: int = 0
    routes: int = 0
    rules: int = 0
    workloads: int = 0
    flows: int = 0
    start: float = 0.0
    longest_collection: float = 0.0
    lags: tuple[Lag, ...] = ()
    failure: str = ""


def section(run: LoopRun | None) -> Iterator[str]:
    """The page's part on the event loop, in Markdown."""
    if run is None:
        return
    yield (
        f"## Event loop\n\nOne node with {run.ports:,} ports in {run.vrfs:,} VRFs, "
        f"{run.routes:,} routes, {run.rules:,} rules, {run.workloads:,} workloads and "
        f"{run.flows:,} flows, over stand-ins for the kernel, on the host. *Lag*: how long one "
        f"iteration of the loop took; for so long no other event was looked at. "
        f"The budget is {BUDGET_SECONDS * 1000:.0f} ms. In sync after {run.start:.1f} s. "
        f"The longest garbage collection took {_ms(run.longest_collection)}.\n"
    )
    head = ("change", "iterations", "p50", "p99", "longest", "CPU p99", "CPU longest")
    rows = [f"| {' | '.join(head)} |\n", "|" + " --- |" * len(head) + "\n"]
    rows += [
        f"| {lag.what} | {lag.iterations:,} | {_ms(lag.p50)} | {_ms(lag.p99)} "
        f"| {_ms(lag.longest)} | {_ms(lag.cpu_p99)} | {_ms(lag.cpu_longest)} |\n"
        for lag in run.lags
    ]
    yield "".join(rows)
    yield from _what_ifs({lag.what: lag for lag in run.lags})
    if run.failure:
        yield f"## Failed: loop\n\n```\n{run.failure}\n```\n"


def _what_ifs(lags: dict[str, Lag]) -> Iterator[str]:
    floor, busy = lags.get(FLOOR), lags.get(WHAT_IFS)
    if floor and busy:
        yield (
            f"While a caller asks what-ifs without a pause, the longest iteration took "
            f"{_ms(busy.longest)} (budget {_ms(BUDGET_SECONDS)}), of that "
            f"{_ms(busy.cpu_longest)} of CPU time; an idle loop beside a busy process had "
            f"one of {_ms(floor.longest)} in the same run.\n"
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
