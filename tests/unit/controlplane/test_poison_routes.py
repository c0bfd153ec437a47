"""A route that cannot be decided, exported or advertised is left out; nothing else suffers."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from controlplane.bgp import adj_rib_out, ce_rib_out
from controlplane.bgp.path import Path
from controlplane.model.desired import NextHopKey
from controlplane.model.effects import LogEvent
from controlplane.model.peer import PeerId
from controlplane.routing.left_out import MOST_LINES
from controlplane.vpn import inter_vrf_import, vrf_table
from controlplane.vpn.claims import Marking
from controlplane.vpn.next_hop_tracker import NextHopTracker
from tests.unit.controlplane.rig import PE2, Rig, ce_peer, node, targets, vrf

RED, RED2 = (PeerId("red", ip_address(f"192.0.2.{n}")) for n in (2, 3))
BLUE = PeerId("blue", ip_address("192.0.2.2"))
POISON = "10.66.0.0/16"
MED = 666
"""The mark of a poisoned path."""


def sites() -> Rig:
    """Red with two CEs, blue with one that imports red's routes too, green alone, and a PE."""
    both = targets("65000:1", "65000:2")
    rig = Rig(
        vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2"), ce_peer("red", "192.0.2.3"))),
        vrf("blue", 2, import_targets=both, neighbors=(ce_peer("blue", "192.0.2.2"),)),
        vrf("green", 3),
    ).started().ready()  # fmt: skip
    for peer in (RED, RED2, BLUE):
        rig.up(peer)
    return rig


def is_poison(thing: object) -> bool:
    if isinstance(thing, tuple | list) and not isinstance(thing, NextHopKey):
        return any(map(is_poison, thing))
    if isinstance(thing, Path):
        return thing.attributes.med == MED
    return isinstance(thing, NextHopKey) and thing.address == RED2.address


def raising(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Have a function raise where one of its arguments is the poisoned path, or its next hop."""
    stock = getattr(owner, name)

    def wrapped(*given: Any) -> Any:
        if is_poison(given):
            raise KeyError(f"poisoned {name}")
        return stock(*given)

    monkeypatch.setattr(owner, name, wrapped)


STAGES: dict[str, tuple[Any, str]] = {
    "the decision": (vrf_table, "best_path"),
    "the metric of its next hop": (NextHopTracker, "metric"),
    "its next-hop object": (NextHopTracker, "resolve"),
    "the export to the core": (adj_rib_out, "may_leave"),
    "its attributes for the core": (adj_rib_out, "to_core"),
    "the export to a CE": (ce_rib_out, "may_go_to_ce"),
    "the import into another VRF": (inter_vrf_import, "_twin"),
    "its claim of an identity": (Marking, "claim"),
}


def places(rig: Rig, text: str) -> set[str]:
    """Where a prefix is: in the kernel's tables and at the peers."""
    found = {name for name in ("red", "blue") if text in rig.table(name)}
    found |= {str(peer) for peer in (RED, BLUE) if text in rig.received_by(peer)}
    return found | {"PE2" for known in rig.received_by(PE2) if known == f"65000:1 {text}"}


EVERYWHERE = {"red", "blue", str(RED), str(BLUE), "PE2"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_poisoned_route_is_left_out_and_all_others_go_on(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = sites()
    rig.router.state.workloads.in_use = True
    rig.ce(RED2, POISON, med=1)
    assert places(rig, POISON) == EVERYWHERE, "the control: without the fault it is a route"
    if stage == "the decision":
        rig.ce(RED, POISON)
    if stage == "its next-hop object":
        rig.withdraw(RED2, POISON)
    raising(monkeypatch, *STAGES[stage])

    turn = [
        *rig.events_of(lambda: rig.ce(RED, "10.2.0.0/16")),
        *rig.events_of(lambda: rig.ce(RED2, POISON, med=MED)),
        *rig.events_of(lambda: rig.ce(RED, "10.3.0.0/16")),
    ]
    rig.do(*turn)

    assert places(rig, POISON) == set()
    (line,) = [n.fields for n in rig.actions(LogEvent) if n.event == "route_left_out"]
    assert (line["vrf"], line["prefix"]) == ("red", POISON)
    assert str(RED2.address) in str(line["route"])
    assert str(line["why"]).startswith("KeyError: 'poisoned")
    assert [(left.vrf, str(left.prefix)) for left in rig.router.left_out] == [("red", POISON)]
    for text in ("10.2.0.0/16", "10.3.0.0/16"):
        assert places(rig, text) >= {"red", "blue", str(BLUE), "PE2"}

    rig.vpn("10.9.0.0/16", rt="65000:3")
    assert "10.9.0.0/16" in rig.table("green"), "another VRF"
    rig.ce(RED2, POISON, med=MED)
    assert "route_left_out" not in rig.notices(), "once"

    monkeypatch.undo()
    rig.withdraw(RED, POISON)
    rig.ce(RED2, POISON, med=3)
    assert places(rig, POISON) == EVERYWHERE
    assert list(rig.router.left_out) == []


def test_a_poisoned_route_that_is_withdrawn_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = sites()
    raising(monkeypatch, adj_rib_out, "may_leave")
    rig.ce(RED2, POISON, med=MED)
    assert len(rig.router.left_out) == 1
    rig.withdraw(RED2, POISON)
    assert list(rig.router.left_out) == []
    assert places(rig, POISON) == set()


def test_its_vrf_goes_and_takes_it_along(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    raising(monkeypatch, adj_rib_out, "may_leave")
    rig.ce(RED2, POISON, med=MED)
    rig.reload(node(vrf("green", 3)))
    assert list(rig.router.left_out) == []


def test_a_choice_that_raised_is_made_again_with_the_same_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = sites()
    way = f"{RED2.address}/32"
    rig.underlay("10.0.0.3", to=way)
    rig.vpn("10.67.0.0/16", next_hop=str(RED2.address))  # has the next hop watched
    raising(monkeypatch, NextHopTracker, "metric")
    rig.vpn(POISON, next_hop=str(RED2.address))
    assert places(rig, POISON) == set()
    monkeypatch.undo()
    rig.underlay(to=way)
    rig.underlay("10.0.0.3", to=way)
    assert "red" in places(rig, POISON)
    assert list(rig.router.left_out) == []


def test_many_poisoned_routes_do_not_flood_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = sites()
    raising(monkeypatch, vrf_table, "best_path")
    raising(monkeypatch, adj_rib_out, "may_leave")
    rig.ce(RED2, *(f"10.66.{n}.0/24" for n in range(200)), med=MED)
    assert rig.notices().count("route_left_out") == MOST_LINES
    assert len(rig.router.left_out) == 200


def test_what_cannot_even_be_withdrawn_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a withdrawal is worse than a start from nothing."""
    rig = sites()
    rig.ce(RED2, POISON, med=1)

    def broken(*_: object) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(rig.router.state.core_out, "change", broken)
    with pytest.raises(KeyError):
        rig.withdraw(RED2, POISON)
