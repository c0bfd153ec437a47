"""Adj-RIB-Out of one CE: routes of its VRF, by the policy of its session."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.bgp.outbound import ce_attributes, may_go_to_ce
from controlplane.bgp.path import BestPathChange, Path
from controlplane.bgp.sent_routes import SentRoutes, Unsaid, pack
from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.effects import Announce, Effect, Withdraw
from controlplane.model.intent import CePortIntent, PeerIntent
from controlplane.model.martians import is_unique
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family, IPAddress, Prefix, afi_of

UNICAST = {afi: Family.of(afi, vpn=False) for afi in Afi}


class CeRibOut:
    """Adj-RIB-Out of a CE session; empty while the session is down."""

    def __init__(
        self, peer: PeerIntent, port: CePortIntent | None, *, connected: bool,
        pending: dict[PeerId, CeRibOut] | None = None,
    ) -> None:  # fmt: skip
        self.peer = peer
        self._pending_outs = {} if pending is None else pending
        self._port = port
        self._connected = connected
        self._hops: dict[Afi, IPAddress] | None = None
        self._families: frozenset[Family] = frozenset()
        self.sent = SentRoutes()
        self.unsaid: Unsaid = []

    def __len__(self) -> int:
        return len(self.sent)

    def count(self, family: Family) -> int:
        """Return the number of routes of a family that were sent."""
        return sum(UNICAST[prefix.afi] is family for prefix in self.sent.paths)

    @property
    def _next_hops(self) -> dict[Afi, IPAddress]:
        """Our addresses on the session's link, which a start needs of no session yet."""
        if self._hops is None:
            self._hops = _next_hops(self.peer, self._port)
        return self._hops

    @property
    def is_open(self) -> bool:
        """True while the session is up."""
        return bool(self._families)

    def open(self, families: frozenset[Family], best: dict[Prefix, Path]) -> None:
        """Announce the whole VRF: the session is up."""
        self.reset()
        self._families = families
        self.change((prefix, None, path) for prefix, path in best.items())

    def reset(self) -> None:
        """Forget everything sent: the session is gone."""
        self.sent.clear()
        self._families = frozenset()

    def renew(self, families: frozenset[Family]) -> None:
        """Announce everything of these families again (RFC 2918)."""
        self.sent.renew({family.afi for family in families})
        self._note()

    def reconfigure(
        self, peer: PeerIntent, port: CePortIntent | None, *, connected: bool,
        best: dict[Prefix, Path],
    ) -> None:  # fmt: skip
        """Take another intent: withdraw what it no longer allows, keep the rest."""
        if (self.peer, self._port, self._connected) == (peer, port, connected):
            return
        before = (_manner(self.peer), self._next_hops)
        self.peer, self._port, self._connected = peer, port, connected
        self._hops = None
        if before != (_manner(peer), self._next_hops):
            self.sent.renew()
        self.change((prefix, None, path) for prefix, path in best.items())

    def change(self, changes: Iterable[BestPathChange]) -> None:
        """Take in changed best paths of the VRF."""
        if not self._families:
            return
        for prefix, _, new in changes:
            allowed = new is not None and self._allowed(prefix, new)
            self.sent.put(prefix, new if allowed else None)
        self._note()

    def _note(self) -> None:
        if self.sent.is_pending:
            self._pending_outs[self.peer.peer] = self

    def flush(self, *, hold: bool = False) -> list[Effect]:
        """Return the pending updates, withdrawals first; with ``hold`` withdrawals alone."""
        name, gone = self.peer.peer, self.sent.drain_withdrawn()
        groups = {} if hold else self.sent.drain()[1]
        self._note()
        effects: list[Effect] = []
        for afi, family in UNICAST.items():
            nlri = [Nlri(prefix) for prefix in gone if prefix.afi is afi]
            if nlri:
                effects.append(Withdraw(name, family, nlri))
        for afi, attributes, prefixes in pack(groups, self._attributes, self.unsaid):
            nlri = [Nlri(prefix) for prefix in prefixes]
            effects.append(Announce(name, UNICAST[afi], self._next_hops[afi], attributes, nlri))
        return effects

    def announced(self) -> list[tuple[Prefix, Path]]:
        """Return the routes that the CE has."""
        return self.sent.current()

    def as_sent(self, prefix: Prefix, path: Path) -> tuple[IPAddress, Attributes]:
        """Return the next hop and the attributes with which the CE gets a path."""
        return self._next_hops[prefix.afi], self._attributes(path)

    def take_unsaid(self) -> Unsaid:
        """Return the prefixes that could not be announced since the last call."""
        unsaid, self.unsaid = self.unsaid, []
        return unsaid

    def _attributes(self, path: Path) -> Attributes:
        return ce_attributes(self.peer, path.attributes)

    def _allowed(self, prefix: Prefix, path: Path) -> bool:
        afi = prefix.afi
        if UNICAST[afi] not in self._families or afi not in self._next_hops:
            return False
        if path.is_connected and not self._connected:
            return False
        if self.peer.internet and not is_unique(prefix):
            return False
        if path.source.is_workload and path.hop.device == self.peer.port:
            return False  # the CE reaches it without us: behind it, or on the link
        return self.peer.export_policy.accepts(prefix) and may_go_to_ce(self.peer, path)


def _manner(peer: PeerIntent) -> object:
    """Return the part of a session's intent that changes the attributes sent to it."""
    return (peer.asn, peer.local_as, peer.as_override, peer.remove_private_as)


def _next_hops(peer: PeerIntent, port: CePortIntent | None) -> dict[Afi, IPAddress]:
    """Next hop self; for the other family, our address of that family on the same link."""
    addresses = [i.ip for i in port.addresses] if port else []
    found: dict[Afi, IPAddress] = {}
    for address in (peer.local_address, *addresses):
        found.setdefault(afi_of(address), address)
    return found
