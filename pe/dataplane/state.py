"""What the kernel has of what is desired, and what it counts: the answers of the data plane for
`pe show`, metrics and the self-test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from controlplane.model.desired import Desired, NextHopKey
from controlplane.model.prefix import Prefix
from controlplane.model.route_view import ForeignRouteView
from controlplane.model.view import CounterView, GuardView
from pe.dataplane.foreign import ForeignObjects
from pe.dataplane.netlink_events import NetlinkEventHandler
from pe.devices.manager import DeviceManager
from pe.devices.port_states import PortState, port_states
from pe.fib.manager import FibManager, NextHopView
from pe.filters.manager import FilterManager
from pe.model.state import ROUTE, ROUTE_TABLE, Failures
from pe.observe.counters import agent_counters, guard_views


class DataplaneState:
    """Computed from the managers at each call; the reconciler counts ``ruleset_repairs``."""

    def __init__(
        self, desired: Desired, failures: Failures, devices: DeviceManager, fib: FibManager,
        guards: FilterManager, foreign: ForeignObjects, events: NetlinkEventHandler,
    ) -> None:  # fmt: skip
        self._desired, self._failures, self._devices = desired, failures, devices
        self._fib, self._guards, self._foreign, self._events = fib, guards, foreign, events
        self.ruleset_repairs = 0

    def next_hops(self) -> list[NextHopView]:
        """Return every desired next hop with its state."""
        return self._fib.views()

    def next_hop_ids(self) -> dict[NextHopKey, int]:
        """Return the kernel's id of each next hop that it has."""
        ids = ((key, self._fib.groups.id_of(key)) for key in self._desired.next_hops)
        return {key: identifier for key, identifier in ids if identifier}

    def has_route(self, table: int, prefix: Prefix) -> bool:
        """Return True if the kernel has the route that is desired, by the next hop that is."""
        key = self._desired.routes.get(table, {}).get(prefix)
        identifier = self._fib.groups.id_of(key) if key else 0
        return bool(identifier) and self._fib.routes.installed(table, prefix) == identifier

    def route_refusal(self, table: int, prefix: Prefix) -> str:
        """Return why the kernel refuses a route, "" if it does not."""
        own = self._failures.reason(ROUTE, f"{table} {prefix}")
        return own or self._failures.reason(ROUTE_TABLE, str(table))

    def foreign_routes(self, table: int) -> Iterator[ForeignRouteView]:
        """Yield the routes of other programs in a VRF's table."""
        by_index = self._devices.seen.by_index
        return self._foreign.of(table, lambda n: by_index[n].name if n in by_index else str(n))

    def ports(self) -> dict[str, PortState]:
        """Return the state of every configured port."""
        states = port_states(self._desired, self._devices.seen, self._devices.filters.is_guarded)
        return {state.name: state for state in states}

    @property
    def repairs(self) -> int:
        """How many changes by other programs were repaired."""
        return self._devices.repairs + self._events.repairs + self.ruleset_repairs

    def counters(self) -> list[CounterView]:
        """Return the data plane's own counters."""
        return agent_counters(self._fib, self._failures, self.repairs)

    def packets(self, family: str, counter: str) -> int | None:
        """Return the packets of one guard counter, None where there is no such counter."""
        return self._guards.packets(family, counter)

    def devices(self) -> frozenset[str]:
        """Return the devices that existed when the structure was last read."""
        return frozenset(self._devices.seen.links)

    async def guards(self) -> list[GuardView]:
        """Return the guards' counters, read from the kernel now."""
        return guard_views(await asyncio.to_thread(self._guards.counters), self._desired)
