"""The difference between the structure that should be and the one that is: one diff for start,
restart, change and drift repair. Pure; carried out in order of phase, it leads from any state
to the desired one, and finds nothing more to do there.
"""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.desired import CePort, CorePort, Desired, VrfDevice
from controlplane.model.intent import IPInterface
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
    SetDown,
    SetMaster,
    SetMtu,
    SetUp,
    Step,
    WriteSetting,
)
from pe.devices.settings import settings
from pe.model.guards import NONE, Guard
from pe.model.state import LastResort, Link, Rule, Structure
from pe.netlink.ownership import (
    L3MDEV_PREFERENCE,
    LOCAL_PREFERENCE,
    MARK_PREFERENCE,
    PORT_ALIAS,
    PROTOCOL,
    VOID,
    VOID_ALIAS,
    VOID_MTU,
    VRF_ALIAS,
)

LOCAL_TABLE = 255


def plan(
    desired: Desired,
    seen: Structure,
    *,
    sweep: bool = True,
    disabled: frozenset[Guard] = NONE,
) -> list[Step]:
    """The steps from ``seen`` to ``desired``, in order. Without ``sweep`` nothing is taken away
    that a former run may have left for a good reason."""
    planner = _Planner(desired, seen, disabled)
    steps = [*planner.up()]
    if sweep:
        steps += planner.down()
    return sorted(steps, key=lambda step: step.phase)


