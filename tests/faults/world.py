"""A data plane with two VRFs on a kernel of fakes."""

from __future__ import annotations

import asyncio
import os
import struct
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    Desired,
    LabelBinding,
    NextHop,
    NextHopKey,
    NextHopPath,
    Node,
    VrfDevice,
)  # fmt: skip
from controlplane.model.label import Label
from controlplane.model.prefix import Afi, Prefix, parse_prefix
from pe.dataplane import foreign, reconciler
from pe.dataplane.reconciler import DataplaneReconciler
from pe.devices.plan import plan
from pe.fib.next_hop_wire import BLACKHOLE_IDS, Group, Member
from pe.model.state import Link, Structure
from pe.netlink import codec as nl
from pe.netlink.main_routes import MainRoute
from pe.nft import foreign_chains, owner
from pe.nft.diff import AddElements, DeleteElements, Operation, Simple
from pe.nft.model import NamedSet, Table, TableId
from pe.observe import zone_flush
from pe.process import sysctl
from tests.parts import LonePart
from tests.pe_fakes import FakeNextHops, FakeRoutes, FakeStructure, FakeStructureKernel

VRFS = {"red": 1001, "blue": 1002}
SECONDS = 100.0
"""How long the data plane has to put everything right; a retry comes after 10 s at most."""


class FakeNft:
    """The kernel's tables as far as the data plane looks at them: generation and elements."""

    def __init__(self) -> None:
        self.applied: list[Operation] = []
        self.number = 1
        self._elements: dict[tuple[TableId, str], dict[bytes, bytes]] = {}

    def apply(self, operations: Sequence[Operation], generation: int | None = None) -> None:
        assert generation in (None, self.number)
        self.number += 1
        self.applied += operations
        for operation in operations:
            match operation:
                case AddElements(table, name, _, elements):
                    self._elements.setdefault((table, name), {}).update(elements)
                case DeleteElements(table, name, _, keys):
                    for key in keys:
                        del self._elements[table, name][key]
                case Simple("flush", "set" | "map", table, name):
                    self._elements.pop((table, name), None)
                case Simple("delete", "table", table):
                    kept = {at: e for at, e in self._elements.items() if at[0] != table}
                    self._elements = kept

    def elements_at(
        self, table: TableId, name: str, kind: NamedSet
    ) -> tuple[int, dict[bytes, bytes]] | None:
        assert not kind.is_dynamic
        return self.number, self._elements.get((table, name), {})

    def meddle(self) -> None:
        """Another program changes a table of its own."""
        self.number += 1

    def generation(self) -> int:
        return self.number

    def shape(self, table: TableId) -> str:
        return str([o for o in self.applied if o.table == table and not _of_elements(o)])

    def present(self, _table: TableId, _wanted: Table | None) -> Table | None:
        return None

    def close(self) -> None:
        pass


def _of_elements(operation: Operation) -> bool:
    return isinstance(operation, AddElements | DeleteElements)


class FakeConntrack:
    """Connections by zone; ``flushed`` are the zones that were released, in order."""

    def __init__(self) -> None:
        self.connections: Counter[int] = Counter()
        self.flushed: list[int] = []

    def flush(self, zones: Collection[int]) -> int:
        self.flushed += sorted(zones)
        return sum(self.connections.pop(zone, 0) for zone in zones)


class FakeEvents:
    """The event socket: a pipe that is readable while notifications wait."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()
        self.waiting: list[nl.Message] = []
        self.handle: Callable[[nl.Message], None] = lambda _: None
        self.lost: Callable[[], None] = lambda: None
        self._overrun = False

    def fileno(self) -> int:
        return self._reads

    def send(self, message: nl.Message) -> None:
        self.waiting.append(message)
        os.write(self._writes, b"x")

    def overrun(self) -> None:
        """The kernel could not deliver: notifications are gone."""
        self._overrun = True
        os.write(self._writes, b"x")

    def read(self) -> None:
        os.read(self._reads, 1 << 16)
        if self._overrun:
            self._overrun = False
            self.lost()
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            self.handle(message)

    def close(self) -> None:
        os.close(self._reads)
        os.close(self._writes)


class FakeDeviceKernel(FakeStructureKernel):
    """What the data plane uses of ``DeviceKernel`` beside the structure's own calls."""

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def main_routes(self, _device: int = 0) -> list[MainRoute]:
        return []


