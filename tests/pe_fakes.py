"""Stand-ins for the kernel that keep its rules, for tests of what plans and acts on it."""

from __future__ import annotations

import copy
import errno
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from controlplane.model.prefix import Afi, Prefix
from pe.devices import ops
from pe.devices.scope import Scope
from pe.fib.next_hop_wire import Content, Group, Member
from pe.model.state import LastResort, Link, PortAddress, Structure
from pe.netlink.ownership import BLACKHOLE_ALIAS, PORT_ALIAS, PROTOCOL, VRF_ALIAS


class FakeStructure:
    """Performs operations on a ``Structure`` as the kernel would.

    Raises AssertionError where an operation would open a hole: a CE port up outside its VRF, or
    a VRF that can be reached before its table is closed.
    """

    def __init__(self, state: Structure) -> None:
        self.state = state
        self._next_index = max([100, *state.by_index])

    def perform(self, op: ops.Op) -> None:
        links, state = self.state.links, self.state
        match op:
            case ops.WriteSetting(setting):
                state.sysctls[setting.path] = setting.value
            case ops.AddRule(rule):
                state.put_rule(replace(rule, protocol=PROTOCOL))
            case ops.DropRule(rule):
                others = {r for r in state.rules if r.afi == rule.afi and r.table == rule.table}
                assert rule.mark or len(others) > 1, "a moment without local addresses"
                del state.rules[rule]
            case ops.AddLastResort(route):
                state.last_resorts.add(route)
            case ops.DropLastResort(route):
                assert all(link.table != route.table for link in links.values()), "VRF left open"
                state.last_resorts.remove(route)
            case ops.CreateVrf(name, table):
                self._create(Link(0, name, "vrf", alias=VRF_ALIAS, table=table))
                closed = [route for route in state.last_resorts if route.table == table]
                assert len(closed) == 2, "a VRF before its last resort"
            case ops.CreateBlackhole(name):
                self._create(Link(0, name, "dummy", alias=BLACKHOLE_ALIAS, mtu=1500))
            case ops.CreateVlan(name, parent, vlan):
                assert parent in links
                self._create(Link(0, name, "vlan", alias=PORT_ALIAS, parent=parent, vlan=vlan))
            case ops.DeleteDevice(name):
                self._delete(name)
            case ops.SetUp(name, index):
                _same_device(links[name], index)
                state.put_link(replace(links[name], up=True, carrier=True))
            case ops.SetDown(name):
                state.put_link(replace(links[name], up=False, carrier=False))
            case ops.SetMaster(name, master, index):
                _same_device(links[name], index)
                assert not links[name].up, "moved between tables while up"
                assert not master or links[master].kind == "vrf"
                state.put_link(replace(links[name], master=master))
            case ops.SetMtu(name, mtu):
                state.put_link(replace(links[name], mtu=mtu))
            case ops.AddAddress(port, interface):
                here = state.addresses.get(port, frozenset())
                state.addresses[port] = here | {PortAddress(port, interface, True)}
            case ops.DropAddress(port, interface):
                here = state.addresses.get(port, frozenset())
                state.addresses[port] = frozenset(a for a in here if a.interface != interface)
            case ops.PutLabel(label, vrf):
                assert vrf in links
                state.labels[label] = vrf
            case ops.DropLabel(label):
                state.labels.pop(label, None)  # it may have gone with its device

    def _create(self, link: Link) -> None:
        if link.name in self.state.links:
            raise OSError(errno.EEXIST, "exists")
        self._next_index += 1
        self.state.put_link(replace(link, index=self._next_index))

    def _delete(self, name: str) -> None:
        links = self.state.links
        for inside in sorted(self.state.members.get(name, ())):
            assert not links[inside].up, "released into the global table while up"
            self.state.put_link(replace(links[inside], master=""))
        self.state.drop_link(name)
        self.state.addresses.pop(name, None)
        # Label routes go with the device that they lead to.
        self.state.labels = {n: vrf for n, vrf in self.state.labels.items() if vrf != name}


def _same_device(link: Link, index: int) -> None:
    if index not in (0, link.index):
        raise OSError(errno.ENODEV, "another device has the name")


