"""Wiring of one node: events in, decisions, effects out. One loop, one writer of state.

The order in which effects are carried out is the order of security: words that take something
back go out first, then the kernel is brought to its new state, and only then is anything
announced or any new session opened (``docs`` call it phases; architecture: order is data).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from controlplane.model.desired import Delta
from controlplane.model.effects import (
    ConfigureSpeakers,
    Effect,
    Effects,
    LogEvent,
    RemoteEndpointsChanged,
    ResetSession,
    SaveLabels,
    Withdraw,
)
from controlplane.model.events import Event, IntentChanged, TimePassed
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.supervision import Part
from controlplane.router import Router
from pe.event_queue import EventQueue
from pe.process import clock

SETTLE_SECONDS = 10.0
SHOWN = 10
"""Kinds of events in one line of the journal."""
HEARTBEAT = 2.0
"""Seconds between two turns at most."""


class Actor(Protocol):
    """The acting half, as the node sees it (``pe.dataplane.reconciler.Agent``)."""

    async def start(self) -> None:
        """Read what is, and follow it."""

    def submit(self, delta: Delta) -> None:
        """Take over a change of what should be; never blocks."""

    def mark_in_sync(self) -> None:
        """What nobody has asked for by now is a leftover."""

    async def settled(self) -> None:
        """Wait until the kernel is as it should be."""

    async def stop(self) -> None:
        """End; leave things as they are."""


class Speakers(Protocol):
    """The BGP processes (``controlplane.speaker.SpeakerPool``)."""

    def configure(self, peers: tuple[PeerIntent, ...], restart_time: int = 0) -> None:
        """Have these sessions and no others."""

    def perform(self, actions: Sequence[Effect]) -> None:
        """Say these things to the peers, in order."""

    async def stop(self) -> None:
        """End; leave things as they are."""


class LabelStore(Protocol):
    """Where the label ledger outlives the process (``controlplane.store``)."""

    def save_labels(self, labels: SaveLabels) -> None:
        """Make the ledger durable before it returns."""


class Segments(Protocol):
    """Microsegmentation, as the node sees it (``pe.policy_control``)."""

    def layout(self, intent: NodeIntent, zones: dict[str, int]) -> None:
        """The node's VRFs are these now, with these conntrack zones; before they open."""

    async def claims_changed(self, changes: Sequence[RemoteEndpointsChanged]) -> None:
        """Whose addresses these are now; returns once the kernel knows."""

    def begin(self) -> None:
        """Enough is known to judge packets by it."""


Log = Callable[[str, str, dict[str, str | int]], None]
"""Level, event in snake_case, fields: one line in the journal."""


class Node:
    """One PE: the router in the middle, its adapters around it."""

    def __init__(
        self, router: Router, actor: Actor, speakers: Speakers, store: LabelStore,
        inbox: EventQueue, log: Log, part: Part, segments: Segments | None = None,
    ) -> None:  # fmt: skip
        self.router = router
        self.actor = actor
        self.speakers = speakers
        self.inbox = inbox
        self.started = time.time()
        self._store = store
        self._log = log
        self._part = part
        self._segments = segments
        self._laid_out: NodeIntent | None = None
        self._sessions: dict[PeerId, PeerIntent] = {}
        self._told_in_sync = False

    async def run(self, intent: NodeIntent) -> None:
        """Run until cancelled. The kernel's state stays as it is when the node goes."""
        self.inbox.put([IntentChanged(intent)])
        await self.actor.start()
        while True:
            events = await self.inbox.take(self._patience())
            await self._turn(events or [TimePassed()])
            await asyncio.sleep(0)

    async def _turn(self, events: list[Event]) -> None:
        try:
            effects = self.router.handle(events, clock.now())
            for failure in self.router.take_failures():
                self._part.contained(failure.error, failure.subject)
            await self.perform(effects)
        except Exception as error:
            error.add_note(f"{len(events)} events: {_kinds(events)}")
            raise
        self._part.completed()

    def _patience(self) -> float:
        """Seconds until the next turn: the watchdog wants one of an idle router as well."""
        due = self.router.next_deadline
        return HEARTBEAT if due is None else min(max(0.0, due - time.monotonic()), HEARTBEAT)

    async def perform(self, effects: Effects) -> None:
        """Carry out effects in the order that never opens what is not yet guarded."""
        actions = self._keep_books(effects.actions)
        # A peer hears why its session ends before the end itself (RFC 4486 section 4).
        first = (Withdraw, ResetSession)
        self.speakers.perform([a for a in actions if isinstance(a, first)])
        configured = [a for a in actions if isinstance(a, ConfigureSpeakers)]
        if configured:
            self._close_sessions(configured[-1].peers)
        await self._identify(effects)
        if effects.delta:
            self.actor.submit(effects.delta)
            if needs_barrier(effects.delta):
                await self._settle()
        if configured:
            self._sessions = {p.peer: p for p in configured[-1].peers}
            self.speakers.configure(configured[-1].peers, configured[-1].restart_time)
        done = (*first, ConfigureSpeakers, RemoteEndpointsChanged)
        self.speakers.perform([a for a in actions if not isinstance(a, done)])
        if effects.in_sync and not self._told_in_sync:
            self._told_in_sync = True
            self.actor.mark_in_sync()
            if self._segments:
                self._segments.begin()

    async def _identify(self, effects: Effects) -> None:
        """Before a VRF opens or a route is there: who is under policy, and whose address it is."""
        intent = self.router.intent
        if self._segments is None or intent is None:
            return
        if intent is not self._laid_out or needs_barrier(effects.delta):
            self._laid_out = intent
            zones = {vrf.name: vrf.zone for vrf in self.router.vrfs.values()}
            self._segments.layout(intent, zones)
        claims = [
            action for action in effects.actions if isinstance(action, RemoteEndpointsChanged)
        ]
        if claims:
            await self._segments.claims_changed(claims)

    def _keep_books(self, actions: list[Effect]) -> list[Effect]:
        rest: list[Effect] = []
        for action in actions:
            if isinstance(action, SaveLabels):
                self._store.save_labels(action)
            elif isinstance(action, LogEvent):
                self._log(action.level, action.event, action.fields)
            else:
                rest.append(action)
        return rest

    def _close_sessions(self, wanted: tuple[PeerIntent, ...]) -> None:
        """A session ends before its guard goes (security requirement ACL-7)."""
        names = {peer.peer for peer in wanted}
        staying = tuple(p for n, p in self._sessions.items() if n in names)
        if len(staying) < len(self._sessions):
            self.speakers.configure(staying)

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self.actor.settled()
        except TimeoutError:
            # The agent goes on trying and says which object it is; holding every session back
            # for it would punish the VPNs that are whole.
            self._log("error", "kernel_not_settled", {"seconds": int(SETTLE_SECONDS)})


def needs_barrier(delta: Delta) -> bool:
    """True where something that protects changes: routes and next hops alone need no waiting."""
    parts = (delta.node, delta.vrfs, delta.ce_ports, delta.core_ports, delta.sessions, delta.labels)
    return any(parts)


def _kinds(events: Sequence[Event]) -> str:
    """The kinds of some events and who sent them, for the journal."""
    counts = Counter(f"{type(event).__name__} {getattr(event, 'peer', '')}" for event in events)
    shown = [f"{kind.strip()} x{count}" for kind, count in counts.most_common(SHOWN)]
    return ", ".join(shown)
