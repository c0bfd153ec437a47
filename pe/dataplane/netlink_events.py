"""Handle the kernel's notifications: mark our objects that another program changed for repair, and
report changes of the underlay and of ports to the control plane at once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

from controlplane.model.events import Event, LabelsTaken, PortChanged
from controlplane.model.log import Log
from controlplane.model.prefix import Prefix
from pe.dataplane.foreign import ForeignObjects
from pe.devices.manager import DeviceManager
from pe.devices.port_states import port_state
from pe.fib.main_table import MainTableMonitor
from pe.fib.manager import FibManager
from pe.fib.next_hop_wire import is_ours, parse
from pe.fib.route_batch import parse_conflict, parse_own_route
from pe.model.state import Failures
from pe.netlink import codec as nl
from pe.netlink import rtnl, rules
from pe.netlink.main_routes import MainRoute
from pe.netlink.ownership import PROTOCOL, UNREACHABLE_METRIC

_LINKS = (nl.RTM_NEWLINK, nl.RTM_DELLINK)
_ADDRESSES = (nl.RTM_NEWADDR, nl.RTM_DELADDR)
_RULES = (nl.RTM_NEWRULE, nl.RTM_DELRULE)
_SETTINGS = (nl.RTM_NEWNETCONF, nl.RTM_DELNETCONF)


class NetlinkEventHandler:
    """One handler for all notifications that the event socket receives."""

    def __init__(
        self,
        structure: DeviceManager,
        forwarding: FibManager,
        configured: Callable[[str], bool],
        failures: Failures,
        log: Log,
        foreign: ForeignObjects,
    ) -> None:
        self._structure, self._forwarding = structure, forwarding
        self._configured, self._failures, self._log = configured, failures, log
        self._foreign_objects = foreign
        self.underlay = MainTableMonitor()
        self.next_hop_pid = 0
        self._foreign_labels: set[int] = set()
        self.unverified_devices: set[int] = set()
        """Indexes of devices whose next hops may be gone from the kernel."""
        self.repairs = 0
        self._drifted = 0
        self._first_drift: dict[str, str | int] = {}
        self._ports: dict[str, PortChanged] = {}

    def handle(self, message: nl.Message) -> None:
        """Mark what one notification concerns. Changes nothing in the kernel."""
        kind, structure = message.type, self._structure
        if kind in (nl.RTM_NEWROUTE, nl.RTM_DELROUTE):
            self._route(message)
        elif kind in (nl.RTM_NEWNEXTHOP, nl.RTM_DELNEXTHOP):
            if kind == nl.RTM_DELNEXTHOP:
                # Ours too: routes of other programs may use it.
                self._foreign_objects.object_gone(message)
            if message.pid != self.next_hop_pid:
                self._next_hop(message)
        elif kind in _LINKS:
            self._link(message)
        elif kind in _ADDRESSES:
            self._address(message)
        elif kind in _RULES:
            self._rule(message)
        elif kind in _SETTINGS:
            index = rtnl.netconf_index(message.body)
            structure.dirty.node |= index < 0  # of all devices, or the default of those to come
            self._touch(index)

    def _touch(self, index: int) -> None:
        link = self._structure.seen.by_index.get(index)
        if link is not None:
            self._structure.touch(link.name)

    def _address(self, message: nl.Message) -> None:
        index = rtnl.address_index(message.body)
        if message.type == nl.RTM_DELADDR:
            self._foreign_objects.address_gone(index)
        self._touch(index)

    def _rule(self, message: nl.Message) -> None:
        raw = rules.RawRule(message.body)
        self._foreign_objects.rule_event(message.type, raw)
        rule = rules.structural(raw)
        if rule is None:
            return
        seen = self._structure.seen
        if message.type == nl.RTM_NEWRULE:
            seen.put_rule(rule)
        else:
            seen.rules.pop(rule, None)
        if rule.mark:
            self._structure.table_touched(rule.table)
        else:
            self._structure.dirty.node = True

    def _link(self, message: nl.Message) -> None:
        raw, structure = rtnl.RawLink(message.body), self._structure
        known = structure.seen.by_index.get(raw.index)
        for name in {raw.name, known.name if known else raw.name} - {""}:
            structure.touch(name)  # both, where it was renamed
        if message.body[0] == socket.AF_UNSPEC:
            # On every link event: a device that went down and up again has lost its next hops too.
            self.unverified_devices.add(raw.index)
            if message.type == nl.RTM_DELLINK or not (raw.up and raw.running):
                self._foreign_objects.device_down(raw.index)  # without a carrier next hops go too
        if message.type == nl.RTM_DELLINK:
            if message.body[0] == socket.AF_UNSPEC and known is not None:  # else it left a bridge
                structure.link_gone(known.name)
        elif known is None:
            self._failures.hurry()
            if self._configured(raw.name):
                structure.device_added(raw.name)
        elif (known.up, known.carrier) != (raw.up, raw.running):
            self._failures.hurry()  # what failed for a dead device may go now
            structure.link_seen(replace(known, up=raw.up, carrier=raw.running))

    def _route(self, message: nl.Message) -> None:
        self._foreign_objects.route_event(message)
        if message.body[0] == rtnl.AF_MPLS or message.body[5] == PROTOCOL:
            self._own_route(message)
            return
        conflict = parse_conflict(message.body) if message.type == nl.RTM_NEWROUTE else None
        if conflict is None:
            self.underlay.route_event(message)
        elif conflict.metric == UNREACHABLE_METRIC:
            self._structure.table_touched(conflict.table)  # a VRF's last resort may be replaced
        else:
            self._conflict(message, conflict.table, conflict.prefix)

    def _conflict(self, message: nl.Message, table: int, prefix: Prefix) -> None:
        """Handle another program's route with our metric: it is in the place of ours, or in IPv4
        before it (fib_table_insert), where a write of ours would replace it and leave an old one.
        """
        if message.flags & nl.NLM_F_REPLACE:
            changed = self._forwarding.routes.route_lost(table, prefix)
        elif message.flags & nl.NLM_F_APPEND or len(prefix.packed) != 4:
            return
        else:
            changed = self._forwarding.route_hidden(table, prefix)
        if changed:
            self._drift(f"route {table} {prefix}", "replaced")

    def _own_route(self, message: nl.Message) -> None:
        """Handle another program's change of one of our routes: the socket filters ours out."""
        route = None if message.body[0] == rtnl.AF_MPLS else parse_own_route(message.body)
        if message.body[0] == rtnl.AF_MPLS:
            self._structure.dirty.labels.add(rtnl.label_of(message.body))
            return
        if route is None:
            self._structure.table_touched(rtnl.route_table(message.body))  # a VRF's last resort
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
        """Log the drift since the last report: one line for any number of routes."""
        if self._drifted:
            fields = {**self._first_drift, "count": self._drifted}
            self._log("warning", "drift_repaired", fields)
            self._drifted = 0

    def news(self, main_routes: Callable[[int], list[MainRoute]]) -> list[Event]:
        """Return the events for the control plane: the underlay, labels, then ports.
        ``main_routes`` reads the main-table routes by one device, or (0) all."""
        structure, seen = self._structure, self._structure.seen
        for index in structure.links_changed:
            self.underlay.link_changed(index, gone=index not in seen.by_index)
        self.unverified_devices |= structure.links_changed
        structure.links_changed.clear()
        if self.underlay.stale:
            self.underlay.load(main_routes(0))
        for index in [*self.underlay.unverified]:
            self.underlay.load_device(index, main_routes(index))
        events: list[Event] = [*self.underlay.changes(seen.by_index)]
        events += self._label_news()
        events += self._port_news()
        return events

    def _label_news(self) -> Iterator[LabelsTaken]:
        read, foreign = self._structure.labels_read, self._structure.seen.foreign_labels
        if not read:
            return
        known = self._foreign_labels
        taken, freed = (read & foreign) - known, (read & known) - foreign
        read.clear()
        self._foreign_labels = (known - freed) | taken
        if taken or freed:
            yield LabelsTaken(frozenset(taken), frozenset(freed))

    def _port_news(self) -> Iterator[PortChanged]:
        structure = self._structure
        desired = structure.desired
        for name in sorted(structure.ports_changed):
            if name not in desired.ce_ports and name not in desired.core_ports:
                self._ports.pop(name, None)
                continue
            state = port_state(name, desired, structure.seen, structure.filters.is_guarded)
            changed = PortChanged(name, state.present, state.up)
            if self._ports.get(name) != changed:
                self._ports[name] = changed
                yield changed
        structure.ports_changed.clear()
