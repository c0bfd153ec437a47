"""What the kernel should hold for each VRF independent of routes: VRFs, ports, sessions. Pure:
intent and labels in, desired objects out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    LabelBinding,
    Node,
    Session,
    VrfDevice,
)
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.rd import RouteTarget
from controlplane.vpn.vrf import Vrf

ANY_HOPS = 255


class Layout:
    """The desired objects of one intent, by table and key."""

    def __init__(self, intent: NodeIntent, vrfs: Mapping[str, Vrf]) -> None:
        self.node = Node(
            name=intent.name,
            loopbacks=intent.loopbacks,
            platform_labels=intent.label_block.last + 1,
            speaker_uids=intent.speaker_uids,
            removes_foreign_routes=intent.removes_foreign_routes,
        )
        self.vrfs = {vrf.name: _device(vrf) for vrf in vrfs.values()}
        self.reaches = _reaches(vrfs.values())
        self.labels = {vrf.label: LabelBinding(vrf.label, vrf.name) for vrf in vrfs.values()}
        self.core_ports = {
            port.name: CorePort(port.name, port.addresses, port.mtu, port.accept_explicit_null)
            for port in intent.core_ports
        }
        self.ce_ports = {p.name: p for vrf in vrfs.values() for p in _ports(vrf)}
        self.sessions: dict[PeerId, Session] = {p.peer: _session(p) for p in intent.all_peers}


def _reaches(vrfs: Collection[Vrf]) -> dict[str, tuple[str, ...]]:
    """Return the VRFs that import routes of others, each with the names of those."""
    exporters: dict[RouteTarget, list[str]] = {}
    for vrf in vrfs:
        for target in vrf.intent.export_targets:
            exporters.setdefault(target, []).append(vrf.name)
    found: dict[str, tuple[str, ...]] = {}
    for vrf in vrfs:
        names = {name for rt in vrf.intent.import_targets for name in exporters.get(rt, ())}
        if others := names - {vrf.name}:
            found[vrf.name] = tuple(sorted(others))
    return found


def _device(vrf: Vrf) -> VrfDevice:
    intent = vrf.intent
    return VrfDevice(vrf.name, vrf.number, intent.conntrack_limit, intent.new_flows_per_second)


def _ports(vrf: Vrf) -> list[CePort]:
    return [
        CePort(p.name, vrf.name, vrf.zone, p.addresses, p.sources, p.parent, p.vlan, p.mtu)
        for p in vrf.intent.ports
    ]


def _session(peer: PeerIntent) -> Session:
    hops = peer.ttl_security
    min_ttl = 0 if hops is None else ANY_HOPS + 1 - hops
    return Session(peer.peer, peer.local_address, peer.port, min_ttl)


def difference(old: Layout | None, new: Layout | None) -> Delta:
    """Return what leads from one layout to the other; either may be missing."""
    delta = Delta()
    if new is not None and (old is None or old.node != new.node):
        delta.node = new.node
    for table in ("vrfs", "reaches", "labels", "core_ports", "ce_ports", "sessions"):
        before = getattr(old, table) if old else {}
        after = getattr(new, table) if new else {}
        changes = getattr(delta, table)
        changes.update({key: None for key in before if key not in after})
        changes.update({key: value for key, value in after.items() if before.get(key) != value})
    return delta
