"""Routes from peers into VRF tables: import by route target, and the CE's own routes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from controlplane.bgp.adj_rib_in import Held, Targets
from controlplane.bgp.inbound import (
    can_be_next_hop,
    clean_ce,
    refuse_ce,
    refuse_core,
    refuse_path,
    refuse_prefix,
    refuse_vpn,
    sites_of_origin,
)
from controlplane.bgp.path import Path
from controlplane.bgp.peer_state import PeerState
from controlplane.model.attributes import Nlri
from controlplane.model.desired import NextHopKey
from controlplane.model.events import RoutesReceived
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget
from controlplane.vpn.import_index import Importers, ImportIndex
from controlplane.vpn.vrf import Vrf

MOST_HOPS = 4096
UNIMPORTED = "route-target"


class RouteImport:
    """Turns received UPDATEs into candidates; owns no state but what makes it quick."""

    def __init__(
        self, vrfs: Mapping[str, Vrf], router_id: str = "", own: Collection[IPAddress] = ()
    ) -> None:
        self._vrfs = vrfs
        self._router_id = router_id
        self._own = frozenset(own)
        self._index = ImportIndex(vrfs.values())
        self._hops: dict[tuple[IPAddress, Family], dict[int, NextHopKey] | None] = {}
        self._last: Path | None = None

    @property
    def index(self) -> ImportIndex:
        """Who imports what."""
        return self._index

    # -- announcements ------------------------------------------------------------------------

    def receive(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        """Take over the announcements of one UPDATE; refused ones count as withdrawn."""
        if event.family not in peer.families:
            self._refuse(peer, event.family, event.nlri, "family", now)
        elif event.family.is_vpn:
            self._receive_vpn(peer, event, now)
        else:
            self._receive_ce(peer, event, now)

    def _receive_vpn(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        refusal = refuse_core(peer.intent, event.attributes, self._router_id)
        hops = self._hops_to(event)
        if hops is None:
            refusal = refusal or "next-hop"
        importers = () if refusal else self._index.of(event.attributes.route_targets)
        if hops is None or not importers:
            # Not kept at all: what no VRF imports would only cost memory (RFC 4364 section 4.3.2).
            self._refuse(peer, event.family, event.nlri, refusal or UNIMPORTED, now)
            return
        for group in _by_rd_and_label(event.nlri):
            first = group[0]
            reason = refuse_vpn(first)
            if reason:
                self._refuse(peer, event.family, group, reason, now)
                continue
            path = self._path(peer, event, first.rd, hops[first.labels[0]], now)
            self._store(peer, event.family, first.rd, [n.prefix for n in group], path, importers)

    def _hops_to(self, event: RoutesReceived) -> dict[int, NextHopKey] | None:
        """Return the next hops at an address, by label; None if it is invalid (RFC 4271 s. 5.1.3).

        They are one object for all their routes, which makes comparing and counting cheap.
        """
        key = (event.next_hop, event.family)
        if key not in self._hops:
            if len(self._hops) >= MOST_HOPS:
                self._hops.clear()
            usable = event.next_hop not in self._own and can_be_next_hop(event.next_hop)
            self._hops[key] = _HopsByLabel(event.family.afi, event.next_hop) if usable else None
        return self._hops[key]

    def _path(
        self, peer: PeerState, event: RoutesReceived, rd: RouteDistinguisher | None,
        hop: NextHopKey, now: float,
    ) -> Path:  # fmt: skip
        """Return a path for this UPDATE, or the last one's if that was taken in the same turn."""
        path = Path(peer.source, event.attributes, hop, rd, now)
        last = self._last
        if last is not None and last.accepted == now and last.says_the_same_as(path):
            return last
        self._last = path
        return path

    def _receive_ce(self, peer: PeerState, event: RoutesReceived, now: float) -> None:
        vrf = self._vrfs[peer.intent.peer.vrf]
        port, links = vrf.port(peer.intent.port), vrf.cover
        refusal = refuse_ce(peer.intent, port, event.attributes, event.next_hop)
        if refusal:
            self._refuse(peer, event.family, event.nlri, refusal, now)
            return
        taken: list[Prefix] = []
        for nlri in event.nlri:
            reason = refuse_prefix(peer.intent, links, nlri.prefix)
            if reason is None:
                taken.append(nlri.prefix)
            else:
                self._refuse(peer, event.family, (nlri,), reason, now)
        hop = NextHopKey(event.family.afi, event.next_hop, device=peer.intent.port)
        path = Path(peer.source, clean_ce(peer.intent, event.attributes), hop, None, now)
        self._store(peer, event.family, None, taken, path, (vrf,))

    def _store(
        self, peer: PeerState, family: Family, rd: RouteDistinguisher | None,
        prefixes: list[Prefix], path: Path, importers: Importers,
    ) -> None:  # fmt: skip
        if peer.refused_routes.kept:
            peer.refused_routes.forget(family, rd, prefixes)
        news, replaced = peer.adj_in.put(family, rd, prefixes, path)
        for prefix, old in replaced:
            if not path.replaces(old) or (
                path.attributes.route_targets != old.attributes.route_targets
            ):
                # Putting the new path would not overwrite every trace of the old one.
                self._drop(prefix, old)
        refused = [vrf.offer(news, path) for vrf in importers]
        if refused and all(refused):
            full = set.intersection(*map(set, refused))
            peer.refused["route-limit"] += len(full)
            over = [Nlri(prefix, rd) for prefix in full]
            peer.refused_routes.note(family, over, "route-limit", path.accepted)
            for prefix in full:
                peer.adj_in.drop(family, rd, prefix)

    def _refuse(
        self, peer: PeerState, family: Family, nlri: Sequence[Nlri], reason: str, now: float
    ) -> None:
        peer.refused[reason] += len(nlri)
        self.withdraw(peer, family, nlri)
        if reason != UNIMPORTED:  # that is every route of every VPN that is not here
            peer.refused_routes.note(family, nlri, reason, now)

    # -- withdrawals --------------------------------------------------------------------------

    def withdraw(self, peer: PeerState, family: Family, nlri: Iterable[Nlri]) -> None:
        """Take routes of a peer out of its Adj-RIB-In and of every VRF."""
        for item in nlri:
            rd = item.rd if family.is_vpn else None
            if peer.refused_routes.kept:
                peer.refused_routes.forget(family, rd, (item.prefix,))
            path = peer.adj_in.drop(family, rd, item.prefix)
            if path is not None:
                self._drop(item.prefix, path)

    def discard(self, taken: Iterable[Held]) -> None:
        """Take paths that have left an Adj-RIB-In out of every VRF."""
        for _, prefix, path in taken:
            self._drop(prefix, path)

    def _drop(self, prefix: Prefix, path: Path) -> None:
        slot = path.slot
        for vrf in self._importers(path):
            vrf.table.drop(prefix, slot)

    def _importers(self, path: Path) -> Importers:
        if path.rd is not None:
            return self._index.of(path.attributes.route_targets)
        vrf = self._vrfs.get(path.source.vrf)
        return () if vrf is None else (vrf,)

    # -- after a change of intent -------------------------------------------------------------

    def restore(self, vrfs: Collection[Vrf], peers: Iterable[PeerState]) -> None:
        """Offer VRFs everything in the Adj-RIBs-In that belongs to them."""
        if not vrfs:
            return
        wanted = frozenset[RouteTarget]().union(*(vrf.intent.import_targets for vrf in vrfs))
        names = {vrf.name for vrf in vrfs}
        importers: dict[Path, list[Vrf]] = {}
        for peer in peers:
            if not peer.intent.peer.is_core and peer.intent.peer.vrf not in names:
                continue
            for family in peer.adj_in.families:
                for _, prefix, path in _belonging(peer, family, wanted):
                    if path not in importers:
                        importers[path] = [v for v in self._importers(path) if v.name in names]
                    for vrf in importers[path]:
                        vrf.offer([prefix], path)

    def forget_unimported(
        self, peers: Iterable[PeerState], targets: Set[RouteTarget], kept: Set[RouteTarget]
    ) -> None:
        """Drop what had an importer by one of these targets alone; nothing of it is in a table.
        What has one of the ``kept`` targets is imported by a VRF to come."""

        def stays(found: Targets) -> bool:
            return not kept.isdisjoint(found) or bool(self._index.of(found))

        for peer in peers:
            for family in peer.adj_in.families if peer.intent.peer.is_core else ():
                if family.is_vpn:
                    peer.adj_in.drop_unless(family, targets, stays)

    def reconsider(self, peer: PeerState) -> None:
        """Check a peer's routes against a new intent; those refused before were not kept."""
        for family in peer.adj_in.families:
            for rd, prefix, path in list(peer.adj_in.routes(family)):
                if self._refused_now(peer, prefix, path):
                    self.withdraw(peer, family, (Nlri(prefix, rd),))
                else:
                    self._mark_site(peer, family, prefix, path)

    def _refused_now(self, peer: PeerState, prefix: Prefix, path: Path) -> bool:
        intent = peer.intent
        if refuse_path(path.attributes, intent.local_as, intent.allow_as_in):
            return True
        vrf = intent.peer.vrf
        return bool(vrf) and refuse_prefix(intent, self._vrfs[vrf].cover, prefix) is not None

    def _mark_site(self, peer: PeerState, family: Family, prefix: Prefix, path: Path) -> None:
        sites = sites_of_origin(peer.intent)
        if path.rd is not None or path.attributes.sites_of_origin == sites:
            return
        attributes = msgspec.structs.replace(path.attributes, sites_of_origin=sites)
        marked = msgspec.structs.replace(path, attributes=attributes)
        self._store(peer, family, None, [prefix], marked, self._importers(path))


