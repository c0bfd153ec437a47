"""Run one node: events in, decisions, effects out. One loop, one writer of state."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from controlplane.model.events import Event, IntentChanged, TimePassed
from controlplane.model.intent import NodeIntent
from controlplane.model.supervision import Part
from controlplane.router import Router
from controlplane.store import StoreError
from pe.event_queue import EventQueue
from pe.executor import DataPlane, Executor, Speakers
from pe.process import clock

SHOWN = 10
"""Kinds of events in one line of the journal."""
HEARTBEAT = 2.0
"""Seconds between two turns at most."""


class Actor(DataPlane, Protocol):
    """Start and stop the data plane."""

    async def start(self) -> None:
        """Read what the kernel has, and follow it."""

    async def stop(self) -> None:
        """Stop; the kernel's state stays."""


class Node:
    """Connect the router with its adapters."""

    def __init__(
        self, router: Router, actor: Actor, speakers: Speakers, executor: Executor,
        queue: EventQueue, part: Part,
    ) -> None:  # fmt: skip
        self.router = router
        self.actor = actor
        self.speakers = speakers
        self.executor = executor
        self.queue = queue
        self.started, self._began = time.time(), time.monotonic()
        self._part = part

    @property
    def uptime(self) -> float:
        """Return the seconds since the start, which no step of the wall clock changes."""
        return time.monotonic() - self._began

    async def run(self, intent: NodeIntent) -> None:
        """Run until cancelled; the kernel's state stays. StoreError: it cannot start."""
        await self.actor.start()
        await self._turn([IntentChanged(intent)])
        if self.router.intent is None:
            raise StoreError("the configuration was refused: see intent_refused in the log")
        while True:
            events = await self.queue.take(self._patience())
            await self._turn(events or [TimePassed()])
            await asyncio.sleep(0)

    async def _turn(self, events: list[Event]) -> None:
        """Decide on events and carry out the effects; a saved change counts once it is stored.

        Each save syncs the disk, and a batch may bring hundreds of changes: all else goes on in
        between.
        """
        try:
            outcome = self._carry_out(events)
            while outcome is not None:
                await asyncio.sleep(0)
                outcome = self._carry_out([outcome])
        except Exception as error:
            error.add_note(f"{len(events)} events: {_kinds(events)}")
            raise
        self._part.completed()

    def _carry_out(self, events: list[Event]) -> Event | None:
        effects = self.router.handle(events, clock.now())
        for failure in self.router.take_failures():
            self._part.contained(failure.error, failure.subject)
        return self.executor.perform(effects)

    def _patience(self) -> float:
        """Return seconds until the next turn: the watchdog wants one of an idle router as well."""
        due = self.router.next_deadline
        return HEARTBEAT if due is None else min(max(0.0, due - time.monotonic()), HEARTBEAT)


def _kinds(events: Sequence[Event]) -> str:
    """Return the kinds of some events and who sent them, for the journal."""
    counts = Counter(f"{type(event).__name__} {getattr(event, 'peer', '')}" for event in events)
    shown = [f"{kind.strip()} x{count}" for kind, count in counts.most_common(SHOWN)]
    return ", ".join(shown)