class FakeStructureKernel:
    """A ``StructureKernel`` over a ``FakeStructure``, whose ``told`` gets what notifications name:
    devices, labels and tables. Counts what is read and done."""

    def __init__(self, world: FakeStructure) -> None:
        self.world = world
        self.reads: Counter[str] = Counter()
        self.ops: list[ops.Op] = []
        self.notified = Scope()

    async def read_all(self, settings: Callable[[Iterable[str]], Iterable[str]]) -> Structure:
        self.reads["all"] += 1
        seen = copy.deepcopy(self.world.state)
        self.read_settings(seen, settings(seen.links))
        return seen

    def read_device(self, seen: Structure, name: str) -> None:
        self.reads["device"] += 1
        link = self.world.state.links.get(name)
        seen.drop_link(name)
        seen.addresses.pop(name, None)
        if link:
            seen.put_link(link)
            seen.addresses[name] = self.world.state.addresses.get(name, frozenset())

    def read_table(self, seen: Structure, table: int) -> None:
        self.reads["table"] += 1
        both = {LastResort(afi, table) for afi in Afi}
        seen.last_resorts = seen.last_resorts - both | self.world.state.last_resorts & both

    def read_label(self, seen: Structure, label: int) -> None:
        self.reads["label"] += 1
        seen.labels.pop(label, None)
        if label in self.world.state.labels:
            seen.labels[label] = self.world.state.labels[label]

    def read_settings(self, seen: Structure, paths: Iterable[str]) -> None:
        for path in paths:
            self.reads["setting"] += 1
            seen.sysctls[path] = self.world.state.sysctls.get(path)

    async def perform(self, op: ops.Op) -> None:
        self.ops.append(op)
        before = copy.copy(self.world.state.labels)
        self.world.perform(op)
        for name in (getattr(op, "name", ""), getattr(op, "port", "")):
            if name:
                self.notified.devices.add(name)
        self.notified.labels |= before.keys() ^ self.world.state.labels.keys()


class FakeFilters:
    """Filters that are in force at once; counts how often they are brought."""

    def __init__(self) -> None:
        self.brought = 0

    def has_chain(self, _family: str, _chain: str) -> bool:
        return True

    def doubt(self) -> None:
        pass

    async def bring(self, _wanted: object, *, keep: bool = False) -> bool:
        self.brought += 1
        return not keep


