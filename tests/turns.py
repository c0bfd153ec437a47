"""Turns of a router without a node."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.model.effects import Effects, Save
from controlplane.model.events import Event, PolicyMapsHeld, StoreWritten, TimePassed, VrfsHeld
from controlplane.model.instant import Instant
from controlplane.router import Router


def saves_of(effects: Effects) -> list[Save]:
    """What of the effects is to be made durable."""
    return [action for action in effects.actions if isinstance(action, Save)]


def decide(router: Router, events: Sequence[Event], now: Instant, *, slow: bool = False) -> Effects:
    """One turn with all that it leads to, as one set of effects: the store writes what it is
    given, and the kernel holds the policy maps and, unless it is ``slow``, the VRFs at once."""
    effects = latest = router.handle(events, now)
    while outcomes := _outcomes(latest, router, slow=slow):
        latest = router.handle(outcomes, now)
        effects.delta.merge(latest.delta)
        effects.actions += latest.actions
        effects.in_sync = latest.in_sync
    return effects


def _outcomes(effects: Effects, router: Router, *, slow: bool) -> list[Event]:
    held: list[Event] = [StoreWritten()] if saves_of(effects) else []
    if effects.maps and not held:
        held.append(PolicyMapsHeld(effects.maps))
    if effects.structure and not slow:
        held.append(VrfsHeld(router.state.pending.numbers))
    if router.is_taking_over and not held:
        held.append(TimePassed())
    return held
