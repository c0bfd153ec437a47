"""A turn of the router costs what its events change, with 10 and with 300 VRFs and sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

import msgspec
import pytest

from controlplane.bgp.adj_rib_in import AdjRibIn
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import Nlri
from controlplane.model.desired import NextHopKey
from controlplane.model.effects import Effects
from controlplane.model.events import (
    Event,
    IntentChanged,
    LabelsTaken,
    PeerCleared,
    PortChanged,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
    StoreWritten,
    TimePassed,
    VrfsHeld,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.intent import PrefixLimit, VrfIntent
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, Family
from controlplane.model.rd import parse_rd
from controlplane.router import Router
from controlplane.vpn.table_index import TableIndex
from tests.scale.work import assert_flat, by_function
from tests.turns import saves_of
from tests.unit.controlplane.rig import (
    PE2,
    Rig,
    ce_peer,
    node,
    port,
    prefix,
    vpn_attributes,
    vrf,
    with_vrf,
)

SMALL, LARGE = 10, 300
BOOT = BootTime("boot-1", 0.0)
SITE = PeerId("v0", ip_address("192.0.2.2"))


def plain_vrf(n: int) -> VrfIntent:
    name = f"v{n}"
    ce = ce_peer(name, "192.0.2.2", prefix_limits=((Family.IPV4_UNICAST, PrefixLimit(20)),))
    return vrf(
        name, n + 1, ports=(port(f"{name}-ce", name, "192.0.2.1/30"),), neighbors=(ce,)
    )  # fmt: skip


def rig(vrfs: int) -> Rig:
    """So many VRFs, each with a CE that is up and ten routes from another PE."""
    names = [f"v{n}" for n in range(vrfs)]
    plain = (plain_vrf(n) for n in range(vrfs))
    made = Rig(*plain, label_block=LabelBlock(16000, 17999)).started().ready()
    assert len(made.router.vrfs) == vrfs
    for n, name in enumerate(names):
        made.up(PeerId(name, SITE.address))
        made.vpn(*(f"10.{i}.0.0/16" for i in range(10)), rd=f"65001:{n + 1}", rt=f"65000:{n + 1}")
    return made


def received(made: Rig) -> list[Event]:
    del made
    nlri = [Nlri(prefix("10.99.0.0/16"), parse_rd("65001:1"), (300,))]
    attributes = vpn_attributes("65000:1")
    return [RoutesReceived(PE2, Family.IPV4_VPN, PE2.address, attributes, nlri)]


def remote_endpoint(made: Rig) -> list[Event]:
    """The route of a workload at another PE, whose identity the kernel is still to learn."""
    waits = lambda change: [(change.vrf, prefix) for prefix in change.remote]  # noqa: E731
    made.router.policy.remote_endpoints_changed = waits  # type: ignore[method-assign]
    return made.events_of(lambda: made.vpn("10.99.0.1/32", large_communities=((65000, 1, 101),)))


def over_limit(made: Rig) -> list[Event]:
    return made.events_of(lambda: made.ce(SITE, *(f"10.77.{n}.0/24" for n in range(21))))


def cleared(made: Rig) -> list[Event]:
    made.do(*over_limit(made))
    assert made.router.peers[SITE].disabled
    return [PeerCleared(SITE)]


def held(made: Rig) -> list[Event]:
    """The VRF of a site that has another address, once the kernel holds it."""
    intent = made.router.intent
    assert intent is not None
    ports = (port("v0-ce", "v0", "192.0.2.1/30", "192.0.2.9/30"),)
    made.slow = True
    made.reload(with_vrf(intent, "v0", ports=ports))
    numbers = made.router.state.pending.numbers
    assert numbers.keys() == {"v0"}
    return [VrfsHeld(numbers)]


EVENTS: dict[str, Callable[[Rig], list[Event]]] = {
    "nothing": lambda _: [TimePassed()],
    "a route": received,
    "a remote endpoint": remote_endpoint,
    "a withdrawal": lambda _: [
        RoutesWithdrawn(PE2, Family.IPV4_VPN, [Nlri(prefix("10.1.0.0/16"), parse_rd("65001:1"))])
    ],
    "a site's route": lambda made: made.events_of(lambda: made.ce(SITE, "10.77.0.0/16")),
    "a site's session that ends": lambda _: [SessionDown(peer=SITE, reason="test")],
    "a site's session that comes": lambda _: [
        SessionDown(peer=SITE, reason="test"),
        SessionUp(peer=SITE, families=frozenset({Family.IPV4_UNICAST})),
    ],
    "a site's session over its limit": over_limit,
    "a site's session that is cleared": cleared,
    "a site's BGP process that dies": lambda _: [SpeakerLost("v0", "test")],
    "a VRF that the kernel holds": held,
    "a label of another program": lambda _: [LabelsTaken(frozenset({17}), frozenset({18}))],
    "a port's carrier": lambda _: [PortChanged("v0-ce", present=True, up=False)],
}


def work(what: str, vrfs: int) -> Counter[str]:
    made = rig(vrfs)
    events = EVENTS[what](made)
    before = made.router.handle([TimePassed()], made.instant)
    assert not before.actions

    def turn() -> None:
        made.router.handle(events, made.instant)
        assert made.router.next_deadline is None or made.router.next_deadline > 0

    return by_function(turn)


@pytest.mark.parametrize("what", EVENTS)
def test_a_turn_costs_what_its_events_change(what: str) -> None:
    assert_flat(work(what, SMALL), work(what, LARGE))


def test_control_more_events_cost_more() -> None:
    made = rig(SMALL)
    prefixes = [f"10.7.{n}.0/24" for n in range(20)]
    many = made.events_of(lambda: [made.ce(SITE, text) for text in prefixes])
    more = by_function(lambda: made.router.handle(many, made.instant)).total()
    assert more > 3 * work("a site's route", SMALL).total()


def reload_work(vrfs: int) -> int:
    """A reload that changes the MTU of one port; the reader of the file keeps what is the same."""
    made = rig(vrfs)
    intent = made.router.intent
    assert intent is not None
    first = intent.vrfs[0]
    ports = tuple(msgspec.structs.replace(each, mtu=1400) for each in first.ports)
    changed = msgspec.structs.replace(first, ports=ports)
    new = msgspec.structs.replace(intent, vrfs=(changed, *intent.vrfs[1:]))
    return by_function(lambda: made.router.handle([IntentChanged(new)], made.instant)).total()


def test_a_reload_looks_at_no_route_and_no_session_of_the_other_vrfs() -> None:
    """It compares names, labels and objects of all VRFs, a hundred lines for each; a VRF whose
    intent is another object is configured anew, with its port, its session and its routes."""
    each = (reload_work(LARGE) - reload_work(SMALL)) / (LARGE - SMALL)
    assert each <= 150
    made = rig(SMALL)
    intent = made.router.intent
    assert intent is not None
    copies = tuple(msgspec.structs.replace(vrf) for vrf in intent.vrfs)
    anew = msgspec.structs.replace(intent, vrfs=copies)
    work = by_function(lambda: made.router.handle([IntentChanged(anew)], made.instant)).total()
    assert work / SMALL > 1.5 * each, "the control"


def vrf_work(routes: int, own: int = 10) -> tuple[int, int]:
    """The work of a VRF that comes with ``own`` routes, and of one that goes, beside so many routes
    of another VRF that the same peer announces."""
    made = Rig(*(plain_vrf(n) for n in range(3))).started().ready()
    made.vpn(*(f"10.{n // 250}.{n % 250}.0/24" for n in range(routes)), rd="65001:1", rt="65000:1")
    made.vpn(*(f"11.0.{n}.0/24" for n in range(own)), rd="65001:3", rt="65000:3")
    intent = made.router.intent
    assert intent is not None
    taker = msgspec.structs.replace(plain_vrf(5), import_targets=intent.vrfs[2].import_targets)
    came = msgspec.structs.replace(intent, vrfs=(*intent.vrfs, taker))
    coming = by_function(lambda: made.reload(came))
    assert len(made.router.vrfs["v5"].table.best) >= own
    gone = msgspec.structs.replace(intent, vrfs=intent.vrfs[:2])
    going = by_function(lambda: made.reload(gone))
    assert made.router.peers[PE2].adj_in.count(Family.IPV4_VPN) == routes
    return coming.total(), going.total()


def test_a_vrf_that_comes_or_goes_costs_nothing_for_the_routes_of_the_others() -> None:
    small, large, control = vrf_work(10), vrf_work(1000), vrf_work(10, own=200)
    for few, many, more in zip(small, large, control, strict=True):
        assert many <= 1.1 * few, f"{few} lines grew to {many}"
        assert more > 1.5 * few, "the control: its own routes do cost"


def forgetting_work(routes: int, ways: int) -> int:
    """The work of a VRF that goes: forgetting its ways, and its routes in the Adj-RIB-In, which are
    in no table any more, beside so many ways of other VRFs."""
    index, held = TableIndex(), AdjRibIn()
    for n in range(ways):
        index.lead_through(NextHopKey(Afi.IPV4, ip_address(0x0A000000 + n)), f"v{n}")
    attributes = vpn_attributes("65000:1")
    path = Path(Source(RouteProtocol.BGP), attributes, NextHopKey(Afi.IPV4, None, 1), None, 0.0)
    prefixes = [prefix(f"10.{n // 250}.{n % 250}.0/24") for n in range(routes)]
    held.put(Family.IPV4_VPN, parse_rd("65001:1"), prefixes, path)

    def forget() -> None:
        index.forget("v0")
        held.drop_unless(Family.IPV4_VPN, attributes.route_targets, lambda _: False)

    found = by_function(forget).total()
    assert held.count(Family.IPV4_VPN) == 0
    assert not index.through(ip_address("10.0.0.0"))
    return found


def test_a_vrf_that_goes_is_forgotten_at_once() -> None:
    """Both were looked through, 70 ms of a turn that dropped 66 of 1,000 VRFs."""
    assert forgetting_work(10, 10) == forgetting_work(3000, 3000)


def start_work(vrfs: int) -> list[int]:
    """The lines of code of each turn of a start."""
    intent = node(*(plain_vrf(n) for n in range(vrfs)), label_block=LabelBlock(16000, 17999))
    router, turns = Router(), list[int]()
    events: list[Event] = [IntentChanged(intent)]
    while events:
        found: list[Effects] = []
        turn = by_function(lambda: found.append(router.handle(events, Instant(0.0, 0.0, BOOT))))  # noqa: B023
        turns.append(turn.total())
        events = [StoreWritten()] if saves_of(found[0]) else []
        if router.is_taking_over:
            events.append(TimePassed())
    assert len(router.vrfs) == vrfs
    return turns


def test_no_turn_of_a_start_takes_all_vrfs_over() -> None:
    """A turn takes over as many objects as it may, and looks at those that are there already."""
    small, large = start_work(100), start_work(1000)
    assert len(large) > 10
    each = (max(large) - max(small)) / 900
    assert each <= 150, "what a reload looks at (above)"
    assert sum(large) / 1000 > 3 * each, "the control: taking over is more work than looking"
