"""Own every task of the node, and decide the effect of an unexpected exception.

One ``asyncio.TaskGroup`` holds all tasks. ``PARTS`` says for each part what happens when it
raises: it reads its state anew and goes on, its task is started anew, or the process ends. A part
that fails too often within a minute ends the process too, so that systemd starts it anew; the
kernel goes on forwarding and filtering meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from controlplane.model.log import Log
from controlplane.model.supervision import Work

PERIOD = 60.0
"""Failures are counted over so many seconds."""

FIRST_DELAY, LAST_DELAY = 0.1, 10.0
"""Seconds from a failure to the next try: doubled with each failure of the last minute."""


class Response(StrEnum):
    """Name the effects of an unexpected exception in a part."""

    RESYNC = "resync"
    RESTART = "restart"
    DROP = "drop"
    END = "end"


@dataclass(frozen=True, slots=True)
class PartPolicy:
    """One row of the table in docs/architecture.md: ``limit`` failures within a minute end the
    process, 0: no number does."""

    name: str
    owns: str
    response: Response
    means: str
    limit: int = 0


PARTS = (
    PartPolicy(
        "router", "the router's turn", Response.END,
        "an event of one peer: the peer's session is held down for 5 minutes (of a core peer: its"
        " routes are withdrawn); a request: it is refused; anything else ends the process",
    ),
    PartPolicy(
        "dataplane", "the data plane's turn, the reader of kernel events", Response.RESYNC,
        "the kernel is read again and compared with the desired state", 10,
    ),
    PartPolicy(
        "policy", "the policy map manager's turn, reading and ending of flows", Response.RESYNC,
        "the verdict tables are built anew in one transaction; a flow revocation begins anew",
        10,
    ),
    PartPolicy(
        "flows", "the reader of the kernel's flow log", Response.DROP,
        "the flows of that read are counted as lost",
    ),
    PartPolicy(
        "speaker", "the readers and writers of the BGP processes' pipes", Response.RESTART,
        "the BGP process of that VRF starts anew, each time after a longer wait; never ends the"
        " node, so that one customer's peer cannot harm the other VRFs",
    ),
    PartPolicy(
        "api", "the API's listeners and connections", Response.DROP,
        "the connection or the call ends",
    ),
    PartPolicy(
        "queries", "the compute workers' tasks", Response.RESTART,
        "the query is answered with INTERNAL and its worker starts anew",
    ),
    PartPolicy(
        "metrics", "the metrics listener and its connections", Response.DROP,
        "the connection ends",
    ),
    PartPolicy(
        "reload", "reloads of the configuration", Response.DROP,
        "the caller receives the error; after SIGHUP the journal has it",
    ),
    PartPolicy(
        "selftest", "the packet-filter self-test", Response.DROP,
        "the self-test ends and its VRFs are removed",
    ),
    PartPolicy(
        "process", "garbage collection, notifications to systemd", Response.RESTART,
        "the task starts anew", 10,
    ),
)  # fmt: skip
POLICIES = {policy.name: policy for policy in PARTS}


class PartFailedError(Exception):
    """Report that a part failed for good: the process exits with a status other than 0."""


class SupervisedPart:
    """Run one row of the table as ``controlplane.model.supervision.Part``."""

    def __init__(self, policy: PartPolicy, supervisor: Supervisor) -> None:
        self.policy = policy
        self.failures = 0
        """Exceptions since the start."""
        self.turns = 0
        """Turns completed since the start."""
        self.failing = False
        """True from an exception until the next completed turn."""
        self._supervisor = supervisor
        self._recent: deque[float] = deque()
        self._started: list[asyncio.Task[None]] = []

    def start(self, make: Callable[[], Work]) -> asyncio.Task[None]:
        """Run ``make()`` in a task of its own; after an exception make it and run it anew."""
        task = self._supervisor.own(self._run_again(make), self.policy.name)
        self._started.append(task)
        return task

    @property
    def has_ended(self) -> bool:
        """Return True once a task that should run on has ended, for example if cancelled."""
        return any(task.done() for task in self._started)

    def spawn(self, work: Work) -> asyncio.Task[None]:
        """Run something that ends by itself; an exception is logged and counted."""
        try:
            task = self._supervisor.own(self._run_once(work), self.policy.name)
        except RuntimeError:
            work.close()
            raise
        # A task that is cancelled before its first step never awaits what it was to run.
        task.add_done_callback(lambda _: work.close())
        return task

    async def _run_again(self, make: Callable[[], Work]) -> None:
        while True:
            try:
                await make()
            except Exception as error:
                delay = self.failed(error)
                if self._supervisor.ended:
                    return
                await asyncio.sleep(delay)
            else:
                return

    async def _run_once(self, work: Work) -> None:
        try:
            await work
        except Exception as error:
            self.failed(error)

    def guard(
        self, callback: Callable[..., None], recover: Callable[[], None], subject: str = ""
    ) -> Callable[..., None]:
        """Wrap a callback of the loop: log and count an exception, then run ``recover``."""

        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:
                self.failed(error, subject)
                self._recover(recover)

        return guarded

    def _recover(self, recover: Callable[[], None]) -> None:
        try:
            recover()
        except Exception as error:  # there is no second way back
            self._supervisor.end(self.policy.name, error)

    def failed(self, error: Exception, subject: str = "") -> float:
        """Log and count an exception; seconds to wait before the next try."""
        self.contained(error, subject)
        self.failing = True
        now = self._supervisor.clock()
        self._recent.append(now)
        while self._recent[0] <= now - PERIOD:
            self._recent.popleft()
        limit = self.policy.limit
        if self.policy.response is Response.END or (limit and len(self._recent) >= limit):
            self._supervisor.end(self.policy.name, error)
        return min(FIRST_DELAY * (1 << min(len(self._recent) - 1, 10)), LAST_DELAY)

    def contained(self, error: Exception, subject: str = "") -> None:
        """Log and count an exception whose harm is contained already."""
        self.failures += 1
        fields: dict[str, str | int] = {"part": self.policy.name, **described(error)}
        if subject:
            fields["subject"] = subject
        self._supervisor.log("error", "part_failed", {**fields, "failures": self.failures})

    def completed(self) -> None:
        """Record a completed iteration: the part works, and the watchdog may be fed."""
        self.turns += 1
        self.failing = False
        self._supervisor.on_turn(self.policy.name)


class Supervisor:
    """Own the tasks of a node: ``async with`` it ends with every task that it owns.

    ``on_turn`` is called after each completed iteration, with the part's name.
    """

    def __init__(
        self, log: Log, *, clock: Callable[[], float] = time.monotonic,
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.log, self.clock, self.on_turn = log, clock, on_turn
        self.ended = ""
        """Why the process ends; "" while it does not."""
        self._parts = {policy.name: SupervisedPart(policy, self) for policy in PARTS}
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[None]

    def part(self, name: str) -> SupervisedPart:
        """Return the part of that name in ``PARTS``."""
        return self._parts[name]

    @property
    def parts(self) -> tuple[SupervisedPart, ...]:
        """Return every part."""
        return tuple(self._parts.values())

    async def __aenter__(self) -> Supervisor:
        self._end = asyncio.get_running_loop().create_future()
        await self._group.__aenter__()
        self.own(self._wait_for_end(), "supervisor")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Cancel every task. Raises what ended the block, or PartFailedError."""
        for task in tuple(self._tasks):
            task.cancel()
        failure = None
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            if not self._end.cancel():
                failure = self._end.exception()
        if failure is not None:  # the block ended before the task that waits for it had its turn
            raise failure

    def own(self, work: Work, name: str) -> asyncio.Task[None]:
        """Run a coroutine in a task of the group. Raises RuntimeError while the process ends."""
        try:
            task = self._group.create_task(work, name=name)
        except RuntimeError:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def end(self, part: str, error: Exception) -> None:
        """End the process: systemd starts it anew, and the kernel's state stays meanwhile."""
        if self._end.done():
            return
        reason = described(error)
        self.ended = f"{part}: {reason['error']}"
        self.log("critical", "node_failed", {"part": part, **reason})
        failure = PartFailedError(f"{part} failed for good: {reason['error']} ({reason['where']})")
        self._end.set_exception(failure)

    async def _wait_for_end(self) -> None:
        await asyncio.shield(self._end)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the exception of a group that explains most, for the one line of the journal."""
    found: list[BaseException] = []
    pending = [*group.exceptions]
    while pending:
        each = pending.pop(0)
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        else:
            found.append(each)
    return next((e for e in found if isinstance(e, PartFailedError)), found[0])


def described(error: BaseException) -> dict[str, str | int]:
    """Return an exception as fields of one line: text, notes, and the place in our code."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    fields: dict[str, str | int] = {"error": text, "where": where(error)}
    if notes := getattr(error, "__notes__", None):
        fields["at"] = "; ".join(notes)
    return fields


def where(error: BaseException) -> str:
    """Return ``file:line:function`` of the innermost frame of our code, else of any code."""
    trace, found, ours = error.__traceback__, "", ""
    while trace is not None:
        code = trace.tb_frame.f_code
        path = Path(code.co_filename)
        found = f"{path.parent.name}/{path.name}:{trace.tb_lineno}:{code.co_name}"
        if _ROOT in path.parents and "site-packages" not in path.parts:
            ours = found
        trace = trace.tb_next
    return ours or found


_ROOT = Path(__file__).resolve().parent.parent
