"""What the rooms of the router share: the tables, and the effects of the turn that is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from controlplane.bgp.adj_rib_out import CoreRibOut, UpdateGroupMember
from controlplane.bgp.ce_rib_out import CeRibOut
from controlplane.bgp.peer_state import Attention, PeerState
from controlplane.model.effects import (
    ConfigureSpeakers,
    Effect,
    Effects,
    LogEvent,
    RequestRefresh,
    Save,
)
from controlplane.model.events import Event
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import NodeIntent, PeerIntent
from controlplane.model.label import LabelLedger
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress
from controlplane.model.workload import (
    RemoteEndpointsChanged,
    WorkloadAttached,
    WorkloadDetached,
)
from controlplane.routing.pending_vrfs import PendingVrfs
from controlplane.routing.route_import import RouteImport
from controlplane.vpn.next_hop_resolver import NextHopResolver
from controlplane.vpn.next_hop_tracker import NextHopTracker
from controlplane.vpn.table_index import TableIndex
from controlplane.vpn.vrf import Vrf
from controlplane.vpn.workloads import Workloads


class Proposal(NamedTuple):
    """A change that counts once the store has written it."""

    saves: tuple[Save, ...]
    commit: Callable[[], None]
    refuse: Callable[[str], None]


class RouterState:
    """Everything that the router knows. One owner: the router's turn."""

    def __init__(self, ledger: LabelLedger) -> None:
        self.intent: NodeIntent | None = None
        self.vrfs: dict[str, Vrf] = {}
        self.index = TableIndex()
        self.peers: dict[PeerId, PeerState] = {}
        self.peers_at: dict[str, list[PeerId]] = {}  # by CE port
        self.core: tuple[PeerState, ...] = ()  # those of them that are PEs and reflectors
        self.attention: Attention = {}
        self.ce_pending: dict[PeerId, CeRibOut] = {}
        self.ledger = ledger
        self.underlay = NextHopResolver()
        self.hops = NextHopTracker(self.underlay)
        self.route_import = RouteImport(self.vrfs)
        self.foreign_labels: set[int] = set()  # that other programs of this machine route
        self.workloads = Workloads()
        self.core_out = CoreRibOut()
        self.ce_out: dict[str, dict[PeerId, CeRibOut]] = {}  # by VRF
        self.to_replay: dict[PeerId, frozenset[Family]] = {}  # core peers that get everything
        self.new_sessions: set[PeerId] = set()  # in this turn
        self.pending = PendingVrfs()
        self.remade: set[str] = set()  # pending VRFs whose device is made anew
        self.in_sync = False
        self.now = Instant(float("-inf"), 0.0, BootTime("", 0.0))
        self.effects = Effects()
        self.proposal: Proposal | None = None
        self.resumed: deque[Event] = deque()
        self.remote_endpoints: list[RemoteEndpointsChanged] = []  # in this turn
        self._configured: dict[str, tuple[PeerIntent, ...]] = {}  # sessions by VRF, none empty
        self._restart_time = 0

    def begin(self, now: Instant) -> None:
        """Begin an iteration."""
        self.now, self.effects = now, Effects()
        self.new_sessions.clear()
        self.remote_endpoints = []

    def act(self, effect: Effect) -> None:
        """Have something done."""
        self.effects.actions.append(effect)

    def notice(self, level: str, event: str, **fields: str | int) -> None:
        """Have something logged."""
        self.act(LogEvent(level, event, fields))

    def propose(
        self, saves: Sequence[Save], commit: Callable[[], None], refuse: Callable[[str], None]
    ) -> None:
        """Have something saved, then ``commit``, or ``refuse`` it; events wait meanwhile."""
        assert self.proposal is None  # noqa: S101 - one change at a time: events wait for it
        self.proposal = Proposal(tuple(saves), commit, refuse)

    @property
    def is_proposing(self) -> bool:
        """Whether a change waits for the store."""
        return self.proposal is not None

    def resume(self, events: Iterable[Event]) -> None:
        """Take these events next."""
        self.resumed.extend(events)

    def lay(self, routes: WorkloadAttached | WorkloadDetached) -> None:
        """Lay or withdraw the routes of a workload."""
        if isinstance(routes, WorkloadAttached):
            self.workloads.attach(routes, self.vrfs)
        else:
            self.workloads.detach(routes.name, self.vrfs)

    @property
    def tables(self) -> dict[str, int]:
        """The kernel tables of the VRFs, by name."""
        return {vrf.name: vrf.number for vrf in self.vrfs.values()}

    def table_of(self, vrf: str) -> int:
        """Return the kernel table of a VRF, 0 where there is none."""
        return self.vrfs[vrf].number if vrf in self.vrfs else 0

    def core_peers(self) -> Iterator[PeerState]:
        """Return the sessions with PEs and reflectors that are up."""
        return (p for p in self.core if p.up)

    def peers_of(self, vrf: str) -> Iterable[PeerState]:
        """Return the sessions of one VRF; "" is the core."""
        return (self.peers[name] for name in self.ce_out.get(vrf, ())) if vrf else self.core

    def listeners(self) -> list[UpdateGroupMember]:
        """Return the core peers that receive our sites' routes, each with what it is owed."""
        owed, self.to_replay = self.to_replay, {}
        peers = (p for p in self.core_peers() if not p.intent.is_ebgp)  # RFC 8212: no policy
        return [self._listener(p, owed.get(p.intent.peer, frozenset())) for p in peers]

    def _listener(self, peer: PeerState, owed: frozenset[Family]) -> UpdateGroupMember:
        name, new = peer.intent.peer, peer.intent.peer in self.new_sessions
        return UpdateGroupMember(name, peer.families, self.next_hops(peer), owed, new)

    def next_hops(self, peer: PeerState) -> dict[Family, IPAddress]:
        """Return the address of this PE that a core peer gets as next hop, for each family."""
        assert self.intent is not None  # noqa: S101 - a peer comes with the intent
        can = peer.ipv6_next_hops
        return {f: self.intent.next_hop(peer.intent.peer, f, can) for f in peer.families}

    def ce_rib_out(self, peer: PeerId) -> CeRibOut | None:
        """Return what is advertised to a CE, None for a core peer."""
        return self.ce_out.get(peer.vrf, {}).get(peer)

    def ask_again(self, peer: PeerState) -> None:
        """Ask a peer for its routes once more (RFC 2918)."""
        if not peer.up:
            return
        name = peer.intent.peer
        if not peer.route_refresh:
            self.notice("warning", "route_refresh_unsupported", peer=str(name), cure="clear it")
            return
        for family in sorted(peer.families, key=lambda f: f.value):
            self.act(RequestRefresh(name, family))

    def configure_speakers(self, vrfs: Iterable[str]) -> None:
        """Say which sessions should exist in these VRFs ("" is the core), where that is news."""
        restart_time = self.intent.restart_time if self.intent else 0
        is_another = restart_time != self._restart_time
        news: dict[str, tuple[PeerIntent, ...]] = {}
        for vrf in dict.fromkeys((*vrfs, *self._configured) if is_another else vrfs):
            wanted, before = self._ready_sessions(vrf), self._configured.pop(vrf, ())
            if wanted:
                self._configured[vrf] = wanted
            if wanted != before or (wanted and is_another):
                news[vrf] = wanted
        self._restart_time = restart_time
        if news:
            self.act(ConfigureSpeakers(news, restart_time))

    def _ready_sessions(self, vrf: str) -> tuple[PeerIntent, ...]:
        """Return which sessions a VRF may have now.

        A session of a VRF that the kernel does not hold yet stays as it was: its guard comes first.
        Where the VRF's device is made anew it ends: a socket stays bound to the former device, and
        a session over it was "established" until its hold time ran out.
        """
        wanted = tuple(peer.intent for peer in self.peers_of(vrf) if not peer.disabled)
        if vrf not in self.pending:
            self.remade.discard(vrf)
            return wanted
        configured = () if vrf in self.remade else self._configured.get(vrf, ())
        before = {peer.peer: peer for peer in configured}
        return tuple(before[peer.peer] for peer in wanted if peer.peer in before)
