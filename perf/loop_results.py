"""What the bench of the event loop found, and its part of the report."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

BUDGET_SECONDS = 0.05
FILE = "loop.json"
"""Where ``perf.loop`` leaves what it found."""


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


class LoopRun(msgspec.Struct, frozen=True, kw_only=True):
    """A node of this size. ``start``: seconds until it was in sync, from its configuration on."""

    ports: int = 0
    vrfs: int = 0
    routes: int = 0
    rules: int = 0
    workloads: int = 0
    flows: int = 0
    start: float = 0.0
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
        f"The budget is {BUDGET_SECONDS * 1000:.0f} ms. In sync after {run.start:.1f} s.\n"
    )
    head = ("change", "iterations", "p50", "p99", "longest", "CPU p99", "CPU longest")
    rows = [f"| {' | '.join(head)} |\n", "|" + " --- |" * len(head) + "\n"]
    rows += [
        f"| {lag.what} | {lag.iterations:,} | {_ms(lag.p50)} | {_ms(lag.p99)} "
        f"| {_ms(lag.longest)} | {_ms(lag.cpu_p99)} | {_ms(lag.cpu_longest)} |\n"
        for lag in run.lags
    ]
    yield "".join(rows)
    if run.failure:
        yield f"## Failed: loop\n\n```\n{run.failure}\n```\n"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
