"""Routes from peers into VRF tables: import by route target, and the CE's own routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.bgp.inbound import clean_ce, refuse_ce, refuse_core, refuse_prefix
from controlplane.bgp.path import Path
from controlplane.bgp.peer_state import PeerState
from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.desired import NextHopKey
from controlplane.model.events import RoutesReceived
from controlplane.model.intent import NodeIntent
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget
from controlplane.vpn.vrf import Vrf

Importers = tuple[Vrf, ...]


class ImportIndex:
    """Route target -> the VRFs that import it."""

    def __init__(self, vrfs: Mapping[str, Vrf]) -> None:
        self._by_target: dict[RouteTarget, list[Vrf]] = {}
        for vrf in vrfs.values():
            for target in vrf.intent.import_targets:
                self._by_target.setdefault(target, []).append(vrf)

    def of(self, targets: Iterable[RouteTarget]) -> Importers:
        """The VRFs that import at least one of the targets, each once (RFC 4364 section 4.3.1)."""
        found = {vrf.name: vrf for target in targets for vrf in self._by_target.get(target, ())}
        return tuple(found.values())


class Intake:
    """Turns received UPDATEs into candidates. ``over_limit`` collects the peers to be shut."""

    def __init__(self, intent: NodeIntent, vrfs: Mapping[str, Vrf]) -> None:
        self._intent = intent
        self._vrfs = vrfs
        self._index = ImportIndex(vrfs)

    def importers(self, path: Path) -> Importers:
        """The VRFs that a VPN path belongs to."""
        return self._index.of(path.attributes.route_targets)

    def receive(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        """Take over the announcements of one UPDATE; refused ones count as withdrawn."""
        if event.family not in peer.families:
            peer.refused["family"] += len(event.nlri)
        elif event.family.is_vpn:
            self._receive_vpn(peer, event, now)
        else:
            self._receive_ce(peer, event, now)

    def _receive_vpn(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        own, attributes = self._intent, event.attributes
        refusal = refuse_core(attributes, own.asn, str(own.router_id), peer.intent.allow_as_in)
        importers = () if refusal else self._index.of(attributes.route_targets)
        if not importers:
            # Not kept at all: what no VRF imports would only cost memory (RFC 4364 section 4.3.2).
            peer.refused[refusal or "route-target"] += len(event.nlri)
            self.withdraw(peer, event.family, event.nlri)
            return
        paths: dict[tuple[RouteDistinguisher | None, tuple[int, ...]], Path] = {}
        for nlri in event.nlri:
            path = paths.get((nlri.rd, nlri.labels))
            if path is None:
                path = self._vpn_path(peer, event, nlri, now)
                paths[(nlri.rd, nlri.labels)] = path
            self._store(peer, event.family, nlri, path, importers)

    @staticmethod
    def _vpn_path(peer: PeerState, event: RoutesReceived, nlri: Nlri, now: float) -> Path:
        label = nlri.labels[0] if nlri.labels else -1
        hop = NextHopKey(event.family.afi, event.next_hop, label)
        return Path(peer.source, event.attributes, hop, nlri.rd, now)

    def _receive_ce(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        vrf = self._vrfs[peer.intent.peer.vrf]
        port = vrf.port(peer.intent.port)
        refusal = refuse_ce(peer.intent, port, event.attributes, event.next_hop)
        if refusal:
            peer.refused[refusal] += len(event.nlri)
            self.withdraw(peer, event.family, event.nlri)
            return
        hop = NextHopKey(event.family.afi, event.next_hop, device=peer.intent.port)
        path = Path(peer.source, clean_ce(peer.intent, event.attributes), hop, None, now)
        for nlri in event.nlri:
            reason = refuse_prefix(peer.intent, nlri.prefix)
            if reason is None:
                self._store(peer, event.family, nlri, path, (vrf,))
            else:
                peer.refused[reason] += 1
                self.withdraw(peer, event.family, (nlri,))

    def _store(
        self, peer: PeerState, family: Family, nlri: Nlri, path: Path, importers: Importers
    ) -> None:
        old = peer.adj_in.put(family, nlri.rd, nlri.prefix, path)
        if old is not None and self._moved(old, path):
            self._drop(nlri.prefix, old)
        for vrf in importers:
            vrf.offer(nlri.prefix, path)

    @staticmethod
    def _moved(old: Path, new: Path) -> bool:
        """True where putting the new path would not overwrite every trace of the old one."""
        return old.slot != new.slot or _targets(old.attributes) != _targets(new.attributes)

    def withdraw(self, peer: PeerState, family: Family, nlri: Iterable[Nlri]) -> None:
        """Take routes of a peer out of its Adj-RIB-In and of every VRF."""
        for item in nlri:
            path = peer.adj_in.drop(family, item.rd, item.prefix)
            if path is not None:
                self._drop(item.prefix, path)

    def discard(self, taken: Iterable[tuple[RouteDistinguisher | None, Prefix, Path]]) -> None:
        """Take paths that have left an Adj-RIB-In out of every VRF."""
        for _, prefix, path in taken:
            self._drop(prefix, path)

    def _drop(self, prefix: Prefix, path: Path) -> None:
        for vrf in self._homes(path):
            vrf.table.drop(prefix, path.slot)

    def _homes(self, path: Path) -> Importers:
        if path.rd is not None:
            return self.importers(path)
        vrf = self._vrfs.get(path.source.vrf)
        return () if vrf is None else (vrf,)

    def restore(self, vrf: Vrf, peers: Iterable[PeerState]) -> None:
        """Offer a VRF everything in the Adj-RIBs-In that belongs to it."""
        for peer in peers:
            for family in peer.adj_in.families:
                for _, prefix, path in peer.adj_in.routes(family):
                    if vrf in self._homes(path):
                        vrf.offer(prefix, path)


def _targets(attributes: Attributes) -> frozenset[RouteTarget]:
    return attributes.route_targets
