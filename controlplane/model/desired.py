"""What should be in the kernel, in the words of routing rather than of netlink.

``Desired`` is a set of tables by key; ``Delta`` has the same tables with None for what should go.
The control plane emits deltas; ``pe`` keeps the sum and brings the kernel to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from controlplane.model.intent import IPInterface
from controlplane.model.label import Label
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, IPAddress, Prefix


class VrfDevice(msgspec.Struct, frozen=True):
    """A VRF and its table (both families, with an ``unreachable`` default: trap T1)."""

    name: str
    table: int
    conntrack_limit: int = 0
    new_flows_per_second: int = 0


class CePort(msgspec.Struct, frozen=True):
    """An attachment circuit as it should be; its guard follows from it.

    ``sources`` None: any source but martians and the node's own. ``zone`` is the conntrack zone.
    """

    name: str
    vrf: str
    zone: int
    addresses: tuple[IPInterface, ...]
    sources: tuple[Prefix, ...] | None
    parent: str = ""
    vlan: int = 0
    mtu: int = 0


class CorePort(msgspec.Struct, frozen=True):
    """A port into the core; MPLS input is on here and nowhere else (trap T8)."""

    name: str
    addresses: tuple[IPInterface, ...] = ()
    mtu: int = 0
    accept_explicit_null: bool = False


class Session(msgspec.Struct, frozen=True):
    """A BGP session that the guards let in; ``port`` empty means a core session.

    ``min_ttl`` is the least TTL or hop limit accepted (GTSM, RFC 5082), 0 for any.
    """

    peer: PeerId
    local: IPAddress
    port: str
    min_ttl: int


class NextHopKey(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """The key under which routes share a next hop, independent of its present path.

    ``address`` is the remote PE or the CE, None for a link or a discard; ``label`` the VPN label
    (-1: none); ``device`` is set for CE next hops only; ``afi`` that of the routes that use it.
    """

    afi: Afi
    address: IPAddress | None
    label: int = -1
    device: str = ""


class NextHopPath(msgspec.Struct, frozen=True):
    """One way to a next hop. ``labels``: all that is pushed, outermost first."""

    gateway: IPAddress | None
    device: str
    labels: tuple[int, ...] = ()
    weight: int = 1


class NextHop(msgspec.Struct, frozen=True):
    """A next-hop object; no paths at all is a discard (blackhole)."""

    key: NextHopKey
    paths: tuple[NextHopPath, ...]


class Adjacency(msgspec.Struct, frozen=True):
    """What the data plane is to find out, again and again: does ``address``, a remote PE's, belong
    to the router at the other end of the link behind ``device``, which ``gateway`` is on?"""

    address: IPAddress
    gateway: IPAddress
    device: str


class LabelBinding(msgspec.Struct, frozen=True):
    """An incoming label: pop, then look up in this VRF (the per-VRF label of RFC 4364)."""

    label: Label
    vrf: str


class Node(msgspec.Struct, frozen=True):
    """What the node is as a whole: its addresses in the core, its label space, the first user id of
    its BGP processes (``speaker_uid``), and whether other programs' routes in VRFs' tables go."""

    name: str
    loopbacks: tuple[IPAddress, ...]
    platform_labels: int
    speaker_uids: int = 0
    removes_foreign_routes: bool = False


K = TypeVar("K")
V = TypeVar("V")


class Desired(msgspec.Struct):
    """The whole; ``routes`` is table number -> prefix -> the next hop's key.

    ``reaches``: VRF -> other VRFs of the node whose routes it imports, so that its packets may
    leave by their ports. It is no part of the VRF's own object: a VRF does not wait for the kernel
    because another one has other route targets.
    """

    node: Node | None = None
    vrfs: dict[str, VrfDevice] = msgspec.field(default_factory=dict)
    reaches: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    ce_ports: dict[str, CePort] = msgspec.field(default_factory=dict)
    core_ports: dict[str, CorePort] = msgspec.field(default_factory=dict)
    sessions: dict[PeerId, Session] = msgspec.field(default_factory=dict)
    next_hops: dict[NextHopKey, NextHop] = msgspec.field(default_factory=dict)
    labels: dict[Label, LabelBinding] = msgspec.field(default_factory=dict)
    adjacencies: dict[Adjacency, Adjacency] = msgspec.field(default_factory=dict)
    routes: dict[int, dict[Prefix, NextHopKey]] = msgspec.field(default_factory=dict)

    def apply(self, delta: Delta) -> None:
        """Bring the whole up to date with a change."""
        if delta.node is not None:
            self.node = delta.node
        _merge(self.vrfs, delta.vrfs)
        _merge(self.reaches, delta.reaches)
        _merge(self.ce_ports, delta.ce_ports)
        _merge(self.core_ports, delta.core_ports)
        _merge(self.sessions, delta.sessions)
        _merge(self.next_hops, delta.next_hops)
        _merge(self.labels, delta.labels)
        _merge(self.adjacencies, delta.adjacencies)
        for table, routes in delta.routes.items():
            _merge(self.routes.setdefault(table, {}), routes)
            if not self.routes[table]:
                del self.routes[table]


class Delta(msgspec.Struct):
    """A change of ``Desired``: None removes. The last word on a key wins."""

    node: Node | None = None
    vrfs: dict[str, VrfDevice | None] = msgspec.field(default_factory=dict)
    reaches: dict[str, tuple[str, ...] | None] = msgspec.field(default_factory=dict)
    ce_ports: dict[str, CePort | None] = msgspec.field(default_factory=dict)
    core_ports: dict[str, CorePort | None] = msgspec.field(default_factory=dict)
    sessions: dict[PeerId, Session | None] = msgspec.field(default_factory=dict)
    next_hops: dict[NextHopKey, NextHop | None] = msgspec.field(default_factory=dict)
    labels: dict[Label, LabelBinding | None] = msgspec.field(default_factory=dict)
    adjacencies: dict[Adjacency, Adjacency | None] = msgspec.field(default_factory=dict)
    routes: dict[int, dict[Prefix, NextHopKey | None]] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.node or self.vrfs or self.ce_ports or self.core_ports or self.sessions
            or self.next_hops or self.labels or self.adjacencies or self.routes or self.reaches
        )  # fmt: skip

    @property
    def is_of_paths(self) -> bool:
        """True where it has next hops and routes alone, as nearly every turn of a full table."""
        return not (
            self.vrfs or self.ce_ports or self.sessions or self.labels or self.core_ports
            or self.node or self.reaches or self.adjacencies
        )  # fmt: skip

    def merge(self, later: Delta) -> None:
        """Add a later change to this one."""
        if later.node is not None:
            self.node = later.node
        self.vrfs.update(later.vrfs)
        self.reaches.update(later.reaches)
        self.ce_ports.update(later.ce_ports)
        self.core_ports.update(later.core_ports)
        self.sessions.update(later.sessions)
        self.next_hops.update(later.next_hops)
        self.labels.update(later.labels)
        self.adjacencies.update(later.adjacencies)
        for table, routes in later.routes.items():
            self.routes.setdefault(table, {}).update(routes)


class VrfObjects(msgspec.Struct):
    """The objects of one VRF that a change touches, by the names that they have in the kernel."""

    devices: set[str] = msgspec.field(default_factory=set)
    tables: set[int] = msgspec.field(default_factory=set)
    labels: set[int] = msgspec.field(default_factory=set)


def objects_by_vrf(
    delta: Delta, vrfs: Mapping[str, VrfDevice], ports: Mapping[str, CePort],
    labels: Mapping[Label, LabelBinding],
) -> dict[str, VrfObjects]:  # fmt: skip
    """Return what a change touches beside routes, by VRF, "" for the core.

    ``vrfs``, ``ports`` and ``labels`` are those before the change. A VRF of which only a session
    changes has no objects here: its filter alone changes. For one that reaches other VRFs than
    before nothing waits.
    """
    found: defaultdict[str, VrfObjects] = defaultdict(VrfObjects)
    for name, vrf in delta.vrfs.items():
        found[name].devices.add(name)
        found[name].tables |= {each.table for each in (vrfs.get(name), vrf) if each}
    for name, port in delta.ce_ports.items():
        for each in (ports.get(name), port):
            if each:
                found[each.vrf].devices |= {name, each.parent} - {""}
    for number, binding in delta.labels.items():
        for bound in (labels.get(number), binding):
            if bound:
                found[bound.vrf].labels.add(number)
    for peer in delta.sessions:
        found[peer.vrf]
    if delta.node is not None or delta.core_ports:
        found[""].devices |= delta.core_ports.keys()
    return dict(found)


def _merge(whole: dict[K, V], changes: dict[K, V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = value
