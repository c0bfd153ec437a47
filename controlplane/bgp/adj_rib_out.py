"""Adj-RIB-Out of the core peers: the site routes of every VRF (RFC 4364 section 4.3)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from controlplane.bgp.outbound import may_leave, to_core
from controlplane.bgp.path import BestPathChange, Path
from controlplane.bgp.sent_routes import SentRoutes, Unsaid, pack
from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import Announce, Effect, Withdraw
from controlplane.model.label import Label
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget

VPN = {afi: Family.of(afi, vpn=True) for afi in Afi}

Families: TypeAlias = frozenset[Family]
Message: TypeAlias = tuple[Family, Attributes, list[Nlri]]
Lacking: TypeAlias = frozenset[PeerId]
Withdrawn: TypeAlias = dict[tuple[Family, Lacking], list[Nlri]]
"""Routes that are gone; the peers that lack them get no withdrawal."""


class UpdateGroupMember(msgspec.Struct, frozen=True):
    """A core peer that is up. Of ``asked`` families it gets everything: it asked (RFC 2918), or
    ``is_new`` and knows nothing. ``next_hops`` are this PE's addresses, for each family."""

    peer: PeerId
    families: Families
    next_hops: Mapping[Family, IPAddress]
    asked: Families = frozenset()
    is_new: bool = False


class ExportMark(msgspec.Struct, frozen=True):
    """What the exported routes of a VRF carry, and whether its links' prefixes are among them."""

    rd: RouteDistinguisher
    label: Label
    targets: frozenset[RouteTarget]
    connected: bool = False

    def lets_out(self, path: Path | None) -> bool:
        """Return True for what this PE's own sites have; a link's own prefix only where asked
        for."""
        if path is None or not path.source.vrf or not may_leave(path):
            return False
        return self.connected or not path.is_connected


class VrfExport:
    """The routes of one VRF that are to be announced."""

    def __init__(self, mark: ExportMark) -> None:
        self.mark = mark
        self.sent = SentRoutes()
        self.unsaid: Unsaid = []
        # Peers whose session came up while the VRF was held: they have none of its routes yet.
        self.lacking: Lacking = frozenset()

    def change(self, changes: Iterable[BestPathChange]) -> None:
        """Take in changed best paths of the VRF."""
        for prefix, old, new in changes:
            if (new is not None and new.source.vrf) or (old is not None and old.source.vrf):
                self.sent.put(prefix, new if self.mark.lets_out(new) else None)

    def messages(self, groups: dict[Path, list[Prefix]]) -> list[Message]:
        """Return announcements for these paths."""
        rd, labels, targets = self.mark.rd, (int(self.mark.label),), self.mark.targets
        return [
            (VPN[afi], attributes, [Nlri(prefix, rd, labels) for prefix in prefixes])
            for afi, attributes, prefixes in pack(
                groups, lambda p: to_core(p, targets), self.unsaid
            )
        ]


