"""Hands the director's orders on, to the kernel's keeper and to the router."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from controlplane.model.events import Event
from controlplane.policy.enforcer import Enforcer
from controlplane.policy.orders import (
    ChangeSourceBindings,
    ChangeTables,
    Order,
    SetSourceBindings,
    SetTables,
    SetZones,
    TellRouter,
)

Log = Callable[[str, str, dict[str, str | int]], None]
SETTLE_SECONDS = 20.0


class Carrier:
    """Orders go out in the order in which they were given."""

    def __init__(self, enforcer: Enforcer, emit: Callable[[list[Event]], None], log: Log) -> None:
        self._enforcer, self._emit, self._log = enforcer, emit, log

    def carry(self, orders: Sequence[Order]) -> None:
        """Hand orders on without waiting: where nothing is told that needs the kernel first."""
        for order in orders:
            self._hand_on(order)

    async def carry_slowly(self, orders: Sequence[Order]) -> bool:
        """Hand orders on; the router hears only once the kernel holds what came before.

        False if the kernel takes longer than a call lasts.
        """
        done = True
        for position, order in enumerate(orders):
            if isinstance(order, TellRouter) and position:
                done = await self.settle()
            self._hand_on(order)
        return await self.settle() and done

    def _hand_on(self, order: Order) -> None:
        match order:
            case SetZones(zones):
                self._enforcer.zones(dict(zones))
            case SetTables(slot, tables):
                self._enforcer.submit(slot, tables)
            case ChangeTables(slot, delta):
                self._enforcer.submit_delta(slot, delta)
            case SetSourceBindings(homes):
                self._enforcer.submit_homes(homes)
            case ChangeSourceBindings(delta):
                self._enforcer.submit_homes_delta(delta)
            case TellRouter(events):
                self._emit(list(events))

    async def settle(self) -> bool:
        """Wait until the kernel holds what it was told; False if it does not."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._enforcer.settled()
        except TimeoutError:
            self._log("error", "segment_not_settled", {"seconds": int(SETTLE_SECONDS)})
            return False
        except Exception as error:
            self._log("error", "segment_refused_by_kernel", {"why": str(error)})
            return False
        return True
