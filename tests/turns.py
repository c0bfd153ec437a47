"""Turns of a router without a node."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.model.effects import Effects, Save
from controlplane.model.events import Event, PolicyMapsHeld, StoreWritten
from controlplane.model.instant import Instant
from controlplane.router import Router


def saves_of(effects: Effects) -> list[Save]:
    """What of the effects is to be made durable."""
    return [action for action in effects.actions if isinstance(action, Save)]


def decide(router: Router, events: Sequence[Event], now: Instant) -> Effects:
    """One turn with all that it leads to, as one set of effects: the store writes what it is
    given, and the kernel holds the policy maps at once."""
    effects = latest = router.handle(events, now)
    while outcome := _outcome(latest):
        latest = router.handle([outcome], now)
        effects.delta.merge(latest.delta)
        effects.actions += latest.actions
        effects.in_sync = latest.in_sync
    return effects


def _outcome(effects: Effects) -> StoreWritten | PolicyMapsHeld | None:
    if saves_of(effects):
        return StoreWritten()
    return PolicyMapsHeld(effects.maps) if effects.maps else None
