"""``pe show routes --neighbor``: what a neighbour announced, and what was announced to it."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.model.intent import Policy, PrefixRule
from controlplane.model.peer import PeerId
from controlplane.model.prefix import parse_address
from controlplane.model.route_view import RouteFilter, RouteTable, RouteView
from pe.view.routes import route_rows
from tests.unit.controlplane.rig import (
    LOOPBACK,
    PE2,
    PE3,
    Rig,
    ce_peer,
    pe_peer,
    prefix,
    static,
    vrf,
)
from tests.unit.view.test_route_rows import Kernel

CE = PeerId("red", parse_address("192.0.2.2"))
TWIN = PeerId("blue", CE.address)
TEN = Policy((PrefixRule(prefix("10.0.0.0/8"), 8, 24),))


def rig() -> Rig:
    """A CE in each of two VRFs, at one address, and two PEs; PE2 announces to red."""
    made = Rig(
        vrf(
            "red", 1, neighbors=(ce_peer("red", "192.0.2.2", import_policy=TEN),),
            static_routes=(static("10.9.0.0/16", "192.0.2.2"),),
        ),
        vrf(
            "blue", 2, neighbors=(ce_peer("blue", "192.0.2.2"),),
            static_routes=(static("10.5.0.0/16", "192.0.2.2"),),
        ),
        peers=(pe_peer(PE2), pe_peer(PE3)),
    ).ready()  # fmt: skip
    made.underlay("10.0.1.3", to="10.255.0.3/32", metric=20)
    for each in (CE, TWIN, PE3):
        made.up(each)
    made.vpn("10.1.0.0/16", rd="65001:2", asns=(65009,))
    made.ce(CE, "10.3.0.0/16")
    made.ce(CE, "172.16.0.0/12")
    made.ce(TWIN, "10.4.0.0/16")
    return made


def rows(made: Rig, table: RouteTable, neighbor: PeerId, **more: Any) -> list[RouteView]:
    wanted = RouteFilter(table=table, neighbor=str(neighbor.address), core=True, **more)
    return list(route_rows(made.router, Kernel(), wanted, made.now))


def test_received_has_what_was_taken_and_what_was_refused() -> None:
    made = rig()
    found = {(r.vrf, r.prefix): r.refused for r in rows(made, RouteTable.RECEIVED, CE)}
    assert found == {
        ("red", "10.3.0.0/16"): "",
        ("red", "172.16.0.0/12"): "policy",
        ("blue", "10.4.0.0/16"): "",
    }
    assert [r.prefix for r in rows(made, RouteTable.RECEIVED, CE, vrf="blue")] == ["10.4.0.0/16"]
    one = rows(made, RouteTable.RECEIVED, CE, prefix="172.16.0.0/12")
    assert [(r.prefix, r.best, r.active, r.neighbor) for r in one] == [
        ("172.16.0.0/12", False, False, "192.0.2.2")
    ]


def test_received_has_paths_that_are_not_the_best() -> None:
    made = rig()
    made.vpn("10.1.0.0/16", rd="65001:3", peer=PE3, asns=(65009, 65010))
    (row,) = rows(made, RouteTable.RECEIVED, PE3)
    assert (row.prefix, row.best, row.inactive_reason) == (
        "10.1.0.0/16", False, "not best: AS path length",
    )  # fmt: skip


@pytest.mark.parametrize("vrf", ["", "red"])
def test_what_a_pe_was_refused_is_of_no_vrf_and_for_those_who_see_the_core(vrf: str) -> None:
    made = rig()
    made.vpn("10.8.0.0/16", rd="65001:2", label=3)  # reserved
    seen = [r.prefix for r in rows(made, RouteTable.RECEIVED, PE2, vrf=vrf)]
    assert seen == (["10.8.0.0/16", "10.1.0.0/16"] if not vrf else ["10.1.0.0/16"])
    wanted = RouteFilter(table=RouteTable.RECEIVED, neighbor=str(PE2.address), core=False)
    found = route_rows(made.router, Kernel(), wanted, made.now)
    assert [r.prefix for r in found] == ["10.1.0.0/16"]


@pytest.mark.parametrize("peer", [CE, TWIN, PE2, PE3])
def test_advertised_is_what_was_announced_to_the_neighbour(peer: PeerId) -> None:
    """Prefix for prefix, with its next hop and attributes."""
    made = rig()
    shown = rows(made, RouteTable.ADVERTISED, peer)
    told = made.advertised[peer]
    of_peer = [r for r in shown if peer.is_core or r.vrf == peer.vrf]
    assert {
        (r.rd, r.prefix): (r.next_hop, r.as_path, r.labels, set(r.route_targets)) for r in of_peer
    } == {
        _key(name): (
            str(hop),
            " ".join(str(n) for s in a.as_path for n in s.asns),
            labels,
            set(map(str, a.route_targets)),
        )
        for name, (hop, a, labels) in told.items()
    }
    assert of_peer, "the control"


def _key(name: object) -> tuple[str, str]:
    return (str(name[0]), str(name[1])) if isinstance(name, tuple) else ("", str(name))


def test_advertised_is_empty_while_the_session_is_down_and_follows_withdrawals() -> None:
    made = rig()
    assert "10.1.0.0/16" in {r.prefix for r in rows(made, RouteTable.ADVERTISED, CE, vrf="red")}
    made.withdraw(PE2, "10.1.0.0/16", rd="65001:2")
    assert "10.1.0.0/16" not in {r.prefix for r in rows(made, RouteTable.ADVERTISED, CE)}
    assert rows(made, RouteTable.ADVERTISED, CE, vrf="red", prefix="10.9.9.9")
    made.down(CE)
    assert not rows(made, RouteTable.ADVERTISED, CE, vrf="red")
    assert {r.next_hop for r in rows(made, RouteTable.ADVERTISED, PE2)} == {str(LOOPBACK)}
