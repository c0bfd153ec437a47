"""A router and its data plane in a process of their own, without BGP: events in, deltas out.

Speaks as ``tests.lab.agent_process`` does; ``configure`` takes an intent, ``take`` events.
"""

import asyncio
from typing import Any
from unittest.mock import patch

from controlplane.model.effects import Save
from controlplane.model.events import Event, IntentChanged, StoreWritten, TimePassed
from controlplane.model.intent import NodeIntent
from controlplane.model.route_view import RouteFilter
from controlplane.router import Router
from controlplane.routing import reload
from pe.process import clock
from pe.view.routes import route_rows
from tests.lab.agent_process import Served, serve


class RouterServed(Served):
    """The data plane's events go to a router, and the router's deltas to the data plane."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.router = Router(options.pop("ledger", None))
        super().__init__(options)

    def _emit(self, events: list[Event]) -> None:
        super()._emit(events)
        self._handle(events)

    def _handle(self, events: list[Event]) -> None:
        wanted: list[Event] = events
        while wanted:
            wanted = self._turn(wanted)

    def _turn(self, events: list[Event]) -> list[Event]:
        """One turn of the router; return what the next one begins with."""
        effects = self.router.handle(events, clock.now())
        if effects.delta:
            self.agent.submit(effects.delta, effects.structure)
        # There is no store here: what is to be saved counts as saved at once.
        if any(isinstance(action, Save) for action in effects.actions):
            return [StoreWritten()]
        return [TimePassed()] if self.router.is_taking_over else []

    def configure(self, intent: NodeIntent) -> None:
        """Take an intent over."""
        self._handle([IntentChanged(intent)])

    def take_portions(self, intent: NodeIntent, most: int) -> bool:
        """Take so many portions of an intent over, of which each VRF is one; return whether some
        are left."""
        with patch.object(reload, "AT_ONCE", 1):
            wanted = self._turn([IntentChanged(intent)])
            assert wanted == [StoreWritten()]
            for _ in range(most):
                wanted = self._turn(wanted)
            return self.router.is_taking_over

    async def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "configure":
            return self.configure(*arguments)
        if method == "take_portions":
            return self.take_portions(*arguments)
        if method == "ledger":
            return self.router.ledger
        if method == "take":
            return self._handle(*arguments)
        if method == "show_routes":
            return [
                *route_rows(self.router, self.agent.state, RouteFilter(), clock.now().monotonic)
            ]
        return await super().call(method, arguments)


if __name__ == "__main__":
    asyncio.run(serve(RouterServed))
