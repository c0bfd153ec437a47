"""Takes in the kernel's notifications: what is ours and was touched is put right, what the
control plane should know is told at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from controlplane.model.events import Event, PortChanged
from pe.devices.manager import DeviceManager, Log
from pe.devices.port_states import port_states
from pe.fib.main_table import MainTableMonitor
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import is_ours, parse
from pe.fib.route_batch import parse_own_route, parse_rival
from pe.filters.manager import FilterManager
from pe.model.state import Failures, Link
from pe.netlink import codec as nl
from pe.netlink import rtnl
from pe.netlink.main_routes import MainRoute
from pe.netlink.ownership import PROTOCOL

STRUCTURAL = frozenset({
    nl.RTM_NEWLINK, nl.RTM_DELLINK, nl.RTM_NEWADDR, nl.RTM_DELADDR,
    nl.RTM_NEWRULE, nl.RTM_DELRULE, nl.RTM_NEWNETCONF, nl.RTM_DELNETCONF,
})  # fmt: skip


class NetlinkEventHandler:
    """One handler for all that the event socket hears."""

    def __init__(
        self,
        structure: DeviceManager,
        forwarding: FibManager,
        guards: FilterManager,
        configured: Callable[[str], bool],
        failures: Failures,
        log: Log,
    ) -> None:
        self._structure, self._forwarding, self._guards = structure, forwarding, guards
        self._configured, self._failures, self._log = configured, failures, log
        self.underlay = MainTableMonitor()
        self.next_hop_pid = 0
        self.next_hops_doubted = False
        self.repairs = 0
        self._drifted = 0
        self._first_drift: dict[str, str | int] = {}
        self._links: dict[int, Link] = {}
        self._ports: dict[str, PortChanged] = {}

    def handle(self, message: nl.Message) -> None:
        """Note what one notification means. Nothing is done to the kernel here."""
        if message.type in (nl.RTM_NEWROUTE, nl.RTM_DELROUTE):
            self._route(message)
        elif message.type in (nl.RTM_NEWNEXTHOP, nl.RTM_DELNEXTHOP):
            if message.pid != self.next_hop_pid:
                self._next_hop(message)
        elif message.type in STRUCTURAL:
            self._structure.dirty = True
            if message.type in (nl.RTM_NEWLINK, nl.RTM_DELLINK):
                self._link(message)

    def _link(self, message: nl.Message) -> None:
        raw = rtnl.RawLink(message.body)
        known = self._links.get(raw.index)
        if message.type == nl.RTM_DELLINK and message.body[0] == socket.AF_UNSPEC:
            self._guards.doubt()  # the chains that were bound to it went with it
            self.next_hops_doubted = True
            self._links.pop(raw.index, None)
            self._structure.seen.links.pop(raw.name, None)
            self.underlay.links_changed()
        elif known is None:
            self._failures.hurry()
            self._structure.expected = self._structure.expected or self._configured(raw.name)
        elif (known.up, known.carrier) != (raw.up, raw.running):
            self.next_hops_doubted |= not (raw.up and raw.running)
            changed = replace(known, up=raw.up, carrier=raw.running)
            self._failures.hurry()  # what failed for a dead device may go now
            self._links[raw.index] = changed
            self._structure.seen.links[known.name] = changed
            self.underlay.links_changed()

    def _route(self, message: nl.Message) -> None:
        if message.body[0] == rtnl.AF_MPLS or message.body[5] == PROTOCOL:
            self._own_route(message)
            return
        rival = parse_rival(message.body)
        if rival and message.type == nl.RTM_NEWROUTE and message.flags & nl.NLM_F_REPLACE:
            if self._forwarding.routes.route_lost(*rival):
                self._drift(f"route {rival[0]} {rival[1]}", "replaced")
            return
        self.underlay.route_event(message)

    def _own_route(self, message: nl.Message) -> None:
        """By another hand than ours: our own changes are filtered out in the socket."""
        route = None if message.body[0] == rtnl.AF_MPLS else parse_own_route(message.body)
        if route is None:
            self._structure.dirty = True  # a label route, or a VRF's last resort
            return
        table, prefix, next_hop = route
        routes = self._forwarding.routes
        if message.type == nl.RTM_NEWROUTE and routes.installed(table, prefix) == next_hop:
            return
        if routes.route_lost(table, prefix):
            self._drift(f"route {table} {prefix}", "removed or changed")
        elif message.type == nl.RTM_NEWROUTE:
            routes.done(table, [(prefix, next_hop)], {})
            routes.changed(table, (prefix,))

    def _next_hop(self, message: nl.Message) -> None:
        identifier, protocol, content = parse(message.body)
        if message.type == nl.RTM_DELNEXTHOP:
            content = None
        if not is_ours(identifier, protocol):
            self.underlay.object_changed(identifier, content)
            return
        if self._forwarding.object_seen(identifier, content) is not None:
            self._drift(f"next hop {identifier}", "removed or changed")

    def _drift(self, key: str, what: str) -> None:
        self.repairs += 1
        if not self._drifted:
            self._first_drift = {"kind": "forwarding", "name": key, "step": what}
        self._drifted += 1

    def report(self) -> None:
        """Log what was touched since the last report: a line, not one for each of many routes."""
        if self._drifted:
            fields = {**self._first_drift, "count": self._drifted}
            self._log("warning", "drift_repaired", fields)
            self._drifted = 0

    def links_read(self) -> None:
        """The structure was read anew: take its links over."""
        links = {link.index: link for link in self._structure.seen.links.values()}
        before, self._links = self._links, links
        if {i: (x.name, x.up, x.carrier) for i, x in before.items()} != {
            i: (x.name, x.up, x.carrier) for i, x in links.items()
        }:
            self.underlay.links_changed()

    def news(self, main_routes: Callable[[], list[MainRoute]]) -> list[Event]:
        """What the control plane should know: the underlay, then ports."""
        if self.underlay.stale:
            self.underlay.load(main_routes())
        events: list[Event] = [*self.underlay.changes(self._links)]
        states = {}
        for state in port_states(
            self._structure.desired, self._structure.seen, self._structure.is_guarded
        ):
            states[state.name] = PortChanged(state.name, state.present, state.up)
        events += [told for name, told in states.items() if self._ports.get(name) != told]
        self._ports = states
        return events