class _HopsByLabel(dict[int, NextHopKey]):
    def __init__(self, afi: Afi, address: IPAddress) -> None:
        super().__init__()
        self._afi, self._address = afi, address

    def __missing__(self, label: int) -> NextHopKey:
        if len(self) >= MOST_HOPS:
            self.clear()
        self[label] = hop = NextHopKey(self._afi, self._address, label)
        return hop


def _belonging(peer: PeerState, family: Family, targets: Set[RouteTarget]) -> Iterator[Held]:
    """Yield at least the routes of a peer with one of these targets; of a CE, all."""
    if not family.is_vpn:
        return peer.adj_in.routes(family)
    return peer.adj_in.routes_with(family, lambda found: not targets.isdisjoint(found))


def _by_rd_and_label(nlri: list[Nlri]) -> Iterable[list[Nlri]]:
    """Return routes that can share a path. Most UPDATEs are of one RD and label throughout."""
    if len(nlri) < 2:
        return (nlri,) if nlri else ()
    first = nlri[0]
    rd, labels = first.rd, first.labels
    if all(n.rd is rd and n.labels is labels for n in nlri):
        return (nlri,)
    groups: dict[tuple[RouteDistinguisher | None, tuple[int, ...]], list[Nlri]] = {}
    for item in nlri:
        groups.setdefault((item.rd, item.labels), []).append(item)
    return groups.values()
