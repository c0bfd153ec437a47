"""ISO-14: a VPN label goes out alone only over the link to the PE that gave it out, and only
through core ports."""

from __future__ import annotations

from ipaddress import ip_address

from controlplane.model.desired import Adjacency
from controlplane.model.events import AdjacencyChanged, UnderlayPath, UnderlayRouteChanged
from controlplane.model.intent import CorePortIntent
from controlplane.vpn.next_hop_resolver import Core, NextHopResolver
from tests.unit.controlplane.rig import PE2, Rig, node, prefix, vrf

A2, GATEWAY, OTHER = (ip_address(a) for a in ("10.255.0.2", "10.0.0.2", "10.0.1.2"))
LINK = Adjacency(A2, GATEWAY, "core0")
BARE = UnderlayPath(GATEWAY, "core0")
LABELLED = UnderlayPath(OTHER, "core1", (17,))


def way(rig: Rig, *paths: UnderlayPath) -> None:
    rig.do(UnderlayRouteChanged(prefix("10.255.0.2/32"), paths, 10))


def with_route(*paths: UnderlayPath) -> Rig:
    rig = Rig(vrf("red", 1))
    way(rig, *paths)
    rig.up(PE2)
    rig.vpn("10.1.0.0/24")
    return rig


def answer(rig: Rig, *, adjacent: bool, link: Adjacency = LINK) -> None:
    rig.do(AdjacencyChanged(link, adjacent))


def devices(rig: Rig) -> list[str]:
    return [path.device for hop in rig.kernel.next_hops.values() for path in hop.paths]


def reason(rig: Rig) -> str:
    return rig.router.underlay.unusable(A2)


def test_without_a_label_the_link_is_probed_first() -> None:
    rig = with_route(BARE)
    assert rig.table("red") == {}
    assert rig.kernel.adjacencies == {LINK: LINK}
    assert "is being probed" in reason(rig)
    answer(rig, adjacent=True)
    assert set(rig.table("red")) == {"10.1.0.0/24"}
    assert reason(rig) == ""


def test_through_another_router_the_route_is_inactive() -> None:
    rig = with_route(BARE)
    answer(rig, adjacent=False)
    assert rig.table("red") == {}
    assert reason(rig) == "10.255.0.2/32 has no label and is not the next hop's own link"


def test_a_pe_that_moves_away_takes_its_routes_along() -> None:
    rig = with_route(BARE)
    answer(rig, adjacent=True)
    answer(rig, adjacent=False)
    assert rig.table("red") == {}


def test_a_lost_label_leaves_the_paths_that_have_one() -> None:
    rig = with_route(UnderlayPath(GATEWAY, "core0", (16,)), LABELLED)
    assert devices(rig) == ["core0", "core1"]
    way(rig, BARE, LABELLED)
    assert devices(rig) == ["core1"]
    answer(rig, adjacent=False)
    assert devices(rig) == ["core1"]
    answer(rig, adjacent=True)
    assert devices(rig) == ["core0", "core1"]


def test_on_the_link_itself_nothing_has_to_be_asked() -> None:
    for path in (UnderlayPath(None, "core0"), UnderlayPath(A2, "core0")):
        rig = with_route(path)
        assert set(rig.table("red")) == {"10.1.0.0/24"}
        assert rig.kernel.adjacencies == {}


def test_other_ports_than_core_ports_carry_no_label() -> None:
    rig = with_route(UnderlayPath(GATEWAY, "eth0", (17,)))
    assert rig.table("red") == {}
    assert reason(rig) == "10.255.0.2/32 does not lead through a core port"
    way(rig, UnderlayPath(GATEWAY, "eth0", (17,)), LABELLED)
    assert devices(rig) == ["core1"]


def test_a_port_that_becomes_a_core_port_is_used() -> None:
    rig = with_route(UnderlayPath(GATEWAY, "eth0", (17,)))
    rig.reload(node(vrf("red", 1), core_ports=(CorePortIntent(name="eth0"),)))
    assert devices(rig) == ["eth0"]


def test_a_configured_neighbour_is_not_probed() -> None:
    ports = (CorePortIntent(name="core0", adjacent_pes=(A2,)),)
    rig = with_route(BARE)
    rig.reload(node(vrf("red", 1), core_ports=ports))
    assert devices(rig) == ["core0"]
    assert rig.kernel.adjacencies == {}


def test_a_path_that_is_gone_is_probed_no_longer() -> None:
    rig = with_route(BARE)
    way(rig)
    assert rig.kernel.adjacencies == {}
    answer(rig, adjacent=True)  # was under way
    way(rig, BARE)
    assert rig.table("red") == {}, "an answer about an earlier path counted"


def test_the_probes_of_an_address_that_is_not_watched_end() -> None:
    underlay = NextHopResolver(Core({"core0": frozenset()}))
    underlay.change(prefix("10.255.0.2/32"), (BARE,), 5)
    underlay.watch(A2)
    assert underlay.probe_changes() == {LINK: LINK}
    underlay.watch_only(set())
    assert underlay.probe_changes() == {LINK: None}
    assert not underlay.awaits_probes


def test_the_initial_sync_waits_for_the_probes() -> None:
    """Else the routes of a former run over that link are swept, and come back a second later."""
    rig = with_route(BARE)
    rig.eor(PE2)
    rig.synced()
    assert not rig.router.in_sync
    answer(rig, adjacent=True)
    assert rig.router.in_sync