class World:
    """Fakes, and a reconciler on them. ``owner`` finds the object whose call is to fail."""

    def __init__(self) -> None:
        links = (
            Link(1, "lo", up=True, carrier=True), Link(2, "core0"), Link(3, "ce-red"),
            Link(4, "ce-blue"),
        )  # fmt: skip
        self.structure = Structure(links={link.name: link for link in links})
        self.devices = FakeDeviceKernel(FakeStructure(self.structure))
        self.next_hops, self.routes = FakeNextHops(), FakeRoutes()
        self.next_hops.routes, self.routes.next_hops = self.routes, self.next_hops
        self.nft, self.events = FakeNft(), FakeEvents()
        self.conntrack = FakeConntrack()
        self.conntrack.connections.update({zone: 7 for zone, _ in enumerate(VRFS, 1)})
        self.part = LonePart()
        self.logged: list[str] = []
        self.desired = Desired()
        self.plane = DataplaneReconciler(emit=lambda _: None, log=self._log, part=self.part)

    def owner(self, adapter: str) -> Any:
        return {
            "NextHopWriter": self.next_hops, "RouteWriter": self.routes,
            "DeviceKernel": self.devices, "EventSocket": self.events, "RulesetReader": self.nft,
            "RulesetWriter": self.nft, "zone_flush": self.conntrack,
        }[adapter]  # fmt: skip

    def _log(self, _level: str, event: str, _fields: dict[str, str | int]) -> None:
        self.logged.append(event)

    def patch(self, monkeypatch: Any) -> None:
        """Put the fakes in the place of the adapters."""
        # Each by a call: a fault is put on the object itself.
        monkeypatch.setattr(reconciler, "NextHopWriter", lambda: self.next_hops)
        monkeypatch.setattr(reconciler, "RouteWriter", lambda: self.routes)
        monkeypatch.setattr(reconciler, "DeviceKernel", lambda: self.devices)
        monkeypatch.setattr(reconciler, "EventSocket", self._event_socket)
        monkeypatch.setattr(owner, "RulesetReader", lambda: self.nft)
        monkeypatch.setattr(owner, "RulesetWriter", lambda: self.nft)
        monkeypatch.setattr(zone_flush, "flush", self._flush)
        monkeypatch.setattr(foreign, "_dump", lambda *_: foreign.Found({}, {}, set()))
        monkeypatch.setattr(foreign_chains, "read", lambda _: ())
        monkeypatch.setattr(sysctl, "write", lambda *_: None)

    def _flush(self, zones: Collection[int], _used: Collection[int]) -> int:
        return self.conntrack.flush(zones)  # looked up at each call: a fault may stand in its place

    def _event_socket(
        self, _pid: int, handle: Callable[[nl.Message], None], lost: Callable[[], None]
    ) -> FakeEvents:
        self.events.handle, self.events.lost = handle, lost
        return self.events

    def submit(self, delta: Delta) -> None:
        self.desired.apply(delta)
        self.plane.submit(delta)

    async def follows(self) -> bool:
        """Wait until the kernel is as desired; False if it is not in the end."""
        loop = asyncio.get_running_loop()
        end = loop.time() + SECONDS
        while self.differences():
            if loop.time() > end:
                return False
            await asyncio.sleep(0.5)
        return True

    def differences(self) -> list[object]:
        """Compare the fakes with what is desired: empty if they are the same, and nothing waits."""
        steps = plan(self.desired, self.structure)
        found: list[object] = [step.op for step in steps]
        if self._kernel_routes() != self._desired_routes():
            found.append("routes")
        objects = len(self.next_hops.objects.keys() - BLACKHOLE_IDS.keys())
        if objects > 2 * len(self.desired.next_hops):
            found.append("next hops left over")
        zones = {port.zone for port in self.desired.ce_ports.values()}
        if self.desired.ce_ports and self.conntrack.connections.keys() - zones:
            found.append("connections of a released zone")
        if self.plane.failures():
            found.append(self.plane.failures())
        if not self.plane.is_settled:
            found.append("not settled")
        return found

    def _kernel_routes(self) -> dict[tuple[int, Prefix], object]:
        return {
            (table, prefix): self._members(identifier)
            for table, routes in self.routes.tables.items()
            for prefix, identifier in routes.items()
        }

    def _members(self, identifier: int) -> object:
        content = self.next_hops.objects.get(identifier)
        if not isinstance(content, Group):
            return content
        ids = [member for member, _ in content.members if member not in BLACKHOLE_IDS]
        return frozenset(self.next_hops.objects.get(member) for member in ids)

    def _desired_routes(self) -> dict[tuple[int, Prefix], object]:
        indexes = self.structure.indexes
        return {
            (table, prefix): frozenset(
                Member(key.afi, indexes[path.device], path.gateway, path.labels)
                for path in self.desired.next_hops[key].paths
            )
            for table, routes in self.desired.routes.items()
            for prefix, key in routes.items()
        }

    def carrier(self, name: str, *, up: bool) -> None:
        """Take a device's carrier or give it back, as the kernel does and says."""
        state = self.structure
        link = replace(state.links[name], carrier=up)
        state.put_link(link)
        if up:
            self.next_hops.broken.discard(link.index)
        else:
            self.next_hops.flush(link.index)
            self.next_hops.broken.add(link.index)
        flags = 0x1 | (0x40 if up else 0)
        text = name.encode() + b"\0"
        body = struct.pack("=BBHiII", 0, 0, 1, link.index, flags, 0) + nl.attribute(3, text)
        self.events.send(nl.Message(nl.RTM_NEWLINK, 0, 0, 0, memoryview(body)))

    def meddle(self) -> None:
        """Another program takes a route, a next hop and an address; the notifications are lost. It
        has rules of its own, too."""
        del self.routes.tables[1001][prefix(2)]
        self.next_hops.flush(self.structure.indexes["core0"])
        self.structure.addresses.pop("ce-red")
        self.nft.meddle()
        self.events.overrun()