class _Planner:
    """One comparison; it only exists so that its parts need not hand each other everything."""

    def __init__(self, desired: Desired, seen: Structure, disabled: frozenset[Guard]) -> None:
        self.desired, self.seen, self.disabled = desired, seen, disabled
        self.retired: set[str] = set()

    def up(self) -> Iterator[Step]:
        """All that is missing or wrong."""
        yield from self._rules()
        yield from self._mark_rules()
        yield from self._settings()
        for vrf in self.desired.vrfs.values():
            yield from self._vrf(vrf)
        if self.desired.vrfs:
            yield from self._void()
        for core in self.desired.core_ports.values():
            yield from self._core_port(core)
        for port in self.desired.ce_ports.values():
            yield from self._ce_port(port)
        yield from self._labels()

    def down(self) -> Iterator[Step]:
        """All that is ours and should not be."""
        for label in self.seen.labels.keys() - self.desired.labels.keys():
            yield Step(Phase.UNLABEL, DropLabel(label), ("label", str(label)))
        for link in self.seen.links.values():
            if self._is_stray_port(link):
                yield from self._detach(link)
        for link in self.seen.links.values():
            if link.alias == VRF_ALIAS and link.name not in self.desired.vrfs:
                yield from self._dissolve(link)
        void = self.seen.links.get(VOID)
        if void and void.alias == VOID_ALIAS and not self.desired.vrfs:
            yield Step(Phase.DISSOLVE, DeleteDevice(VOID), ("void", VOID))
        yield from self._stray_last_resorts()
        yield from self._stray_mark_rules()

    def _rules(self) -> Iterator[Step]:
        for afi in Afi:
            last = Rule(afi, LOCAL_PREFERENCE, LOCAL_TABLE)
            first = Rule(afi, 0, LOCAL_TABLE)
            if Guard.LOCAL_RULE not in self.disabled:
                # Add first, then delete: there is never a moment without local addresses (T2).
                if last not in self.seen.rules:
                    yield Step(Phase.DENY, AddRule(last), _rule_subject(last))
                for rule in self.seen.rules:
                    if rule == first:
                        yield Step(Phase.DENY, DropRule(rule), _rule_subject(rule))
            # The kernel adds it with the first VRF (vrf_add_fib_rules), and never again.
            l3mdev = Rule(afi, L3MDEV_PREFERENCE, 0, l3mdev=True)
            has_vrf = any(link.kind == "vrf" for link in self.seen.links.values())
            if self.desired.vrfs and has_vrf and l3mdev not in self.seen.rules:
                yield Step(Phase.DENY, AddRule(l3mdev), _rule_subject(l3mdev))

    def _mark_rules(self) -> Iterator[Step]:
        """By its mark an IPv6 error finds the VRF that it belongs to (``pe.filters.too_big``)."""
        for rule in sorted(self._wanted_marks() - self.seen.rules, key=lambda r: r.mark):
            yield Step(Phase.ISOLATE, AddRule(rule), _rule_subject(rule))

    def _stray_mark_rules(self) -> Iterator[Step]:
        wanted = self._wanted_marks()
        for rule in self.seen.rules:
            ours = rule.mark and rule.preference == MARK_PREFERENCE
            if ours and rule.protocol == PROTOCOL and rule not in wanted:
                yield Step(Phase.DISSOLVE, DropRule(rule), _rule_subject(rule))

    def _wanted_marks(self) -> set[Rule]:
        vrfs = self.desired.vrfs.values()
        return {Rule(Afi.IPV6, MARK_PREFERENCE, v.table, mark=v.table) for v in vrfs}

    def _settings(self) -> Iterator[Step]:
        devices = {*self.seen.links, *self._vlans_to_make()}
        for setting in settings(self.desired, devices, self.disabled).values():
            if not setting.holds(self.seen.sysctls.get(setting.path)):
                of_port = any(setting.path.split("/")[-2] == name for name in self._ports())
                phase = Phase.ADDRESS if of_port else Phase.DENY
                yield Step(phase, WriteSetting(setting), ("setting", setting.path))

    def _ports(self) -> set[str]:
        return self.desired.ce_ports.keys() | self.desired.core_ports.keys()

    def _vlans_to_make(self) -> Iterator[str]:
        for port in self.desired.ce_ports.values():
            if port.parent in self.seen.links and port.name not in self.seen.links:
                yield port.name

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
        # One that is not ours is not taken over: making ours fails, and says that it exists.
        if link is None or link.alias != VRF_ALIAS:
            yield Step(Phase.ISOLATE, CreateVrf(vrf.name, vrf.table), subject)
        if link is None or not link.up:
            yield Step(Phase.ISOLATE, SetUp(vrf.name), subject)

    def _retire(self, link: Link, subject: tuple[str, str]) -> Iterator[Step]:
        """Delete a device of ours to make it anew; the ports inside it go down first (T16)."""
        for port in self.seen.links.values():
            if port.master == link.name:
                self.retired.add(port.name)
                yield Step(Phase.RETIRE, SetDown(port.name), subject)
        yield Step(Phase.RETIRE, DeleteDevice(link.name), subject)

    def _void(self) -> Iterator[Step]:
        link, subject = self.seen.links.get(VOID), ("void", VOID)
        if link is None or link.alias != VOID_ALIAS:
            yield Step(Phase.ISOLATE, CreateBlackhole(VOID), subject)
        if link is None or link.mtu != VOID_MTU:
            yield Step(Phase.ISOLATE, SetMtu(VOID, VOID_MTU), subject)
        if link is None or not link.up:
            yield Step(Phase.ISOLATE, SetUp(VOID), subject)

    def _core_port(self, port: CorePort) -> Iterator[Step]:
        link = self.seen.links.get(port.name)
        if link is None:
            return
        subject = ("port", port.name)
        if port.mtu and link.mtu != port.mtu:
            yield Step(Phase.ADDRESS, SetMtu(port.name, port.mtu), subject)
        yield from self._addresses(port.name, port.addresses, exact=False)
        if not link.up:
            yield Step(Phase.PERMIT, SetUp(port.name), subject)

    def _ce_port(self, port: CePort) -> Iterator[Step]:
        link, subject = self.seen.links.get(port.name), ("port", port.name)
        if link and link.alias == PORT_ALIAS and not _same_vlan(link, port):
            yield Step(Phase.RETIRE, DeleteDevice(port.name), subject)
            link = None
        if link is None and (not port.vlan or port.parent not in self.seen.links):
            return  # waited for
        if link is None or (port.vlan and not _same_vlan(link, port)):
            # Where another device has the name, this fails and says so; that one is left alone.
            yield Step(Phase.ATTACH, CreateVlan(port.name, port.parent, port.vlan), subject)
        if link and port.vlan and not _same_vlan(link, port):
            return
        yield from self._attach(port, link)
        if port.mtu and (link is None or link.mtu != port.mtu):
            yield Step(Phase.ADDRESS, SetMtu(port.name, port.mtu), subject)
        yield from self._addresses(port.name, port.addresses, exact=True)

    def _attach(self, port: CePort, link: Link | None) -> Iterator[Step]:
        subject = ("port", port.name)
        in_place = link is not None and link.master == port.vrf and port.name not in self.retired
        if not in_place:
            if link is not None and link.up:
                # In the wrong table while up: the CE would be in the core (T16).
                yield Step(Phase.RETIRE, SetDown(port.name), subject)
            yield Step(Phase.ATTACH, SetMaster(port.name, port.vrf), subject)
        if link is None or not link.up or not in_place:
            if port.parent in self.seen.links and not self.seen.links[port.parent].up:
                # First: a VLAN device cannot be up on a parent that is down (vlan_dev_open).
                yield Step(Phase.PERMIT, SetUp(port.parent), subject)
            yield Step(Phase.PERMIT, SetUp(port.name), subject)

    def _addresses(
        self, port: str, wanted: tuple[IPInterface, ...], *, exact: bool
    ) -> Iterator[Step]:
        """A CE port has its configured addresses and no others; a core port keeps what others
        put there."""
        subject = ("port", port)
        here = [address for address in self.seen.addresses if address.port == port]
        for address in here:
            if address.interface not in wanted and (exact or address.ours):
                yield Step(Phase.ADDRESS, DropAddress(port, address.interface), subject)
        there = {address.interface for address in here}
        for interface in wanted:
            if interface not in there:
                yield Step(Phase.ADDRESS, AddAddress(port, interface), subject)

    def _labels(self) -> Iterator[Step]:
        for label, binding in self.desired.labels.items():
            in_place = self.seen.labels.get(label) == binding.vrf
            if binding.vrf in self.desired.vrfs and not in_place:
                yield Step(Phase.LABEL, PutLabel(label, binding.vrf), ("label", str(label)))

    def _is_stray_port(self, link: Link) -> bool:
        if link.name in self.desired.ce_ports or link.alias == VRF_ALIAS:
            return False
        master = self.seen.links.get(link.master)
        return link.alias == PORT_ALIAS or (master is not None and master.alias == VRF_ALIAS)

    def _detach(self, link: Link) -> Iterator[Step]:
        subject = ("port", link.name)
        if link.alias == PORT_ALIAS:
            yield Step(Phase.DETACH, DeleteDevice(link.name), subject)
            return
        ops: list[Op] = [SetDown(link.name)] if link.up else []
        ops += [
            DropAddress(link.name, a.interface)
            for a in self.seen.addresses
            if a.port == link.name and a.ours
        ]
        ops.append(SetMaster(link.name, ""))
        yield from (Step(Phase.DETACH, op, subject) for op in ops)

    def _dissolve(self, link: Link) -> Iterator[Step]:
        yield Step(Phase.DISSOLVE, DeleteDevice(link.name), ("vrf", link.name))

    def _stray_last_resorts(self) -> Iterator[Step]:
        tables = {vrf.table for vrf in self.desired.vrfs.values()}
        for route in self.seen.last_resorts:
            if route.table not in tables:
                subject = ("last-resort", str(route.table))
                yield Step(Phase.DISSOLVE, DropLastResort(route), subject)


def _same_vlan(link: Link, port: CePort) -> bool:
    return link.vlan == port.vlan and link.parent == port.parent


def _rule_subject(rule: Rule) -> tuple[str, str]:
    mark = f" mark {rule.mark}" if rule.mark else ""
    return "rule", f"{rule.afi.name.lower()} {rule.preference}{mark}"
