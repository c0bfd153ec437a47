"""What a run of the routing bench found, as it is written to perf/results.json."""

from __future__ import annotations

import msgspec

from perf.loop_results import LoopRun
from perf.segment_results import SegmentRun


class Peak(msgspec.Struct, frozen=True):
    """One process of a router: its name, and the most memory it had resident, in KiB."""

    name: str
    kib: int


class PathChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the core path under all routes; times in seconds since the change.

    ``stayed``: the last probe left by the old link. ``moved``: after that, a probe of every VRF
    has arrived over the new one, and every route of the tables leads there; the truth is between.
    ``told``: the kernel had acknowledged the change of the main-table route.
    """

    stayed: float
    moved: float
    told: float
    sent: int
    lost: int


class RoutingRun(msgspec.Struct, frozen=True, kw_only=True):
    """One router under one workload; times in seconds, memory in KiB.

    ``install``: from the session's start to the last route in the kernel; ``sending`` is how
    much of that the sender was held back by the receiver. ``withdraw``: from the command to the
    last route gone. ``pace``: what a fixed loop took before and after, in seconds: where these
    differ, something else had the CPU. ``failure`` is empty, or says what was awaited in vain.
    """

    receiver: str
    per_update: int
    routes: int
    vrfs: int
    install: float = 0.0
    sending: float = 0.0
    withdraw: float = 0.0
    processes: tuple[Peak, ...] = ()
    path_changes: tuple[PathChange, ...] = ()
    pace: tuple[float, ...] = ()
    failure: str = ""

    @property
    def peak_kib(self) -> int:
        """The peaks of all processes, added up."""
        return sum(process.kib for process in self.processes)


class FloodRun(msgspec.Struct, frozen=True, kw_only=True):
    """One router under a flood of path attributes: how many UPDATEs, the peaks of its processes
    before and after, and how long it took to take them in, in seconds."""

    receiver: str
    updates: int
    before: tuple[Peak, ...] = ()
    after: tuple[Peak, ...] = ()
    seconds: float = 0.0
    failure: str = ""

    @property
    def grown_kib(self) -> int:
        """By how much the peaks of all processes grew."""
        return sum(p.kib for p in self.after) - sum(p.kib for p in self.before)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured; ``load`` is the load average of the minute before."""

    cpu: str
    cores: int
    memory_gib: float
    load: float
    host_kernel: str
    lab_kernel: str
    lab_kind: str
    guest_memory: str


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """A bench, whole or in part: when (UTC, ISO 8601), how long it took, where, with which
    versions, and what came out."""

    date: str
    seconds: float = 0.0
    machine: Machine
    versions: dict[str, str]
    routing: tuple[RoutingRun, ...] = ()
    floods: tuple[FloodRun, ...] = ()
    loop: LoopRun | None = None
    segment: SegmentRun | None = None

    @property
    def has_failed(self) -> bool:
        """True if something that was to be measured was not."""
        failed = any(run.failure for run in self.routing)
        failed = failed or any(run.failure for run in self.floods)
        failed = failed or bool(self.segment and self.segment.failure)
        failed = failed or bool(self.loop and self.loop.failure)
        return failed or not (self.routing or self.loop or self.segment)
