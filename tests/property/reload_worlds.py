"""A node whose configurations exchange what must be unique, turn by turn, with a kernel, a speaker
and a store that answer when the test has them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from ipaddress import ip_address, ip_interface

from hypothesis import strategies as st

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.desired import Desired
from controlplane.model.effects import (
    Announce,
    Answer,
    ConfigureSpeakers,
    Effect,
    Effects,
    LogEvent,
    RequestRefresh,
    Withdraw,
)
from controlplane.model.events import (
    Event,
    IntentChanged,
    PolicyMapsHeld,
    PortChanged,
    RoutesReceived,
    RoutesWithdrawn,
    SessionUp,
    StoreWritten,
    UnderlayPath,
    UnderlayRouteChanged,
    VrfsHeld,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import (
    CePortIntent,
    CorePortIntent,
    NodeIntent,
    PeerIntent,
    VrfIntent,
)
from controlplane.model.label import LabelBlock, LabelLedger
from controlplane.model.peer import PeerId
from controlplane.model.rd import parse_rd
from controlplane.router import Router
from controlplane.vpn.labels import zone_of
from tests.turns import saves_of
from tests.unit.controlplane.rig import (
    PE2,
    V4,
    VPN4,
    ce_peer,
    node,
    path_of,
    pe_peer,
    prefix,
    static,
    targets,
    vpn_attributes,
    vrf,
)

NAMES = ("red", "blue", "hub", "lab")
PORTS = tuple(f"p{n}" for n in range(6))
BLOCKS = (LabelBlock(16000, 16007), LabelBlock(16004, 16011), LabelBlock(300, 307))
TARGETS = ("65000:1", "65000:2", "65000:3")
REMOTE = tuple((f"10.9.{n}.0/24", f"65001:{n}", TARGETS[n]) for n in range(3))
"""What the other PE may announce: prefix, RD and target."""


def _port(number: int, owner: str, vlan: int) -> CePortIntent:
    made = {"parent": "trunk", "vlan": vlan} if vlan else {}
    address = ip_interface(f"10.200.{number}.1/30")
    return CePortIntent(name=PORTS[number], vrf=owner, addresses=(address,), **made)  # type: ignore[arg-type]


@st.composite
def _vrf(
    draw: st.DrawFn, name: str, rd: int, table: int, ports: list[int], vlans: list[int]
) -> VrfIntent:
    spoken = [n for n in ports if draw(st.booleans())]
    return vrf(
        name, 1, rd=parse_rd(f"65000:{rd + 1}"), table=table and 500 + table,
        import_targets=targets(*draw(st.sets(st.sampled_from(TARGETS), min_size=1, max_size=2))),
        export_targets=targets(*draw(st.sets(st.sampled_from(TARGETS), min_size=1, max_size=2))),
        ports=tuple(_port(n, name, vlans[n]) for n in ports),
        neighbors=tuple(
            ce_peer(name, f"10.200.{n}.2", 65100 + n, port=PORTS[n]) for n in spoken
        ),
        static_routes=(static("10.77.0.0/16"),) if draw(st.booleans()) else (),
    )  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> NodeIntent:
    """Some of the VRFs, with the ports, RDs and tables dealt out anew."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    rds = draw(st.permutations(range(len(NAMES))))
    tables = draw(st.permutations((0, 0, 1, 2, 3, 4)))
    vlans = [v if v < 4 else 0 for v in draw(st.permutations(range(1, 7)))]
    owners = {n: draw(st.sampled_from((*names, "", "core"))) for n in range(len(PORTS))}
    vrfs = [
        draw(_vrf(name, rds[at], tables[at], [n for n in owners if owners[n] == name], vlans))
        for at, name in enumerate(names)
    ]
    core = ["core0", *(PORTS[n] for n in owners if owners[n] == "core")]
    return node(
        *vrfs, peers=(pe_peer(),), label_block=draw(st.sampled_from(BLOCKS)),
        label_hold_down=draw(st.sampled_from((0, 100))),
        core_ports=tuple(CorePortIntent(name=name) for name in core),
    )  # fmt: skip


