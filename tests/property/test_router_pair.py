"""Two routers back to back: each receives what the other announces, until both are silent."""

from __future__ import annotations

from ipaddress import IPv4Address

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Desired
from controlplane.model.effects import Announce, Effects, SendEndOfRib, Withdraw
from controlplane.model.events import (
    EndOfRib,
    Event,
    IntentChanged,
    PortChanged,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import NodeIntent
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.prefix import host_prefix
from controlplane.model.rd import RouteTarget, parse_rd
from controlplane.router import Router
from tests.property import router_worlds as worlds
from tests.turns import decide
from tests.unit.controlplane.rig import V4, VPN4, VPN6, ce_peer, node, pe_peer, static, vrf

Vpns = list[tuple[frozenset[RouteTarget], frozenset[RouteTarget]]]  # import, export

LOOPBACKS = (IPv4Address("10.255.0.1"), IPv4Address("10.255.0.2"))
STATICS = ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "2001:db8:1::/48"]


class Side:
    """One PE with a session to the other, through lists instead of TCP."""

    def __init__(self, number: int, intent: NodeIntent) -> None:
        self.number, self.router, self.kernel = number, Router(), Desired()
        self.outbox: list[Event] = []
        self.loopback, other = LOOPBACKS[number], LOOPBACKS[1 - number]
        self.other = PeerId("", other)
        way = UnderlayPath(IPv4Address(f"10.0.0.{2 - number}"), "core0", (100,))
        self.do(IntentChanged(self.mine(intent)), UnderlayRouteChanged(host_prefix(other), (way,)))
        self.do(*(PortChanged(p.name, True, True) for v in intent.vrfs for p in v.ports))
        self.do(UnderlaySynced())

    def mine(self, intent: NodeIntent) -> NodeIntent:
        """The same VPNs at this PE: its own addresses, labels and RDs."""
        n = self.number
        vrfs = tuple(
            msgspec.structs.replace(v, rd=parse_rd(f"6500{n}:{i}"))
            for i, v in enumerate(intent.vrfs)
        )
        peer = msgspec.structs.replace(pe_peer(self.other), local_address=self.loopback)
        return msgspec.structs.replace(
            intent, router_id=self.loopback, loopback=self.loopback, vrfs=vrfs, peers=(peer,),
            label_block=LabelBlock(16000 + 1000 * n, 16099 + 1000 * n),
        )  # fmt: skip

    def do(self, *events: Event) -> None:
        self.deliver(decide(self.router, events, Instant(0.0, 0.0, BootTime("lab", 0.0))))

    def deliver(self, effects: Effects) -> None:
        self.kernel.apply(effects.delta)
        me = PeerId("", self.loopback)
        for action in effects.actions:
            match action:
                case Announce(peer, family, hop, attributes, nlri) if peer == self.other:
                    self.outbox.append(RoutesReceived(me, family, hop, attributes, nlri))
                case Withdraw(peer, family, nlri) if peer == self.other:
                    self.outbox.append(RoutesWithdrawn(me, family, nlri))
                case SendEndOfRib(peer, family) if peer == self.other:
                    self.outbox.append(EndOfRib(me, family))

    def connect(self) -> None:
        families = frozenset({VPN4, VPN6})
        self.do(SessionUp(peer=self.other, families=families, router_id=str(self.other.address)))

    def disconnect(self) -> None:
        self.outbox.clear()
        self.do(SessionDown(peer=self.other, reason="test"))

    def own(self, vrf: str) -> set[str]:
        """What sites of a VRF here have, by the book."""
        table = self.router.vrfs[vrf].table
        local = {p for p in table.prefixes() for c in table.candidates(p) if c.source.vrf}
        return {str(p) for p in local if not table.best[p].is_connected}


def converge(sides: tuple[Side, Side]) -> None:
    for _ in range(20):
        letters = [side.outbox for side in sides]
        if not any(letters):
            return
        for side in sides:
            side.outbox = []
        sides[0].do(*letters[1])
        sides[1].do(*letters[0])
    raise AssertionError("they never stop talking")


@st.composite
def vpns(draw: st.DrawFn) -> Vpns:
    return [(draw(worlds.some_targets), draw(worlds.some_targets)) for _ in range(2)]


Statics = list[list[str]]
statics = st.lists(
    st.lists(st.sampled_from(STATICS), max_size=3, unique=True), min_size=2, max_size=2
)


def intent_of(targets: Vpns, routes: Statics) -> NodeIntent:
    return node(*(
        vrf(
            name, i + 1, import_targets=targets[i][0], export_targets=targets[i][1],
            static_routes=tuple(static(text, port=f"{name}-ce") for text in routes[i]),
            neighbors=(ce_peer(name, "192.0.2.2"),),
        )
        for i, name in enumerate(("red", "blue"))
    ))  # fmt: skip


def check(sides: tuple[Side, Side]) -> None:
    """By a naive model: a VRF reaches its own prefixes and those of every VRF that it imports."""
    for side in sides:
        for mine in side.router.vrfs.values():
            reached = set(side.own(mine.name))
            for there in sides:
                for theirs in there.router.vrfs.values():
                    if theirs.intent.export_targets & mine.intent.import_targets:
                        reached |= there.own(theirs.name)
            table = side.kernel.routes.get(mine.number, {})
            assert {str(p) for p in table} == reached
            far = sides[1 - side.number]
            for prefix, hop in table.items():
                if hop.label >= 0:
                    (owner,) = (v for v in far.router.vrfs.values() if v.label == hop.label)
                    assert str(prefix) in far.own(owner.name)
                    assert owner.intent.export_targets & mine.intent.import_targets


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(vpns(), vpns(), st.tuples(statics, statics), st.tuples(statics, statics), st.data())
def test_they_converge_and_reach_what_the_targets_say(
    first: Vpns,
    second: Vpns,
    before: tuple[Statics, Statics],
    after: tuple[Statics, Statics],
    data: st.DataObject,
) -> None:
    sides = (Side(0, intent_of(first, before[0])), Side(1, intent_of(first, before[1])))
    for side in sides:
        side.connect()
    converge(sides)
    check(sides)
    for side in sides:
        side.do(IntentChanged(side.mine(intent_of(second, after[side.number]))))
    # A new import target asks for a refresh; a session that bounces gives the same.
    for side in sides:
        side.disconnect()
    for side in sides:
        assert all(hop.label < 0 for t in side.kernel.routes.values() for hop in t.values())
    for side in data.draw(st.permutations(sides)):
        side.connect()
    converge(sides)
    check(sides)
    assert V4 not in sides[0].router.peers[sides[0].other].families