def ce_hop(vrf: str) -> NextHop:
    address, port = ip_address("192.0.2.2"), f"ce-{vrf}"
    return NextHop(NextHopKey(Afi.IPV4, address, device=port), (NextHopPath(address, port),))


def remote_hop(number: int, transport: int = 17) -> NextHop:
    key = NextHopKey(Afi.IPV4, ip_address(f"10.255.0.{number}"), 16000 + number)
    gateway = ip_address("10.0.1.2")
    return NextHop(key, (NextHopPath(gateway, "core0", (transport, key.label)),))


def prefix(number: int) -> Prefix:
    return parse_prefix(f"10.{number}.0.0/16")


def built() -> Delta:
    """Two VRFs with the same addresses, each with a CE's route and a remote one."""
    delta = Delta(node=Node("pe1", (ip_address("10.255.0.1"),), 24000))
    delta.core_ports["core0"] = CorePort("core0")
    for zone, (vrf, table) in enumerate(VRFS.items(), 1):
        port = f"ce-{vrf}"
        delta.vrfs[vrf] = VrfDevice(vrf, table)
        delta.ce_ports[port] = CePort(port, vrf, zone, (ip_interface("192.0.2.1/30"),), None)
        delta.labels[Label(table)] = LabelBinding(Label(table), vrf)
        hops = {1: ce_hop(vrf), 2: remote_hop(zone + 1)}
        delta.next_hops |= {hop.key: hop for hop in hops.values()}
        delta.routes[table] = {prefix(n): hop.key for n, hop in hops.items()}
    return delta


def changed() -> Delta:
    """A path that moves, a route that comes, and one that goes whose next hop stays."""
    delta = Delta()
    moved, fresh = remote_hop(2, transport=18), remote_hop(9)
    delta.next_hops |= {moved.key: moved, fresh.key: fresh}
    delta.routes[1001] = {prefix(3): fresh.key, prefix(4): ce_hop("red").key}
    return delta


def withdrawn() -> Delta:
    """A route goes whose next hop stays, and one that goes with its next hop."""
    delta = Delta(routes={1001: {prefix(3): None, prefix(4): None}})
    delta.next_hops[remote_hop(9).key] = None
    return delta


def without_blue() -> Delta:
    """A VRF goes with all that is in it."""
    gone = built()
    table = VRFS["blue"]
    delta = Delta(vrfs={"blue": None}, ce_ports={"ce-blue": None}, labels={Label(table): None})
    delta.routes[table] = dict.fromkeys(gone.routes[table])
    delta.next_hops |= dict.fromkeys((ce_hop("blue").key, remote_hop(3).key))
    return delta
