"""Static and connected routes, ports, and routes from VRF to VRF on one PE."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from controlplane.model.desired import NextHop, NextHopKey, NextHopPath
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from tests.unit.controlplane.rig import (
    PE2,
    Rig,
    ce_peer,
    path_of,
    port,
    prefix,
    static,
    targets,
    vrf,
)

CE = PeerId("red", ip_address("192.0.2.2"))
BLACKHOLE = NextHopKey(Afi.IPV4, None)


def on(device: str, via: str | None = None) -> NextHopKey:
    return NextHopKey(Afi.IPV4, ip_address(via) if via else None, device=device)


def test_static_routes_of_every_kind() -> None:
    routes = (
        static("10.1.0.0/24", "192.0.2.2"),
        static("10.2.0.0/24", port="red-ce"),
        static("10.3.0.0/24"),
        static("0.0.0.0/0", "192.0.2.2", "red-ce"),
    )
    rig = Rig(vrf("red", 1, static_routes=routes)).ready()
    assert rig.table("red") == {
        "10.1.0.0/24": on("red-ce", "192.0.2.2"),
        "10.2.0.0/24": on("red-ce"),
        "10.3.0.0/24": BLACKHOLE,
        "0.0.0.0/0": on("red-ce", "192.0.2.2"),
    }
    via = on("red-ce", "192.0.2.2")
    assert rig.kernel.next_hops[via] == NextHop(via, (NextHopPath(via.address, "red-ce"),))
    assert rig.kernel.next_hops[BLACKHOLE].paths == ()
    assert len(rig.received_by(PE2)) == 4


def test_a_static_route_on_no_link_is_never_looked_for_in_the_core() -> None:
    rig = Rig(vrf("red", 1, static_routes=(static("10.1.0.0/24", "10.255.0.2"),))).ready()
    assert rig.table("red") == {}
    rig.vpn("10.2.0.0/24")  # the same address does lead somewhere as a PE
    assert list(rig.table("red")) == ["10.2.0.0/24"]


def test_a_port_that_goes_down_takes_its_routes_and_gives_them_back() -> None:
    rig = Rig(vrf("red", 1, static_routes=(static("10.1.0.0/24", "192.0.2.2"),)))
    rig.underlay("10.0.0.2")
    rig.up(PE2)
    assert rig.table("red") == {}  # never seen up
    rig.port("red-ce")
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/24"}
    rig.port("red-ce", up=False)
    assert rig.table("red") == {}
    assert rig.received_by(PE2) == set()
    assert rig.kernel.next_hops == {}
    rig.port("red-ce", up=False)
    assert rig.is_silent
    rig.port("core0")
    assert rig.is_silent


def test_a_second_static_route_waits_behind_the_first() -> None:
    ports = (port("a", "red", "192.0.2.1/30"), port("b", "red", "192.0.2.5/30"))
    routes = (static("10.1.0.0/24", "192.0.2.2"), static("10.1.0.0/24", "192.0.2.6"))
    rig = Rig(vrf("red", 1, ports=ports, static_routes=routes)).ready()
    assert rig.table("red")["10.1.0.0/24"].device == "a"
    rig.port("a", up=False)
    assert rig.table("red")["10.1.0.0/24"].device == "b"
    rig.port("b", up=False)
    assert rig.table("red") == {}


def test_a_links_prefix_is_advertised_only_where_configured_and_never_installed() -> None:
    for asked in (False, True):
        ce = ce_peer("red", "192.0.2.2")
        rig = Rig(vrf("red", 1, advertise_connected=asked, neighbors=(ce,))).ready()
        rig.up(CE)
        advertised = {"192.0.2.0/30"} if asked else set()
        assert rig.received_by(CE) == advertised
        assert rig.received_by(PE2) == {f"65000:1 {p}" for p in advertised}
        assert rig.table("red") == {}


def test_connected_beats_static_beats_bgp() -> None:
    rig = Rig(vrf("red", 1, static_routes=(static("10.1.0.0/24", "192.0.2.2"),))).ready()
    rig.vpn("10.1.0.0/24", "192.0.2.0/30", local_pref=900)
    assert rig.table("red") == {"10.1.0.0/24": on("red-ce", "192.0.2.2")}
    rig.port("red-ce", up=False)
    assert set(rig.table("red")) == {"10.1.0.0/24", "192.0.2.0/30"}


# -- leaking ------------------------------------------------------------------------------------


def two_vrfs(**more: Any) -> Rig:
    """Red and hub on one PE; hub imports what red exports."""
    red = vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"),), **more)
    hub = vrf(
        "hub", 2, import_targets=targets("65000:1", "65000:2"),
        neighbors=(ce_peer("hub", "192.0.2.6", 65102),),
        ports=(port("hub-ce", "hub", "192.0.2.5/30"),),
    )  # fmt: skip
    rig = Rig(red, hub, vrf("blue", 3)).ready()
    rig.up(CE)
    rig.up(PeerId("hub", ip_address("192.0.2.6")))
    return rig


HUB_CE = PeerId("hub", ip_address("192.0.2.6"))


def test_a_site_route_leaks_by_target_to_the_table_and_the_ce_but_not_out_twice() -> None:
    rig = two_vrfs()
    rig.ce(CE, "10.1.0.0/24")
    assert rig.table("hub") == {"10.1.0.0/24": on("red-ce", "192.0.2.2")}
    assert rig.table("blue") == {}
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/24"}
    assert rig.said(HUB_CE, "10.1.0.0/24").as_path == path_of(65000, 65101)
    rig.withdraw(CE, "10.1.0.0/24")
    assert rig.table("hub") == {}
    assert rig.received_by(HUB_CE) == set()


def test_what_was_learned_from_the_core_does_not_leak_on() -> None:
    rig = two_vrfs()
    rig.vpn("10.1.0.0/24", rt="65000:2")
    assert list(rig.table("hub")) == ["10.1.0.0/24"]
    assert rig.table("red") == {}


def test_a_leaked_route_and_one_from_the_core_compete() -> None:
    rig = two_vrfs()
    rig.ce(CE, "10.1.0.0/24")
    rig.vpn("10.1.0.0/24", rt="65000:2", local_pref=200)
    assert rig.table("hub")["10.1.0.0/24"].label == 300
    rig.withdraw(PE2, "10.1.0.0/24")
    assert rig.table("hub")["10.1.0.0/24"].device == "red-ce"


def test_the_leak_follows_the_best_path_of_its_vrf() -> None:
    rig = two_vrfs()
    rig.ce(CE, "10.1.0.0/24")
    rig.vpn("10.1.0.0/24", rt="65000:1", local_pref=200)  # hub imports this one as well
    assert rig.table("red")["10.1.0.0/24"].label == 300
    assert rig.table("hub")["10.1.0.0/24"].label == 300
    table = rig.router.vrfs["hub"].table
    assert len(table.candidates(prefix("10.1.0.0/24"))) == 1


def test_connected_prefixes_leak_only_where_advertised() -> None:
    assert "192.0.2.0/30" not in two_vrfs().table("hub")
    assert two_vrfs(advertise_connected=True).table("hub")["192.0.2.0/30"] == on("red-ce")


def test_two_vrfs_that_leak_the_same_prefix_are_two_candidates() -> None:
    hub = vrf("hub", 9, import_targets=targets("65000:1", "65000:2"), ports=())
    statics = (static("10.1.0.0/24"),)
    red = vrf("red", 1, static_routes=(static("10.1.0.0/24", port="red-ce"),))
    rig = Rig(hub, red, vrf("blue", 2, static_routes=statics)).ready()
    assert len(rig.router.vrfs["hub"].table.candidates(prefix("10.1.0.0/24"))) == 2
    assert rig.table("hub")["10.1.0.0/24"] == on("red-ce")  # by RD, as nothing else differs
    rig.port("red-ce", up=False)
    assert rig.table("hub")["10.1.0.0/24"] == BLACKHOLE