class CoreRibOut:
    """One Adj-RIB-Out for all core peers: each receives all routes of its families."""

    def __init__(self) -> None:
        self._exports: dict[str, VrfExport] = {}
        self._owners: dict[tuple[RouteDistinguisher | None, tuple[int, ...]], VrfExport] = {}
        self._changed: dict[str, None] = {}
        self._unsaid: dict[str, None] = {}
        self._orphans: list[tuple[Nlri, Lacking]] = []

    def mark(self, vrf: str, mark: ExportMark) -> None:
        """Set how a VRF's routes are announced; routes announced otherwise are announced again.

        Other targets replace what peers have, without a gap (RFC 4271 section 3.1); under another
        RD it is another route, and the old one is withdrawn. So is the route of another label:
        reflectors that suppress duplicate UPDATEs compare attributes, which a label is none of,
        and would never pass it on (seen with FRR).
        """
        export, self._changed[vrf] = self._exports.get(vrf), None
        if export is None:
            self._exports[vrf] = VrfExport(mark)
        elif export.mark.rd != mark.rd:
            self.forget(vrf)
            self._exports[vrf] = moved = VrfExport(mark)
            for prefix, path in export.sent.paths.items():
                moved.sent.put(prefix, path)
        else:
            before, export.mark = export.mark, mark
            self._disown(before, export)
            if before.label != mark.label:
                self._orphans += _as_sent(export, before)
            if (before.label, before.targets) != (mark.label, mark.targets):
                export.sent.renew()
        # Another VRF may take over an RD: under the same label its routes replace those sent.
        self._owners[mark.rd, (int(mark.label),)] = self._exports[vrf]

    def _disown(self, mark: ExportMark, export: VrfExport) -> None:
        key = (mark.rd, (int(mark.label),))
        if self._owners.get(key) is export:
            del self._owners[key]

    def forget(self, vrf: str) -> None:
        """Withdraw all routes of a VRF, under the RD that they were announced with."""
        export = self._exports.pop(vrf, None)
        if export is not None:
            self._disown(export.mark, export)
            self._orphans += _as_sent(export, export.mark)

    def renew(self) -> None:
        """Announce everything again, as after a change of the node's own address."""
        for export in self._exports.values():
            export.sent.renew()
        self._changed.update(dict.fromkeys(self._exports))

    def change(self, vrf: str, changes: Iterable[BestPathChange]) -> None:
        """Take in changed best paths of a VRF."""
        export = self._exports[vrf]
        try:
            export.change(changes)
        finally:  # what came before one that raises is taken in
            if export.sent.is_pending:
                self._changed[vrf] = None

    @property
    def has_news(self) -> bool:
        """Whether peers that are up are to be sent anything that they have not asked for."""
        return bool(self._changed or self._orphans)

    def flush(
        self, listeners: Sequence[UpdateGroupMember], held: Container[str] = ()
    ) -> list[Effect]:
        """Return the updates for all peers that are up, withdrawals first.

        Of the VRFs in ``held`` only withdrawals leave; the rest leaves once they are not held.
        """
        gone, news = self._drain(held)
        new = frozenset(one.peer for one in listeners if one.is_new)
        asked = any(one.asked for one in listeners)
        everything = self._everything(held, new) if asked else []
        effects: list[Effect] = []
        for one in listeners:
            knows = frozenset() if one.is_new else one.families
            effects += [
                Withdraw(one.peer, family, nlri)
                for (family, lacking), nlri in gone.items()
                if family in knows and one.peer not in lacking
            ]
            effects += _announce(one, one.families - one.asked, news)
            effects += _announce(one, one.families & one.asked, everything)
        return effects

    def announced(self, vrf: str, peer: PeerId) -> tuple[ExportMark, list[tuple[Prefix, Path]]]:
        """Return the routes of a VRF that a peer which is up has, and what they carry."""
        export = self._exports[vrf]
        return export.mark, [] if peer in export.lacking else export.sent.current()

    def take_unsaid(self) -> list[tuple[str, Unsaid]]:
        """Return the prefixes of each VRF that could not be announced since the last call."""
        found = [(name, self._exports[name].unsaid) for name in self._unsaid]
        for name, _ in found:
            self._exports[name].unsaid = []
        self._unsaid.clear()
        return found

    def _drain(self, held: Container[str]) -> tuple[Withdrawn, list[Message]]:
        gone, self._orphans = self._orphans, []
        changed, self._changed = self._changed, {}
        news: list[Message] = []
        for vrf in changed:
            export = self._exports.get(vrf)
            if export is None:
                continue
            rd, lacking = export.mark.rd, export.lacking
            gone += [(Nlri(prefix, rd), lacking) for prefix in export.sent.drain_withdrawn()]
            if vrf not in held:
                news += self._messages(vrf, export, export.sent.drain()[1])
                export.lacking = frozenset()
            elif export.sent.is_pending:
                self._changed[vrf] = None
        return self._withdrawn(gone), news

    def _withdrawn(self, gone: Iterable[tuple[Nlri, Lacking]]) -> Withdrawn:
        """Join the withdrawals that go to the same peers; what another VRF replaces is none.

        A route that a peer lacks is not replaced: who has what would be no longer known.
        """
        found: Withdrawn = {}
        for nlri, lacking in gone:
            taker = None if lacking else self._owners.get((nlri.rd, nlri.labels))
            if taker is None or not taker.sent.replaces(nlri.prefix):
                key = (VPN[nlri.prefix.afi], lacking)
                found.setdefault(key, []).append(Nlri(nlri.prefix, nlri.rd))
        return found

    def _messages(
        self, vrf: str, export: VrfExport, groups: dict[Path, list[Prefix]]
    ) -> list[Message]:
        found = export.messages(groups)
        if export.unsaid:
            self._unsaid[vrf] = None
        return found

    def _everything(self, held: Container[str], new: Lacking) -> list[Message]:
        found: list[Message] = []
        for vrf, export in self._exports.items():
            if vrf in held:
                export.sent.renew()  # the peer that asked gets them with the others, later
                export.lacking |= new
                self._changed[vrf] = None
            else:
                found += self._messages(vrf, export, export.sent.everything())
        return found

    def count(self, family: Family) -> int:
        """Return how many routes of a family are announced."""
        prefixes = (prefix for export in self._exports.values() for prefix in export.sent.paths)
        return sum(VPN[prefix.afi] is family for prefix in prefixes)


def _as_sent(export: VrfExport, mark: ExportMark) -> list[tuple[Nlri, Lacking]]:
    """Return the routes that peers have of a VRF, with the label that it was marked with."""
    labels, lacking = (int(mark.label),), export.lacking
    return [(Nlri(prefix, mark.rd, labels), lacking) for prefix in export.sent.known()]


def _announce(one: UpdateGroupMember, families: Families, messages: list[Message]) -> list[Effect]:
    return [
        Announce(one.peer, family, one.next_hops[family], attributes, nlri)
        for family, attributes, nlri in messages
        if family in families
    ]
