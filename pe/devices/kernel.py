"""Carry out the steps of a plan in the kernel, and read back the objects concerned.

Writing goes through pyroute2's asyncio API, in our own loop and without threads.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from controlplane.model.prefix import Afi
from pe.devices import ops
from pe.model.state import LastResort, Rule, Structure
from pe.netlink import codec as nl
from pe.netlink import main_routes, rtnl, rules
from pe.netlink.main_routes import MainRoute
from pe.netlink.ownership import (
    BLACKHOLE_ALIAS,
    PORT_ALIAS,
    PROTOCOL,
    UNREACHABLE_METRIC,
    VRF_ALIAS,
)
from pe.netlink.rtnl import LabelOwner
from pe.process import sysctl

_IFA_F_NODAD = 0x02
_SETTINGS_AT_ONCE = 1000


class DeviceKernel:
    """The kernel's devices, addresses, rules, labels and settings: read them, change them."""

    def __init__(self) -> None:
        self._socket, self._main = nl.NetlinkSocket(), nl.NetlinkSocket()
        self._ipr: Any = AsyncIPRoute()
        self._labels_seen: set[int] = set()

    async def open(self) -> None:
        """Bind to the running loop, without groups: events are the event socket's."""
        await self._ipr.setup_endpoint()

    async def read_all(self, settings: Callable[[Iterable[str]], Iterable[str]]) -> Structure:
        """Read all that there is, and the settings that matter with these devices."""
        links = rtnl.links(self._socket)
        names = {link.index: link.name for link in links.values()}
        await asyncio.sleep(0)
        found = Structure(links=links, addresses=rtnl.addresses(self._socket, names))
        await asyncio.sleep(0)
        read = (rules.structural(raw) for raw in rules.dump(self._socket))
        found.rules = {rule: rule for rule in read if rule}
        found.last_resorts = rtnl.last_resorts(self._socket)
        await asyncio.sleep(0)
        for label, owner in rtnl.labels(self._socket, names).items():
            self._see_label(found, label, owner)
        paths = iter(settings(links))
        while portion := list(islice(paths, _SETTINGS_AT_ONCE)):
            await asyncio.sleep(0)
            found.sysctls |= sysctl.read(portion)
        return found

    def read_device(self, seen: Structure, name: str) -> None:
        """Read one device and its addresses."""
        link = rtnl.link(self._socket, name, lambda index: _device_name(seen, index))
        if link is None:
            seen.drop_link(name)
            seen.addresses.pop(name, None)
        else:
            seen.put_link(link)
            seen.addresses[name] = rtnl.addresses_of(self._socket, link)

    def read_table(self, seen: Structure, table: int) -> None:
        """Read the last resorts of one table."""
        seen.last_resorts -= {LastResort(afi, table) for afi in Afi}
        seen.last_resorts |= rtnl.last_resorts(self._socket, table)

    def read_label(self, seen: Structure, label: int) -> None:
        """Read the route of one label, whosever it is."""
        owner = rtnl.label(self._socket, label, lambda index: _device_name(seen, index))
        self._see_label(seen, label, owner)

    def _see_label(self, seen: Structure, label: int, owner: LabelOwner | None) -> None:
        seen.labels.pop(label, None)
        seen.foreign_labels.discard(label)
        if owner is None:
            return
        if owner.ours:
            seen.labels[label] = owner.device
            self._labels_seen.add(label)
        elif label not in self._labels_seen:  # one that was ours is taken back
            seen.foreign_labels.add(label)

    def read_settings(self, seen: Structure, paths: Iterable[str]) -> None:
        """Read these settings."""
        seen.sysctls |= sysctl.read(paths)

    def main_routes(self, device: int = 0) -> list[MainRoute]:
        """Read the routes of the main table, all or those by one device."""
        return list(main_routes.dump(self._main, device))

    async def perform(self, op: ops.Op) -> None:
        """Carry out one operation. Raises OSError; EEXIST of an addition and ENOENT of a removal
        are success."""
        try:
            await self._perform(op)
        except NetlinkError as error:
            raise OSError(error.code, str(error.args[-1])) from None

    async def _perform(self, op: ops.Op) -> None:
        match op:
            case ops.WriteSetting(setting):
                sysctl.write(setting.path, setting.value)
            case ops.AddRule(rule):
                await self._unless(errno.EEXIST, self._rule("add", rule))
            case ops.DropRule(rule):
                await self._unless(errno.ENOENT, self._rule("del", rule))
            case ops.AddLastResort(route):
                await self._last_resort("replace", route)
            case ops.DropLastResort(route):
                await self._unless(errno.ESRCH, self._last_resort("del", route))
            case ops.CreateVrf(name, table):
                await self._create(name, VRF_ALIAS, kind="vrf", vrf_table=table)
            case ops.CreateBlackhole(name):
                await self._create(name, BLACKHOLE_ALIAS, kind="dummy")
            case ops.CreateVlan(name, parent, vlan):
                under = self._index(parent)
                await self._create(name, PORT_ALIAS, kind="vlan", link=under, vlan_id=vlan)
            case ops.DeleteDevice(name):
                await self._ipr.link("del", index=self._index(name))
            case ops.SetUp(name, index):
                await self._ipr.link("set", index=index or self._index(name), state="up")
            case ops.SetDown(name):
                await self._ipr.link("set", index=self._index(name), state="down")
            case ops.SetMaster(name, master, index):
                above = self._index(master) if master else 0
                await self._ipr.link("set", index=index or self._index(name), master=above)
            case ops.SetMtu(name, mtu):
                await self._ipr.link("set", index=self._index(name), mtu=mtu)
            case ops.AddAddress(port, interface):
                await self._unless(errno.EEXIST, self._address("add", port, interface))
            case ops.DropAddress(port, interface):
                gone = self._address("del", port, interface)
                await self._unless(errno.EADDRNOTAVAIL, gone)
            case ops.PutLabel(label, vrf):
                await self._put_label(label, vrf)
            case ops.DropLabel(label):
                await self._unless(errno.ESRCH, self._label("del", label))
                self._labels_seen.discard(label)

    async def _unless(self, harmless: int, request: Any) -> None:
        try:
            await request
        except NetlinkError as error:
            if error.code != harmless:
                raise

    def _index(self, name: str) -> int:
        try:
            return socket.if_nametoindex(name)
        except OSError:
            raise OSError(errno.ENODEV, f"there is no device {name}") from None

    async def _create(self, name: str, alias: str, **attributes: Any) -> None:
        """Create a device. One without alias, which a crash between the two requests here leaves,
        counts as ours if it is of the same kind, down and unused."""
        try:
            await self._ipr.link("add", ifname=name, **attributes)
        except NetlinkError as error:
            if error.code != errno.EEXIST or not self._is_half_made(name, attributes):
                raise
        await self._ipr.link("set", index=self._index(name), ifalias=alias)

    def _is_half_made(self, name: str, attributes: dict[str, Any]) -> bool:
        links = rtnl.links(self._socket)
        link = links.get(name)
        if link is None or link.alias or link.up or link.kind != attributes["kind"]:
            return False
        used = any(other.master == name for other in links.values())
        same = link.table == attributes.get("vrf_table", 0)
        return same and link.vlan == attributes.get("vlan_id", 0) and not used

    def _rule(self, command: str, rule: Rule) -> Any:
        # To delete without naming the maker could hit another: preference 0 counts as "any" in
        # the kernel's comparison (rule_find), and both rules of table local look alike.
        what = {"FRA_L3MDEV": 1, "table": 0} if rule.l3mdev else {"table": rule.table}
        if rule.mark:
            what["fwmark"] = rule.mark
        maker = PROTOCOL if command == "add" else rule.protocol
        family = rtnl.FAMILIES[rule.afi]
        return self._ipr.rule(
            command, family=family, priority=rule.preference, FRA_PROTOCOL=maker, **what
        )

    def _last_resort(self, command: str, route: LastResort) -> Any:
        return self._ipr.route(
            command,
            family=rtnl.FAMILIES[route.afi],
            dst="0.0.0.0/0" if route.afi is Afi.IPV4 else "::/0",
            type="unreachable",
            table=route.table,
            priority=UNREACHABLE_METRIC,
            proto=PROTOCOL,
        )

    def _address(self, command: str, port: str, interface: Any) -> Any:
        flags = {"flags": _IFA_F_NODAD} if interface.version == 6 and command == "add" else {}
        return self._ipr.addr(
            command,
            index=self._index(port),
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            proto=PROTOCOL,
            **flags,
        )

    async def _put_label(self, label: int, vrf: str) -> None:
        # "add" refuses a label that another program routes. One that was ours is replaced: its
        # new route would carry one VPN's packets into another (FAIL-5).
        command = "replace" if label in self._labels_seen else "add"
        await self._label(command, label, oif=self._index(vrf))

    def _label(self, command: str, label: int, **attributes: Any) -> Any:
        return self._ipr.route(
            command, family=rtnl.AF_MPLS, dst=str(label), proto=PROTOCOL, **attributes
        )

    async def close(self) -> None:
        """Close the sockets; the kernel's state stays."""
        self._socket.close()
        self._main.close()
        self._ipr.close()


def _device_name(seen: Structure, index: int) -> str:
    """Return a device's name by its index, "" if it is gone; ask the kernel for unread ones."""
    known = seen.by_index.get(index)
    if known is not None:
        return known.name
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
