"""Orders what the kernel must know first: workload routes and answers wait for policy maps.

Effects on policy maps are numbered by turn, and the executor acknowledges the numbers. What
depends on a number waits here, and nothing else does: a tenant's large rebuild delays no route
that carries no identity.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from controlplane.policy.orders import LayRoutes, MapOrder, Order, TablesAwaited, TablesBuilt
from controlplane.policy.turn import Turn

SETTLE_SECONDS = 20.0
"""So long a route or an answer waits for the maps; then reachability counts more, and the log
says so."""

LAID_AT_ONCE = 200
"""Workloads whose routes are laid in one turn, of those that waited."""
SOON = 1e-6

Then = Callable[[str], None]
"""Called with "" once the kernel holds the maps, else with the reason why it does not."""


class MapAcknowledgements:
    """``number`` counts turns with effects on policy maps; up to ``released`` nothing waits.

    While tables for other VRFs are built, that counts as such a turn too, which the kernel
    acknowledges with the tables: what comes meanwhile may be about an address that has no identity
    yet.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.number = self.released = 0
        self._due: deque[tuple[int, float]] = deque()
        self._emitted = 0
        self._held = 0  # what the kernel holds, released or not
        self._awaited: int | None = None  # the number of the tables that are being built
        self._released: dict[str, WorkloadAttached] = {}
        self._to_call: deque[tuple[Then, str]] = deque()
        self._unlaid: dict[str, tuple[int, WorkloadAttached]] = {}
        self._then: list[tuple[int, Then]] = []
        self._then_settled: list[tuple[int, Then]] = []

    @property
    def is_waiting(self) -> bool:
        """True while the kernel is not known to hold all policy maps."""
        return self.released < self.number

    def carry(self, orders: Sequence[Order]) -> None:
        """Emit what changes maps; lay routes as soon as the kernel holds what was before them."""
        for order in orders:
            match order:
                case LayRoutes():
                    for routes in order.routes:
                        self._lay(routes)
                case TablesAwaited():
                    self._await()
                case TablesBuilt():
                    self._built()
                case _:
                    self.emit(order)

    def emit(self, order: MapOrder) -> None:
        """Emit a change of the maps under this turn's number."""
        effects = self._turn.effects
        if not effects.maps:
            effects.maps = self._emitted = self._next()
        self._turn.act(order)

    def _next(self) -> int:
        self.number += 1
        self._due.append((self.number, self._turn.now.monotonic + SETTLE_SECONDS))
        return self.number

    def _await(self) -> None:
        self._awaited = self._next()

    def _built(self) -> None:
        """Have what waited for the tables wait for the kernel alone."""
        self._awaited = None
        self._release(self._reached(), "", settled=True)

    def _reached(self) -> int:
        """Return the number up to which nothing waits for the kernel."""
        return self._held if self._held < self._emitted else self.number

    def then(self, call: Then) -> None:
        """Call once the kernel holds everything emitted so far, refuses it, or is late."""
        if self.is_waiting:
            self._then.append((self.number, call))
        else:
            call("")

    def then_settled(self, call: Then) -> None:
        """Call once the kernel holds everything emitted so far or refuses it, however late."""
        if self.is_waiting:
            self._then_settled.append((self.number, call))
        else:
            call("")

    def held(self, number: int) -> None:
        """Take in that the kernel holds the maps up to a number."""
        self._held = number
        self._release(self._reached(), "", settled=True)

    def refused(self, number: int, reason: str) -> None:
        """Take in that the kernel refuses the maps as of a number."""
        if self._due or self._then_settled:
            self._turn.notice("error", "policy_maps_refused", reason=reason)
        self._held = number
        self._release(self._reached(), reason, settled=True)

    def look(self) -> None:
        """Release what has waited too long, and go on with what was released."""
        while self._due and self._due[0][1] <= self._turn.now.monotonic:
            self._turn.notice("error", "policy_maps_late", seconds=int(SETTLE_SECONDS))
            self._release(self._due[0][0], "the kernel is late", settled=False)
        self._go_on()

    def deadlines(self) -> Iterator[float]:
        """Yield when ``look`` has something to do."""
        if self._due:
            yield self._due[0][1]
        if self._released or self._to_call:
            yield self._turn.now.monotonic + SOON

    def _lay(self, routes: WorkloadAttached | WorkloadDetached) -> None:
        # A route that waits is superseded by any later word on the workload: a detached one must
        # not come back when the kernel acknowledges its identity.
        self._unlaid.pop(routes.name, None)
        self._released.pop(routes.name, None)
        if isinstance(routes, WorkloadAttached) and self.is_waiting:
            self._unlaid[routes.name] = (self.number, routes)
        else:
            self._turn.lay(routes)

    def _release(self, number: int, why: str, *, settled: bool) -> None:
        if self._awaited is not None and settled:
            number = min(number, self._awaited - 1)
        self.released = max(self.released, number)
        while self._due and self._due[0][0] <= number:
            self._due.popleft()
        for name in [n for n, (needed, _) in self._unlaid.items() if needed <= number]:
            self._released[name] = self._unlaid.pop(name)[1]
        self._then = self._take(self._then, number, why)
        if settled:
            self._then_settled = self._take(self._then_settled, number, why)
        self._go_on()

    def _take(
        self, waiting: list[tuple[int, Then]], number: int, why: str
    ) -> list[tuple[int, Then]]:
        """Have those called that wait for a number up to this one; return the others."""
        self._to_call += [(call, why) for needed, call in waiting if needed <= number]
        return [each for each in waiting if each[0] > number]

    def _go_on(self) -> None:
        """Lay some of the routes that wait for nothing more; then answer."""
        for name in list(islice(self._released, LAID_AT_ONCE)):
            self._turn.lay(self._released.pop(name))
        while self._to_call and not self._released:
            call, why = self._to_call.popleft()
            call(why)
