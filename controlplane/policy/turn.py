"""What the policy's parts may do within a turn of the router; ``RouterState`` implements it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from controlplane.model.effects import Effect, Effects, Save
from controlplane.model.events import Event
from controlplane.model.instant import Instant
from controlplane.model.workload import WorkloadAttached, WorkloadDetached


class Turn(Protocol):
    """The turn that is under way."""

    now: Instant
    effects: Effects

    @property
    def is_proposing(self) -> bool:
        """Whether a change waits for the store."""
        ...

    def act(self, effect: Effect) -> None:
        """Add an effect."""
        ...

    def notice(self, level: str, event: str, **fields: str | int) -> None:
        """Add a line for the log."""
        ...

    def lay(self, routes: WorkloadAttached | WorkloadDetached) -> None:
        """Lay or withdraw the routes of a workload."""
        ...

    def propose(
        self, saves: Sequence[Save], commit: Callable[[], None], refuse: Callable[[str], None]
    ) -> None:
        """Have something saved, then ``commit``; or ``refuse`` it for a reason.

        Nothing may be changed before ``commit``: the store decides whether there is a change.
        """
        ...

    def resume(self, events: Iterable[Event]) -> None:
        """Take these events next."""
        ...
