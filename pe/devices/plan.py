"""Plan the steps from the actual to the desired structure: one diff for start, restart, change and
drift repair. Pure; carried out in order of phase, the plan leads from any state to the desired
one, where the next plan is empty.

The steps of an object follow from that object and the few that it depends on, so a change is
planned for the objects that it touched; a full comparison is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.model.desired import CePort, CorePort, Desired, VrfDevice
from controlplane.model.intent import IPInterface
from controlplane.model.label import Label
from controlplane.model.prefix import Afi
from pe.devices.ops import (
    AddAddress,
    AddLastResort,
    AddRule,
    CreateBlackhole,
    CreateVlan,
    CreateVrf,
    DeleteDevice,
    DropAddress,
    DropLabel,
    DropLastResort,
    DropRule,
    Op,
    Phase,
    PutLabel,
    RefusePort,
    SetDown,
    SetMaster,
    SetMtu,
    SetUp,
    Step,
    WriteSetting,
)
from pe.devices.scope import NODE, DesiredIndex, Item, Scope
from pe.devices.settings import Setting, device_settings, node_settings
from pe.model.guards import NONE, Guard
from pe.model.port_kinds import refusal
from pe.model.state import ADDRESS, PORT, LastResort, Link, Rule, Structure
from pe.netlink.ownership import (
    BLACKHOLE,
    BLACKHOLE_ALIAS,
    BLACKHOLE_MTU,
    L3MDEV_PREFERENCE,
    LOCAL_PREFERENCE,
    MARK_PREFERENCE,
    PORT_ALIAS,
    PROTOCOL,
    VRF_ALIAS,
)

LOCAL_TABLE = 255


def plan(
    desired: Desired,
    seen: Structure,
    *,
    scope: Scope | None = None,
    sweep: bool = True,
    disabled: frozenset[Guard] = NONE,
) -> list[Step]:
    """Return the steps from ``seen`` to ``desired``, in order, for all objects or those in
    ``scope``. Without ``sweep`` objects of a former run that are not desired stay (stale)."""
    whole, index = Scope(everything=True), DesiredIndex(desired)
    planner = Planner(desired, index, seen, scope or whole, disabled, sweep=sweep)
    return in_order(step for _, steps in planner.items() for step in steps)


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Sort steps by phase; within a phase the order stays."""
    return sorted(steps, key=lambda step: step.phase)