class Bench:
    """A router with all that answers it. ``step`` is one turn: what has been answered by then, and
    what else happens; ``settle`` goes on until nothing is left."""

    def __init__(self, ledger: LabelLedger | None = None) -> None:
        self.router, self.kernel = Router(ledger), Desired()
        self.seconds = 0.0
        self.answers: deque[Event] = deque()
        self.sessions: dict[str, tuple[PeerIntent, ...]] = {}
        self.told: dict[PeerId, dict[object, object]] = {}
        self.remote: set[int] = set()
        self._accepted = 0
        self._asked: dict[int, NodeIntent] = {}
        self._named: dict[str, PeerId] = {}
        self._ports: set[str] = set()
        self._waits: dict[str, int] = {}
        self._must: list[Event] = []

    @property
    def accepted(self) -> NodeIntent | None:
        """Return the last configuration that was not refused."""
        return self._asked.get(self._accepted)

    @property
    def now(self) -> Instant:
        return Instant(self.seconds, self.seconds, BootTime("boot", self.seconds))

    # -- what happens -------------------------------------------------------------------------

    def reload(self, intent: NodeIntent) -> None:
        ticket = len(self._asked) + 1
        self._asked[ticket] = intent
        self.step([IntentChanged(intent, ticket)])

    def start(self) -> None:
        way = (UnderlayPath(ip_address("10.0.0.2"), "core0", (100,)),)
        self.step([UnderlayRouteChanged(prefix("10.255.0.2/32"), way, 1)])

    def remote_changes(self, number: int) -> None:
        """The other PE announces a route of its own, or withdraws it."""
        self.remote ^= {number}
        if not any(peer.peer == PE2 for peer in self.sessions.get("", ())):
            return
        text, rd, _ = REMOTE[number]
        gone = RoutesWithdrawn(PE2, VPN4, [Nlri(prefix(text), parse_rd(rd))])
        self.answers.extend(self._said(PE2) if number in self.remote else [gone])

    def step(self, events: Iterable[Event] = (), answers: int = 0) -> Effects:
        """One turn with these events, behind as many of the answers that are due."""
        answered = [self.answers.popleft() for _ in range(min(answers, len(self.answers)))]
        must, self._must = self._must, []
        effects = self.router.handle([*must, *answered, *events], self.now)
        self._carry_out(effects)
        return effects

    def settle(self) -> None:
        """Let everything be answered."""
        for _ in range(1000):
            self.held()
            self.report_ports()
            if not (self.answers or self._must or self.router.is_taking_over):
                return
            self.step(answers=3)
        raise AssertionError("it does not settle")

    def held(self) -> None:
        """The kernel holds what it was given."""
        if self._waits:
            self.answers.append(VrfsHeld(self._waits))
            self._waits = {}

    def report_ports(self) -> None:
        """The data plane reports the ports that are new to it, all of which are up."""
        there = {*self.kernel.ce_ports, *self.kernel.core_ports}
        self.answers.extend(PortChanged(p, True, True) for p in sorted(there - self._ports))
        self._ports = there

    # -- what follows -------------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        self.kernel.apply(effects.delta)
        check(self.kernel)
        if saves_of(effects):
            self._must.append(StoreWritten())
        if effects.maps:
            self._must.append(PolicyMapsHeld(effects.maps))
        if effects.structure:
            self._waits |= self.router.state.pending.numbers
        for action in effects.actions:
            self._receive(action)

    def _receive(self, action: Effect) -> None:
        match action:
            case ConfigureSpeakers():
                for name, peers in action.peers.items():
                    self._configure(name, peers)
            case Answer():
                if action.error is None:  # of two, one of fewer VRFs may be held earlier
                    self._accepted = max(self._accepted, action.ticket)
            case LogEvent(event="session_up"):
                self.told[self._named[str(action.fields["peer"])]] = {}
            case RequestRefresh():
                self.answers.extend(self._said(action.peer))
            case Announce():
                told = self.told.setdefault(action.peer, {})
                for nlri in action.nlri:
                    told[nlri.rd, nlri.prefix] = (action.next_hop, action.attributes, nlri.labels)
            case Withdraw():
                for nlri in action.nlri if action.peer in self.told else ():
                    del self.told[action.peer][nlri.rd, nlri.prefix]
            case _:
                pass

    def _configure(self, name: str, peers: tuple[PeerIntent, ...]) -> None:
        """A session that is new, or another one, comes up with what its peer says."""
        before = set(self.sessions.pop(name, ()))
        gone = {p.peer for p in before} - {p.peer for p in peers}
        if gone:
            self.answers = deque(e for e in self.answers if getattr(e, "peer", None) not in gone)
        for peer in gone:
            self.told.pop(peer, None)
        if peers:
            self.sessions[name] = peers
        for intent in peers:
            self._named[str(intent.peer)] = intent.peer
            if intent not in before:
                self.answers.append(_session_up(intent.peer))
                self.answers.extend(self._said(intent.peer))

    def _said(self, peer: PeerId) -> list[Event]:
        if peer.is_core:
            return [
                RoutesReceived(peer, VPN4, peer.address, vpn_attributes(rt),
                               [Nlri(prefix(text), parse_rd(rd), (300 + n,))])
                for n, (text, rd, rt) in enumerate(REMOTE) if n in self.remote
            ]  # fmt: skip
        link = int(str(peer.address).split(".")[2])
        nlri = [Nlri(prefix(f"10.1.{link}.0/24")), Nlri(prefix("10.50.0.0/16"))]
        attributes = Attributes(as_path=path_of(65100 + link))
        return [RoutesReceived(peer, V4, peer.address, attributes, nlri)]