class FakeNextHops:
    """Next-hop objects under the rules of net/ipv4/nexthop.c."""

    def __init__(self) -> None:
        self.objects: dict[int, Content] = {}
        self.broken: set[int] = set()
        self.calls: list[tuple[str, int]] = []
        self.routes: FakeRoutes | None = None
        self.fails: dict[str, Exception] = {}
        """The next call of a method that raises, once."""
        self.pid = 0
        self.foreign: set[int] = set()
        """Ids of objects that another program made."""
        self.looked_at = 0

    def create(self, identifier: int, content: Content) -> None:
        self._fail("create")
        if identifier in self.objects:
            raise OSError(errno.EEXIST, "the id is in use")
        self._put(identifier, content)

    def replace(self, identifier: int, content: Content) -> None:
        self._fail("replace")
        if identifier not in self.objects:
            raise OSError(errno.ENOENT, "no such next hop")
        self._put(identifier, content)

    def read(self, identifiers: Collection[int]) -> dict[int, tuple[int, Content | None]]:
        self._fail("read")
        self.looked_at += len(identifiers)
        return {i: found for i, found in self._all().items() if i in identifiers}

    def dump(self) -> dict[int, tuple[int, Content | None]]:
        self._fail("dump")
        return self._all()

    def _all(self) -> dict[int, tuple[int, Content | None]]:
        other = PROTOCOL + 1
        return {i: (other if i in self.foreign else PROTOCOL, c) for i, c in self.objects.items()}

    def close(self) -> None:
        pass

    def _fail(self, call: str) -> None:
        if error := self.fails.pop(call, None):
            raise error

    def _put(self, identifier: int, content: Content) -> None:
        self.calls.append(("put", identifier))
        if isinstance(content, Member) and content.oif in self.broken:
            raise OSError(errno.ENETDOWN, "the device is down")
        before = self.objects.get(identifier)
        if before and isinstance(before, Group) != isinstance(content, Group):
            raise OSError(errno.EINVAL, "a group is no single next hop")
        if isinstance(content, Group):
            if isinstance(before, Group) and before.resilient != content.resilient:
                raise OSError(errno.EINVAL, "a group cannot change its type")
            self._check_group(content)
        elif not content.oif:
            groups = [g for g in self._groups() if identifier in dict(g.members)]
            if any(len(group.members) > 1 for group in groups):
                raise OSError(errno.EINVAL, "a discard in a group of several")
        self.objects[identifier] = content

    def _groups(self) -> list[Group]:
        return [c for c in self.objects.values() if isinstance(c, Group)]

    def _check_group(self, group: Group) -> None:
        members = [self.objects.get(identifier) for identifier, _ in group.members]
        if not members or len(dict(group.members)) != len(members):
            raise OSError(errno.EINVAL, "an empty group, or one member twice")
        if not all(isinstance(member, Member) for member in members):
            raise OSError(errno.EINVAL, "no such member")
        discards = [member for member in members if isinstance(member, Member) and not member.oif]
        if len(members) > 1 and discards:
            raise OSError(errno.EINVAL, "a discard in a group of several")

    def remove(self, identifier: int) -> None:
        self._fail("remove")
        self._remove(identifier)

    def _remove(self, identifier: int) -> None:
        self.calls.append(("remove", identifier))
        if identifier not in self.objects:
            raise OSError(errno.ENOENT, "no such next hop")
        del self.objects[identifier]
        if self.routes is not None:
            self.routes.next_hop_gone(identifier)
        for name, group in list(self.objects.items()):
            if isinstance(group, Group) and identifier in dict(group.members):
                left = tuple(m for m in group.members if m[0] != identifier)
                if left:
                    self.objects[name] = Group(left, group.resilient)
                else:
                    self._remove(name)

    def flush(self, oif: int) -> None:
        """The device has lost its carrier (nexthop_flush_dev)."""
        for identifier, content in list(self.objects.items()):
            if isinstance(content, Member) and content.oif == oif:
                self._remove(identifier)


class FakeRoutes:
    """Routes as the kernel has them; ``refuse`` fails the prefixes in it."""

    def __init__(self) -> None:
        self.tables: dict[int, dict[Prefix, int]] = {}
        self.refuse: set[Prefix] = set()
        self.next_hops: FakeNextHops | None = None
        self.fails: list[tuple[int, Exception]] = []
        """Calls of ``write`` that raise, with the number of changes that they take first."""
        self.dump_fails: Exception | None = None
        self.pid = 0
        self.writes = 0

    def write(self, table: int, changes: list[tuple[Prefix, int]]) -> dict[Prefix, OSError]:
        self.writes += 1
        if self.fails:
            taken, error = self.fails.pop(0)
            self._write(table, changes[:taken])
            raise error
        return self._write(table, changes)

    def dump(self, table: int = 0) -> list[tuple[int, Prefix, int]]:
        if error := self.dump_fails:
            self.dump_fails = None
            raise error
        tables = self.tables if not table else {table: self.tables.get(table, {})}
        return [(t, p, i) for t, routes in tables.items() for p, i in routes.items()]

    def _write(self, table: int, changes: list[tuple[Prefix, int]]) -> dict[Prefix, OSError]:
        refused: dict[Prefix, OSError] = {}
        routes = self.tables.setdefault(table, {})
        for prefix, next_hop in changes:
            if next_hop and self.next_hops and next_hop not in self.next_hops.objects:
                refused[prefix] = OSError(errno.EINVAL, "Nexthop id does not exist")
            elif prefix in self.refuse:
                refused[prefix] = OSError(errno.ENOMEM, "no")
            elif next_hop:
                routes[prefix] = next_hop
            elif routes.pop(prefix, None) is None:
                refused[prefix] = OSError(errno.ESRCH, "no such route")
        return refused

    def next_hop_gone(self, identifier: int) -> None:
        """A next hop takes its routes with it (__remove_nexthop_fib)."""
        for table, routes in self.tables.items():
            self.tables[table] = {p: i for p, i in routes.items() if i != identifier}

    def close(self) -> None:
        pass

    def forget(self, table: int) -> None:
        self.tables.pop(table, None)
