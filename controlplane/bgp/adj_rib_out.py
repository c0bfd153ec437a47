"""What peers have been told. Changes gather, then leave grouped by path: few UPDATEs, many NLRI."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from controlplane.bgp.outbound import ce_attributes, to_ce, to_core
from controlplane.bgp.path import Path
from controlplane.model.attributes import Nlri
from controlplane.model.effects import Announce, Effect, Withdraw
from controlplane.model.intent import CePortIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix
from controlplane.vpn.vrf import Vrf


class CoreRibOut:
    """The site routes of every VRF as all PEs and reflectors are told them."""

    def __init__(self) -> None:
        self._sent: dict[str, dict[Prefix, Path]] = {}
        self._announce: dict[tuple[str, Path, Afi], list[Prefix]] = {}
        self._withdraw: dict[tuple[str, Afi], list[Nlri]] = {}

    def change(self, vrf: Vrf, prefix: Prefix, best: Path | None) -> None:
        """The VRF's best path for a prefix is now this one."""
        sent = self._sent.setdefault(vrf.name, {})
        path = best if best is not None and exportable(vrf, best) else None
        if path is sent.get(prefix):
            return
        if path is None:
            del sent[prefix]
            self._withdraw.setdefault((vrf.name, prefix.afi), []).append(
                Nlri(prefix, vrf.intent.rd)
            )
        else:
            sent[prefix] = path
            self._announce.setdefault((vrf.name, path, prefix.afi), []).append(prefix)

    def forget(self, vrf: Vrf) -> None:
        """Withdraw all of a VRF, under the RD that it had when it was announced."""
        for prefix in self._sent.pop(vrf.name, {}):
            self._withdraw.setdefault((vrf.name, prefix.afi), []).append(
                Nlri(prefix, vrf.intent.rd)
            )

    def flush(
        self, vrfs: dict[str, Vrf], peers: Iterable[tuple[PeerId, frozenset[Family]]],
        loopback: IPv4Address,
    ) -> list[Effect]:  # fmt: skip
        """The words for all peers that are up; withdrawals first."""
        groups, gone = self._announce, self._withdraw
        self._announce, self._withdraw = {}, {}
        effects: list[Effect] = []
        for peer, families in peers:
            effects += _withdrawals(peer, families, gone)
            effects += self._announcements(peer, families, groups, vrfs, loopback)
        return effects

    def replay(
        self, peer: PeerId, families: frozenset[Family], vrfs: dict[str, Vrf], loopback: IPv4Address
    ) -> list[Effect]:
        """Everything, for a peer that has nothing yet or asked for it again (RFC 2918)."""
        groups: dict[tuple[str, Path, Afi], list[Prefix]] = {}
        for name, sent in self._sent.items():
            for prefix, path in sent.items():
                groups.setdefault((name, path, prefix.afi), []).append(prefix)
        return self._announcements(peer, families, groups, vrfs, loopback)

    def _announcements(
        self, peer: PeerId, families: frozenset[Family],
        groups: dict[tuple[str, Path, Afi], list[Prefix]], vrfs: dict[str, Vrf],
        loopback: IPv4Address,
    ) -> list[Effect]:  # fmt: skip
        effects: list[Effect] = []
        for (name, path, afi), prefixes in groups.items():
            family, vrf = Family.of(afi, vpn=True), vrfs.get(name)
            if vrf is None or family not in families:
                continue
            attributes = to_core(path, vrf.intent.export_targets)
            current = self._sent.get(name, {})
            labels = (int(vrf.label),)
            nlri = [Nlri(p, vrf.intent.rd, labels) for p in prefixes if current.get(p) is path]
            if attributes is not None and nlri:
                effects.append(Announce(peer, family, loopback, attributes, nlri))
        return effects

    def count(self, family: Family) -> int:
        """How many routes of a family are announced."""
        return sum(p.afi is family.afi for sent in self._sent.values() for p in sent)


def exportable(vrf: Vrf, path: Path) -> bool:
    """True for what this PE's own sites have; a link's own prefix only where it is asked for."""
    if not path.source.is_local or to_core(path, frozenset()) is None:
        return False
    return not path.is_connected or vrf.intent.advertise_connected


def _withdrawals(
    peer: PeerId, families: frozenset[Family], gone: dict[tuple[str, Afi], list[Nlri]]
) -> list[Effect]:
    return [
        Withdraw(peer, family, nlri)
        for (_, afi), nlri in gone.items()
        if (family := Family.of(afi, vpn=True)) in families
    ]


class CeRibOut:
    """What one CE has been told of its VRF."""

    def __init__(self, peer: PeerIntent, port: CePortIntent | None) -> None:
        self.peer = peer
        self._port = port
        self._sent: dict[Prefix, Path] = {}
        self._announce: dict[tuple[Path, Afi], list[Prefix]] = {}
        self._withdraw: dict[Afi, list[Nlri]] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def change(self, vrf: Vrf, prefix: Prefix, best: Path | None) -> None:
        """The VRF's best path for a prefix is now this one."""
        allowed = best is not None and self._allowed(vrf, prefix, best)
        if best is not None and allowed:
            if self._sent.get(prefix) is not best:
                self._sent[prefix] = best
                self._announce.setdefault((best, prefix.afi), []).append(prefix)
        elif self._sent.pop(prefix, None) is not None:
            self._withdraw.setdefault(prefix.afi, []).append(Nlri(prefix))

    def replay(self, vrf: Vrf) -> None:
        """Forget what was told and tell everything."""
        self.reset()
        for prefix, best in vrf.table.best.items():
            self.change(vrf, prefix, best)

    def take_over(self, old: CeRibOut, vrf: Vrf) -> None:
        """Follow one of another policy on the same session: withdraw what is no longer allowed."""
        for prefix, best in vrf.table.best.items():
            self.change(vrf, prefix, best)
        for prefix in old._sent.keys() - self._sent.keys():
            self._withdraw.setdefault(prefix.afi, []).append(Nlri(prefix))

    def reset(self) -> None:
        """The session is gone, and with it all that was told."""
        self._sent, self._announce, self._withdraw = {}, {}, {}

    def flush(self, families: frozenset[Family]) -> list[Effect]:
        """The words that have gathered; a family that was not negotiated is left out."""
        groups, gone = self._announce, self._withdraw
        self._announce, self._withdraw = {}, {}
        effects: list[Effect] = [
            Withdraw(self.peer.peer, family, nlri)
            for afi, nlri in gone.items()
            if (family := Family.of(afi, vpn=False)) in families
        ]
        for (path, afi), prefixes in groups.items():
            family, next_hop = Family.of(afi, vpn=False), self._next_hop(afi)
            nlri = [Nlri(prefix) for prefix in prefixes if self._sent.get(prefix) is path]
            if next_hop is not None and family in families and nlri:
                attributes = ce_attributes(self.peer, path.attributes)
                effects.append(Announce(self.peer.peer, family, next_hop, attributes, nlri))
        return effects

    def _allowed(self, vrf: Vrf, prefix: Prefix, best: Path) -> bool:
        if best.is_connected and not vrf.intent.advertise_connected:
            return False
        return to_ce(self.peer, best, prefix) is not None

    def _next_hop(self, afi: Afi) -> IPAddress | None:
        """Next hop self; for the other family, our address of that family on the same link."""
        local = self.peer.local_address
        if (local.version == 4) is (afi is Afi.IPV4):
            return local
        addresses = self._port.addresses if self._port else ()
        return next((a.ip for a in addresses if (a.version == 4) is (afi is Afi.IPV4)), None)
