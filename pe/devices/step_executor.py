"""Carry out a plan's steps in order of phase: what fails waits for its retry, what has to be
repeated too often counts as failed, and what differs without a change is logged as drift."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from controlplane.model.log import Log
from pe.devices.ops import AddRule, DropRule, Op, Phase, RefusePort, Step
from pe.devices.pacing import Pacer
from pe.devices.scope import Item
from pe.model.state import Failures, Structure
from pe.netlink.ownership import PROTOCOL

MAX_REPEATS = 4
"""After this many repetitions in a row a step counts as failed and waits for its retry."""


class PortRefusedError(OSError):
    """The node refuses a device as a CE port."""


@dataclass(slots=True)
class Planned:
    """The steps of each object, and all of them as they were planned: of two objects in one phase
    the order is that of the plan."""

    items: dict[Item, list[Step]] = field(default_factory=dict)
    steps: list[tuple[Step, Item]] = field(default_factory=list)

    def add(self, item: Item, steps: list[Step]) -> None:
        """Append the steps of an object."""
        self.items.setdefault(item, []).extend(steps)
        self.steps.extend((step, item) for step in steps)

    def leftovers(self) -> Iterable[Item]:
        """Return the objects of which something has to go once no route needs it."""
        return {item for step, item in self.steps if step.phase > Phase.PERMIT}


class Performer(Protocol):
    """Changes the kernel (``pe.devices.kernel``)."""

    async def perform(self, op: Op) -> None:
        """Carry out one operation. Raises OSError."""


class StepExecutor:
    """``is_allowed`` says whether a step may be carried out yet."""

    def __init__(
        self, kernel: Performer, failures: Failures, log: Log, is_allowed: Callable[[Step], bool]
    ) -> None:
        self._kernel, self._failures, self._log = kernel, failures, log
        self._is_allowed = is_allowed
        self.repairs = 0
        # Differences that follow from a change or from a new device: not drift.
        self._expected: set[Item] = set()
        self._all_expected = True
        self._failing: dict[Item, set[tuple[str, str]]] = {}
        self._repeats: dict[Item, Counter[Step]] = {}
        self._unguarded: set[Item] = set()

    def expect(self, items: Iterable[Item]) -> None:
        """Take what differs of these objects for no drift, until nothing does."""
        self._expected.update(items)

    def expect_all(self) -> None:
        """Take nothing that the next plan of all objects finds for drift."""
        self._all_expected = True

    def due_again(self, now: float) -> Iterable[Item]:
        """Return the objects of which something failed and is to be tried again."""
        return (
            item
            for item, subjects in self._failing.items()
            if any(self._failures.due(kind, key, now) for kind, key in subjects)
        )

    def take_unguarded(self) -> set[Item]:
        """Return the ports that waited for their guards since the last call."""
        unguarded, self._unguarded = self._unguarded, set()
        return unguarded

    def classify(self, planned: Planned, *, whole: bool) -> None:
        """Distinguish drift from change, and clear failures of objects that need no step.

        ``whole``: all objects are planned.
        """
        if self._all_expected and whole:
            self._all_expected = False
            self._expected |= planned.items.keys()
        gone = self._failing.keys() - planned.items.keys() if whole else set[Item]()
        for item in [*gone, *planned.items]:
            steps = planned.items.get(item, [])
            self._clear(item, {step.subject for step in steps})
            if not steps:
                self._expected.discard(item)
                self._repeats.pop(item, None)
            elif item not in self._expected and not self._failing.get(item):
                self._note_drift(steps)
            if counts := self._repeats.get(item):
                self._repeats[item] = Counter({step: counts[step] for step in steps})

    def _clear(self, item: Item, wanted: set[tuple[str, str]]) -> None:
        failing = self._failing.get(item)
        if failing is None:
            return
        for kind, key in failing - wanted:
            self._failures.cleared(kind, key)
        failing &= wanted
        if not failing:
            del self._failing[item]

    def _note_drift(self, steps: list[Step]) -> None:
        for step in steps:
            self.repairs += 1
            fields: dict[str, str | int] = {"kind": step.subject[0], "name": step.subject[1]}
            self._log("warning", "drift_repaired", {**fields, "step": repr(step.op)})

    async def perform(
        self, planned: Planned, chosen: Callable[[Phase], bool], seen: Structure, now: float
    ) -> set[Item]:
        """Carry out the steps of these phases; return the objects that were changed."""
        steps = [each for each in planned.steps if chosen(each[0].phase)]
        steps.sort(key=lambda each: each[0].phase)
        done: set[Item] = set()
        broken: set[tuple[str, str]] = set()
        pacer = Pacer()
        for step, item in steps:
            await pacer.pause()
            if not self._is_allowed(step):
                # The port waits for its guard. A failure that is due and not retried would have
                # the object planned again at once, without end.
                self._clear(item, set())
                self._unguarded.add(item)
                continue
            if step.subject in broken or self._failures.waiting(*step.subject, now):
                continue
            try:
                await self._try(step, item, seen)
                done.add(item)
            except OSError as error:
                broken.add(step.subject)
                self._failing.setdefault(item, set()).add(step.subject)
                self.fail(*step.subject, error, now)
        return done

    async def _try(self, step: Step, item: Item, seen: Structure) -> None:
        if isinstance(step.op, RefusePort):
            raise PortRefusedError(errno.EOPNOTSUPP, step.op.reason)
        counts = self._repeats.setdefault(item, Counter())
        counts[step] += 1
        await self._kernel.perform(step.op)
        match step.op:  # rules are followed by notifications and not read again
            case AddRule(rule):
                seen.put_rule(replace(rule, protocol=PROTOCOL))
            case DropRule(rule):
                seen.rules.pop(rule, None)
        if counts[step] >= MAX_REPEATS:
            raise OSError(errno.EAGAIN, f"does not stay: {step.op!r}")

    def fail(self, kind: str, key: str, error: OSError, now: float) -> None:
        """Note that an object of the kernel fails, and log it if it is new."""
        if not isinstance(error, PortRefusedError):
            self._failures.report(self._log, kind, key, error, now)
        elif self._failures.failed(kind, key, error, now):
            reason = error.strerror or str(error)
            self._log("error", "port_refused", {"kind": kind, "name": key, "reason": reason})