class Planner:
    """One comparison, an object at a time: the caller may pause between two."""

    def __init__(
        self, desired: Desired, index: DesiredIndex, seen: Structure, scope: Scope,
        disabled: frozenset[Guard], *, sweep: bool,
    ) -> None:  # fmt: skip
        self.desired, self.seen, self.disabled, self.sweep = desired, seen, disabled, sweep
        self.index = index
        self.scope = _whole(desired, seen) if scope.everything else scope
        self.retired: set[str] = set()

    def items(self) -> Iterator[tuple[Item, list[Step]]]:
        """Yield every object in the scope with its steps, which may be none."""
        scope, desired = self.scope, self.desired
        if scope.node:
            yield NODE, [*self._rules(), *self._node_settings()]
        for table in scope.tables:
            yield ("table", table), [*self._table(table)]
        # VRFs first: the ports of a VRF that is created anew have to be enslaved again.
        vrfs = [name for name in scope.devices if name in desired.vrfs]
        for name in [*vrfs, *(scope.devices - set(vrfs))]:
            yield ("device", name), [*self._device(name)]
        for label in scope.labels:
            yield ("label", label), [*self._label(label)]
        if self.sweep:
            yield from self._leftovers()

    def _leftovers(self) -> Iterator[tuple[Item, list[Step]]]:
        """Yield the removal of what is ours and not desired. Ports leave a VRF before it is
        deleted; its table keeps the last resort until then."""
        scope = self.scope
        for label in scope.labels:
            if label in self.seen.labels and label not in self.desired.labels:
                gone = Step(Phase.UNLABEL, DropLabel(label), _label_subject(label))
                yield ("label", label), [gone]
        devices = [link for name in scope.devices if (link := self.seen.links.get(name))]
        for link in devices:
            if self._is_leftover_port(link):
                yield ("device", link.name), [*self._detach(link)]
        for link in devices:
            if link.alias == VRF_ALIAS and link.name not in self.desired.vrfs:
                yield ("device", link.name), [*self._dissolve(link)]
            if link.name == BLACKHOLE and link.alias == BLACKHOLE_ALIAS and not self.desired.vrfs:
                last = Step(Phase.DISSOLVE, DeleteDevice(BLACKHOLE), ("blackhole", BLACKHOLE))
                yield ("device", BLACKHOLE), [last]
        for table in scope.tables:
            if table not in self.index.vrf_of:
                yield ("table", table), [*self._leftover_table(table)]

    def _device(self, name: str) -> Iterator[Step]:
        yield from self._settings(name)
        if name in self.desired.vrfs:
            yield from self._vrf(self.desired.vrfs[name])
        if name == BLACKHOLE and self.desired.vrfs:
            yield from self._blackhole()
        if name in self.desired.core_ports:
            yield from self._core_port(self.desired.core_ports[name])
        if name in self.desired.ce_ports:
            yield from self._ce_port(self.desired.ce_ports[name])

    def _rules(self) -> Iterator[Step]:
        for afi in Afi:
            last = Rule(afi, LOCAL_PREFERENCE, LOCAL_TABLE)
            first = Rule(afi, 0, LOCAL_TABLE)
            if Guard.LOCAL_RULE not in self.disabled:
                # Add first, then delete: there is never a moment without local addresses (T2).
                if last not in self.seen.rules:
                    yield Step(Phase.DENY, AddRule(last), _rule_subject(last))
                if first in self.seen.rules:
                    yield Step(Phase.DENY, DropRule(self.seen.rules[first]), _rule_subject(first))
            # The kernel adds it with the first VRF (vrf_add_fib_rules), and never again.
            l3mdev = Rule(afi, L3MDEV_PREFERENCE, 0, l3mdev=True)
            if self.desired.vrfs and l3mdev not in self.seen.rules and self._has_vrf():
                yield Step(Phase.DENY, AddRule(l3mdev), _rule_subject(l3mdev))

    def _has_vrf(self) -> bool:
        return any(link.kind == "vrf" for link in self.seen.links.values())

    def _table(self, table: int) -> Iterator[Step]:
        """Add the rule that sends an IPv6 error to its VRF by mark (``pe.filters.too_big``)."""
        rule = _mark_rule(table)
        if rule not in self.seen.rules and table in self.index.vrf_of:
            yield Step(Phase.ISOLATE, AddRule(rule), _rule_subject(rule))

    def _leftover_table(self, table: int) -> Iterator[Step]:
        for afi in Afi:
            route = LastResort(afi, table)
            if route in self.seen.last_resorts:
                subject = ("last-resort", str(table))
                yield Step(Phase.DISSOLVE, DropLastResort(route), subject)
        rule = self.seen.rules.get(_mark_rule(table))
        if rule and rule.protocol == PROTOCOL:
            yield Step(Phase.DISSOLVE, DropRule(rule), _rule_subject(rule))

    def _node_settings(self) -> Iterator[Step]:
        yield from self._written(node_settings(self.desired, self.disabled), Phase.DENY)

    def _settings(self, name: str) -> Iterator[Step]:
        port = self.desired.ce_ports.get(name)
        is_made = port is not None and port.parent in self.seen.links
        if name in self.seen.links or is_made:
            of_port = port is not None or name in self.desired.core_ports
            wanted = device_settings(name, self.desired, self.disabled)
            yield from self._written(wanted, Phase.ADDRESS if of_port else Phase.DENY)

    def _written(self, wanted: Iterable[Setting], phase: Phase) -> Iterator[Step]:
        for setting in wanted:
            if not setting.holds(self.seen.sysctls.get(setting.path)):
                when = Phase.PERMIT if setting.opens else phase
                yield Step(when, WriteSetting(setting), ("setting", setting.path))

    def _vrf(self, vrf: VrfDevice) -> Iterator[Step]:
        subject = ("vrf", vrf.name)
        if Guard.LAST_RESORT not in self.disabled:
            for afi in Afi:
                route = LastResort(afi, vrf.table)
                if route not in self.seen.last_resorts:
                    yield Step(Phase.ISOLATE, AddLastResort(route), subject)
        link = self.seen.links.get(vrf.name)
        if link and link.alias == VRF_ALIAS and link.table != vrf.table:
            yield from self._retire(link, subject)
            link = None
        # A device that is not ours is not taken over: creating ours fails with EEXIST.
        if link is None or link.alias != VRF_ALIAS:
            yield Step(Phase.ISOLATE, CreateVrf(vrf.name, vrf.table), subject)
        if link is None or not link.up:
            yield Step(Phase.ISOLATE, SetUp(vrf.name), subject)

    def _retire(self, link: Link, subject: tuple[str, str]) -> Iterator[Step]:
        """Delete a device of ours to create it anew; its member ports go down first (T16)."""
        for name in sorted(self.seen.members.get(link.name, ())):
            self.retired.add(name)
            yield Step(Phase.RETIRE, SetDown(name), subject)
        yield Step(Phase.RETIRE, DeleteDevice(link.name), subject)

    def _blackhole(self) -> Iterator[Step]:
        link, subject = self.seen.links.get(BLACKHOLE), ("blackhole", BLACKHOLE)
        if link is None or link.alias != BLACKHOLE_ALIAS:
            yield Step(Phase.ISOLATE, CreateBlackhole(BLACKHOLE), subject)
        if link is None or link.mtu != BLACKHOLE_MTU:
            yield Step(Phase.ISOLATE, SetMtu(BLACKHOLE, BLACKHOLE_MTU), subject)
        if link is None or not link.up:
            yield Step(Phase.ISOLATE, SetUp(BLACKHOLE), subject)

    def _core_port(self, port: CorePort) -> Iterator[Step]:
        link = self.seen.links.get(port.name)
        if link is None:
            return
        subject = (PORT, port.name)
        if port.mtu and link.mtu != port.mtu:
            yield Step(Phase.ADDRESS, SetMtu(port.name, port.mtu), subject)
        yield from self._addresses(port.name, port.addresses, exact=False)
        if not link.up:
            yield Step(Phase.PERMIT, SetUp(port.name), subject)

    def _ce_port(self, port: CePort) -> Iterator[Step]:
        link, subject = self.seen.links.get(port.name), (PORT, port.name)
        if link and link.alias == PORT_ALIAS and not _same_vlan(link, port):
            yield Step(Phase.RETIRE, DeleteDevice(port.name), subject)
            link = None
        if link is None and (not port.vlan or port.parent not in self.seen.links):
            return  # waited for
        if reason := self._refusal(port, link):
            if link is not None and link.up:
                yield Step(Phase.RETIRE, SetDown(port.name), subject)
            yield Step(Phase.ATTACH, RefusePort(port.name, reason), subject)
            return
        if link is None or (port.vlan and not _same_vlan(link, port)):
            # Where another device has the name, this fails with EEXIST and leaves it alone.
            yield Step(Phase.ATTACH, CreateVlan(port.name, port.parent, port.vlan), subject)
        if link and port.vlan and not _same_vlan(link, port):
            return
        yield from self._attach(port, link)
        if port.mtu and (link is None or link.mtu != port.mtu):
            yield Step(Phase.ADDRESS, SetMtu(port.name, port.mtu), subject)
        yield from self._addresses(port.name, port.addresses, exact=True)

    def _refusal(self, port: CePort, link: Link | None) -> str:
        parent = self.seen.links.get(port.parent)
        of_parent = refusal(parent, carries_tags=True) if parent else ""
        return of_parent or (refusal(link) if link else "")

    def _attach(self, port: CePort, link: Link | None) -> Iterator[Step]:
        subject, index = (PORT, port.name), link.index if link else 0
        in_place = link is not None and link.master == port.vrf and port.name not in self.retired
        if not in_place:
            if link is not None and link.up:
                # In the wrong table while up: the CE would be in the core (T16).
                yield Step(Phase.RETIRE, SetDown(port.name), subject)
            yield Step(Phase.ATTACH, SetMaster(port.name, port.vrf, index), subject)
        if link is None or not link.up or not in_place:
            if port.parent in self.seen.links and not self.seen.links[port.parent].up:
                # First: a VLAN device cannot be up on a parent that is down (vlan_dev_open).
                yield Step(Phase.PERMIT, SetUp(port.parent), subject)
            yield Step(Phase.PERMIT, SetUp(port.name, index), subject)

    def _addresses(
        self, port: str, wanted: tuple[IPInterface, ...], *, exact: bool
    ) -> Iterator[Step]:
        """A CE port has its configured addresses and no others (``exact``); a core port keeps the
        addresses of other programs. What the kernel refuses of one family leaves the port's other
        family as it is."""
        here = self.seen.addresses.get(port, frozenset())
        for address in here:
            if address.interface not in wanted and (exact or address.ours):
                yield Step(Phase.ADDRESS, DropAddress(port, address.interface), (PORT, port))
        there = {address.interface for address in here}
        for interface in wanted:
            if interface not in there:
                subject = (ADDRESS, f"{port} ipv{interface.version}")
                yield Step(Phase.ADDRESS, AddAddress(port, interface), subject)

    def _label(self, label: int) -> Iterator[Step]:
        binding = self.desired.labels.get(Label(label))
        in_place = binding is not None and self.seen.labels.get(label) == binding.vrf
        if label in self.seen.foreign_labels:
            return  # reported to the router, which allocates another one to the VRF
        if binding and binding.vrf in self.desired.vrfs and not in_place:
            yield Step(Phase.LABEL, PutLabel(label, binding.vrf), _label_subject(label))

    def _is_leftover_port(self, link: Link) -> bool:
        if link.name in self.desired.ce_ports or link.alias == VRF_ALIAS:
            return False
        # One that waited for its guard when it left the configuration: never up, in no VRF.
        held = self.seen.addresses.get(link.name, ())
        is_closed = not link.up and link.name not in self.desired.core_ports
        if is_closed and any(address.ours for address in held):
            return True
        master = self.seen.links.get(link.master)
        return link.alias == PORT_ALIAS or (master is not None and master.alias == VRF_ALIAS)

    def _detach(self, link: Link) -> Iterator[Step]:
        subject = (PORT, link.name)
        if link.alias == PORT_ALIAS:
            yield Step(Phase.DETACH, DeleteDevice(link.name), subject)
            return
        ops: list[Op] = [SetDown(link.name)] if link.up else []
        ops += [
            DropAddress(link.name, a.interface)
            for a in self.seen.addresses.get(link.name, ())
            if a.ours
        ]
        if link.master:  # one that waited for its guard is in no VRF, and may be a trunk that is up
            ops.append(SetMaster(link.name, ""))
        yield from (Step(Phase.DETACH, op, subject) for op in ops)

    def _dissolve(self, link: Link) -> Iterator[Step]:
        yield Step(Phase.DISSOLVE, DeleteDevice(link.name), ("vrf", link.name))


def _whole(desired: Desired, seen: Structure) -> Scope:
    """Return the scope of all objects, desired or seen."""
    marks = {r.mark for r in seen.rules if r.mark and r.preference == MARK_PREFERENCE}
    return Scope(
        node=True,
        devices={*desired.vrfs, *desired.core_ports, *desired.ce_ports, *seen.links, BLACKHOLE},
        labels={*map(int, desired.labels), *seen.labels},
        tables={v.table for v in desired.vrfs.values()}
        | {route.table for route in seen.last_resorts}
        | marks,
    )


def _mark_rule(table: int) -> Rule:
    return Rule(Afi.IPV6, MARK_PREFERENCE, table, mark=table)


def _label_subject(label: int) -> tuple[str, str]:
    return "label", str(label)


def _same_vlan(link: Link, port: CePort) -> bool:
    return link.vlan == port.vlan and link.parent == port.parent


def _rule_subject(rule: Rule) -> tuple[str, str]:
    mark = f" mark {rule.mark}" if rule.mark else ""
    return "rule", f"{rule.afi.name.lower()} {rule.preference}{mark}"
