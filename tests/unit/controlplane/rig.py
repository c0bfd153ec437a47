"""A router on the bench: intents in a few words, events by name, and what the peers and the kernel
would have by now. Pure; shared by the unit and the property tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address, ip_interface
from typing import Any, TypeVar

import msgspec

from controlplane.model.attributes import AsSegment, Attributes, Nlri
from controlplane.model.desired import Delta, Desired, NextHopKey
from controlplane.model.effects import (
    Announce,
    ConfigureSpeakers,
    Effect,
    Effects,
    LogEvent,
    Withdraw,
)
from controlplane.model.events import (
    EndOfRib,
    Event,
    IntentChanged,
    PortChanged,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    TimePassed,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
    VrfsHeld,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import (
    ACCEPT_ANY,
    CePortIntent,
    CorePortIntent,
    NodeIntent,
    PeerIntent,
    StaticRouteIntent,
    VrfIntent,
)
from controlplane.model.label import LabelBlock, LabelLedger
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, Prefix, parse_prefix
from controlplane.model.rd import RouteTarget, parse_rd, parse_rt
from controlplane.model.workload import WorkloadAttached, WorkloadDetached
from controlplane.router import Router
from tests.turns import decide

V4, V6 = Family.IPV4_UNICAST, Family.IPV6_UNICAST
VPN4, VPN6 = Family.IPV4_VPN, Family.IPV6_VPN
OWN_AS = 65000
LOOPBACK = IPv4Address("10.255.0.1")
PE2, PE3 = PeerId("", ip_address("10.255.0.2")), PeerId("", ip_address("10.255.0.3"))

E = TypeVar("E")
Told = dict[Prefix | tuple[object, Prefix], tuple[IPAddress, Attributes, tuple[int, ...]]]


def prefix(text: str) -> Prefix:
    return parse_prefix(text)


def targets(*texts: str) -> frozenset[RouteTarget]:
    return frozenset(map(parse_rt, texts))


def path_of(*asns: int) -> tuple[AsSegment, ...]:
    return (AsSegment("sequence", asns),) if asns else ()


def vpn_attributes(*rts: str, asns: tuple[int, ...] = (), **more: Any) -> Attributes:
    more.setdefault("local_pref", 100)
    return Attributes(route_targets=targets(*rts), as_path=path_of(*asns), **more)


def pe_peer(peer: PeerId = PE2, **more: Any) -> PeerIntent:
    more.setdefault("families", (VPN4, VPN6))
    return PeerIntent(peer=peer, asn=OWN_AS, local_as=OWN_AS, local_address=LOOPBACK, **more)


def ce_peer(vrf: str, address: str, asn: int = 65101, *, port: str = "", **more: Any) -> PeerIntent:
    more.setdefault("import_policy", ACCEPT_ANY)
    more.setdefault("export_policy", ACCEPT_ANY)
    more.setdefault("families", (V4,))
    local = more.pop("local_address", ip_address(address) - 1)
    return PeerIntent(
        peer=PeerId(vrf, ip_address(address)), asn=asn, local_as=OWN_AS,
        local_address=local, port=port or f"{vrf}-ce", **more,
    )  # fmt: skip


def port(name: str, vrf: str, *addresses: str) -> CePortIntent:
    return CePortIntent(name=name, vrf=vrf, addresses=tuple(map(ip_interface, addresses)))


def static(text: str, via: str | None = None, port: str = "") -> StaticRouteIntent:
    hop = ip_address(via) if via else None
    return StaticRouteIntent(prefix=prefix(text), via=hop, port=port)


def vrf(name: str, number: int, **more: Any) -> VrfIntent:
    """A VRF with one port NAME-ce (192.0.2.1/30) and RT 65000:NUMBER unless told otherwise."""
    more.setdefault("import_targets", targets(f"65000:{number}"))
    more.setdefault("export_targets", targets(f"65000:{number}"))
    more.setdefault("ports", (port(f"{name}-ce", name, "192.0.2.1/30"),))
    return VrfIntent(name=name, rd=more.pop("rd", parse_rd(f"65000:{number}")), **more)


def node(*vrfs: VrfIntent, peers: Iterable[PeerIntent] | None = None, **more: Any) -> NodeIntent:
    more.setdefault("label_block", LabelBlock(16000, 16099))
    more.setdefault("core_ports", tuple(CorePortIntent(name=f"core{i}") for i in range(10)))
    return NodeIntent(
        name="pe1", router_id=LOOPBACK, asn=OWN_AS, loopback=LOOPBACK, vrfs=vrfs,
        peers=(pe_peer(),) if peers is None else tuple(peers), **more,
    )  # fmt: skip


class Rig:
    """The router, and the sum of all that it ever said."""

    def __init__(self, *vrfs: VrfIntent, ledger: LabelLedger | None = None, **more: Any) -> None:
        self.router = Router(ledger)
        self.now = 0.0
        self.wall = 1_000_000.0
        self.boot = BootTime("boot-1", 0.0)
        self.kernel = Desired()
        self.advertised: dict[PeerId, Told] = {}
        self.sessions: dict[str, tuple[PeerIntent, ...]] = {}
        self.last = Effects()
        self.slow = False  # while it is, the kernel reports no VRF
        if vrfs or more:
            self.reload(node(*vrfs, **more))

    # -- events -------------------------------------------------------------------------------

    def do(self, *events: Event | WorkloadAttached | WorkloadDetached) -> Effects:
        self.last = decide(self.router, self._laid(events), self.instant, slow=self.slow)
        self.kernel.apply(self.last.delta)
        for action in self.last.actions:
            self._receive(action)
        return self.last

    @property
    def instant(self) -> Instant:
        return Instant(self.now, self.wall, self.boot)

    def _laid(self, events: tuple[Event | WorkloadAttached | WorkloadDetached, ...]) -> list[Event]:
        """Lay workload routes, as the policy does; the other events are the router's."""
        for event in events:
            if isinstance(event, WorkloadAttached | WorkloadDetached):
                self.router.state.lay(event)
        return [e for e in events if not isinstance(e, WorkloadAttached | WorkloadDetached)]

    def wait(self, seconds: float) -> Effects:
        self.now += seconds
        self.wall += seconds
        self.boot = BootTime(self.boot.boot, self.boot.seconds + seconds)
        return self.do(TimePassed())

    def held(self, *vrfs: str) -> Effects:
        """Report these VRFs, or all that wait, as the data plane does."""
        numbers = self.router.state.pending.numbers
        return self.do(VrfsHeld({vrf: numbers[vrf] for vrf in vrfs or numbers}))

    def reload(self, intent: NodeIntent) -> Effects:
        return self.do(IntentChanged(intent))

    def up(self, peer: PeerId = PE2, *families: Family, **more: Any) -> Effects:
        self.advertised[peer] = {}
        spoken = families or ((VPN4, VPN6) if peer.is_core else (V4,))
        more.setdefault("router_id", str(peer.address))
        more.setdefault("restart_families", frozenset(spoken if more.get("restart_time") else ()))
        return self.do(SessionUp(peer=peer, families=frozenset(spoken), **more))

    def down(self, peer: PeerId = PE2, *, graceful: bool = False) -> Effects:
        return self.do(SessionDown(peer=peer, reason="test", graceful=graceful))

    def underlay(self, *gateways: str, to: str = "10.255.0.2/32", metric: int = 10) -> Effects:
        """Set the route to a PE: one next hop per gateway, each with label 100, 101, ..."""
        members = tuple(
            UnderlayPath(ip_address(g), f"core{i}", (100 + i,)) for i, g in enumerate(gateways)
        )
        return self.do(UnderlayRouteChanged(prefix(to), members, metric))

    def synced(self) -> Effects:
        return self.do(UnderlaySynced())

    def started(self) -> Rig:
        """End initial sync by its timer, without the peers that have not come."""
        self.synced()
        self.wait(60)
        return self

    def port(self, name: str, *, up: bool = True) -> Effects:
        return self.do(PortChanged(name, present=True, up=up))

    def ready(self) -> Rig:
        """The underlay to PE2, every port up, PE2's session up."""
        self.underlay("10.0.0.2")
        for name in self.kernel.ce_ports:
            self.port(name)
        self.up(PE2)
        return self

    def vpn(
        self, *prefixes: str, rd: str = "65001:1", rt: str = "65000:1", label: int = 300,
        peer: PeerId = PE2, next_hop: str = "", **attributes: Any,
    ) -> Effects:  # fmt: skip
        """PE2 (or another) announces; a family per prefix's own."""
        hop = ip_address(next_hop) if next_hop else peer.address
        said = vpn_attributes(rt, **attributes)
        return self.do(*(
            RoutesReceived(peer, VPN6 if ":" in p else VPN4, hop, said,
                           [Nlri(prefix(p), parse_rd(rd), (label,))])
            for p in prefixes
        ))  # fmt: skip

    def ce(
        self, peer: PeerId, *prefixes: str, asns: tuple[int, ...] = (65101,),
        next_hop: str = "", **attributes: Any,
    ) -> Effects:  # fmt: skip
        """A CE announces, all in one UPDATE per family."""
        events = []
        for family in (V4, V6):
            nlri = [Nlri(prefix(p)) for p in prefixes if (":" in p) is (family is V6)]
            hop = ip_address(next_hop) if next_hop else peer.address
            said = Attributes(as_path=path_of(*asns), **attributes)
            if nlri:
                events.append(RoutesReceived(peer, family, hop, said, nlri))
        return self.do(*events)

    def withdraw(self, peer: PeerId, *prefixes: str, rd: str = "65001:1") -> Effects:
        family = VPN4 if peer.is_core else V4
        named = parse_rd(rd) if peer.is_core else None
        return self.do(RoutesWithdrawn(peer, family, [Nlri(prefix(p), named) for p in prefixes]))

    def eor(self, peer: PeerId = PE2, *families: Family) -> Effects:
        return self.do(*(EndOfRib(peer, family) for family in families or (VPN4, VPN6)))

    def events_of(self, do: Callable[[], object]) -> list[Event]:
        """The events that a call would have handled."""
        found: list[Event] = []
        self.do = lambda *events: found.extend(events)  # type: ignore[method-assign,assignment]
        try:
            do()
        finally:
            del self.do
        return found

    # -- what came of it ----------------------------------------------------------------------

    def table(self, vrf: str) -> dict[str, NextHopKey]:
        """The kernel's routes of a VRF."""
        number = self.router.vrfs[vrf].number
        return {str(p): hop for p, hop in self.kernel.routes.get(number, {}).items()}

    def received_by(self, peer: PeerId) -> set[str]:
        """The prefixes that a peer knows; of a core peer with their RDs."""
        return {
            f"{key[0]} {key[1]}" if isinstance(key, tuple) else str(key)
            for key in self.advertised.get(peer, {})
        }

    def said(self, peer: PeerId, text: str, rd: str = "65000:1") -> Attributes:
        """The attributes under which a peer knows a prefix."""
        key = (parse_rd(rd), prefix(text)) if peer.is_core else prefix(text)
        return self.advertised[peer][key][1]

    def actions(self, kind: type[E]) -> list[E]:
        """What of a kind came out of the last turn."""
        return [action for action in self.last.actions if isinstance(action, kind)]

    def ordered_sessions(self) -> set[PeerId]:
        """All sessions that should exist, where the last turn said something about them."""
        assert len(self.actions(ConfigureSpeakers)) == 1
        return {peer.peer for peers in self.sessions.values() for peer in peers}

    def notices(self) -> list[str]:
        """The events logged in the last turn."""
        return [notice.event for notice in self.actions(LogEvent)]

    @property
    def is_silent(self) -> bool:
        """True if nothing at all came out of the last turn."""
        return self.last.delta == Delta() and not self.last.actions

    def _receive(self, action: Effect) -> None:
        if isinstance(action, ConfigureSpeakers):
            self.sessions |= action.peers
        if not isinstance(action, Announce | Withdraw):
            return
        known = self.advertised.setdefault(action.peer, {})
        for nlri in action.nlri:
            key = (nlri.rd, nlri.prefix) if nlri.rd is not None else nlri.prefix
            if isinstance(action, Announce):
                known[key] = (action.next_hop, action.attributes, nlri.labels)
            else:
                # Nothing may be taken back that was never said.
                del known[key]


def with_vrf(intent: NodeIntent, name: str, **changes: Any) -> NodeIntent:
    """The same intent with one VRF changed."""
    vrfs = [msgspec.structs.replace(v, **changes) if v.name == name else v for v in intent.vrfs]
    return msgspec.structs.replace(intent, vrfs=tuple(vrfs))


def with_peer(intent: NodeIntent, name: PeerId, **changes: Any) -> NodeIntent:
    """The same intent with one session changed."""

    def change(peers: tuple[PeerIntent, ...]) -> tuple[PeerIntent, ...]:
        return tuple(msgspec.structs.replace(p, **changes) if p.peer == name else p for p in peers)

    vrfs = tuple(msgspec.structs.replace(v, neighbors=change(v.neighbors)) for v in intent.vrfs)
    return msgspec.structs.replace(intent, vrfs=vrfs, peers=change(intent.peers))