def _session_up(peer: PeerId) -> SessionUp:
    families = frozenset({VPN4 if peer.is_core else V4})
    return SessionUp(peer=peer, families=families, router_id=str(peer.address))


# -- what must hold of the kernel after each turn -----------------------------------------------


def check(kernel: Desired) -> None:
    """Nothing has two owners, and nothing refers to what is not there."""
    vrfs, ports, core = kernel.vrfs, kernel.ce_ports, kernel.core_ports
    assert _once(v.table for v in vrfs.values())
    assert _once(b.vrf for b in kernel.labels.values()), "a VRF has two labels"
    assert {b.vrf for b in kernel.labels.values()} == vrfs.keys()
    assert {p.vrf for p in ports.values()} <= vrfs.keys()
    assert not ports.keys() & core.keys(), "a port is of the core and of a VRF"
    assert _once((p.parent, p.vlan) for p in ports.values() if p.parent)
    zones = {(p.zone, p.vrf) for p in ports.values()}
    assert _once(zone for zone, _ in zones), "a zone has two VRFs"
    labels = {b.vrf: zone_of(int(b.label)) for b in kernel.labels.values()}
    assert all(zone == labels[name] for zone, name in zones)
    for session in kernel.sessions.values():
        if session.peer.vrf:
            assert ports[session.port].vrf == session.peer.vrf
    assert {*kernel.reaches} | {n for r in kernel.reaches.values() for n in r} <= vrfs.keys()
    _check_routes(kernel)


def _check_routes(kernel: Desired) -> None:
    owners = {v.table: name for name, v in kernel.vrfs.items()}
    assert kernel.routes.keys() <= owners.keys(), "routes of no VRF"
    hops = {hop for routes in kernel.routes.values() for hop in routes.values()}
    assert hops == kernel.next_hops.keys()
    devices = {*kernel.ce_ports, *kernel.core_ports}
    for hop in kernel.next_hops.values():
        assert {path.device for path in hop.paths} <= devices, hop


def _once(found: Iterable[object]) -> bool:
    return all(number == 1 for number in Counter(found).values())
