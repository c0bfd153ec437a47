"""Which prefixes a neighbour was refused last, and why."""

from __future__ import annotations

from ipaddress import ip_address

from controlplane.model.intent import Policy, PrefixRule
from controlplane.model.peer import PeerId
from tests.unit.controlplane.rig import PE2, V4, Rig, ce_peer, prefix, vrf

CE = PeerId("red", ip_address("192.0.2.2"))
ONLY_TEN = Policy((PrefixRule(prefix("10.0.0.0/8"), 8, 32),))
RED = vrf("red", 1, neighbors=(ce_peer("red", "192.0.2.2", import_policy=ONLY_TEN),))


def rig() -> Rig:
    made = Rig(RED).started().ready()
    made.up(CE)
    return made


def refused(one: Rig, peer: PeerId = CE) -> dict[str, str]:
    return {str(r.nlri.prefix): r.reason for r in one.router.peers[peer].refused_routes}


def test_each_has_its_reason() -> None:
    one = rig()
    one.ce(CE, "10.1.0.0/16", "172.16.0.0/12", "127.0.0.0/8")
    assert refused(one) == {"172.16.0.0/12": "policy", "127.0.0.0/8": "martian"}
    one.ce(CE, "10.2.0.0/16", asns=(65101, 65000))
    assert refused(one)["10.2.0.0/16"] == "as-loop"


def test_what_is_taken_or_withdrawn_is_refused_no_longer() -> None:
    one = rig()
    one.ce(CE, "10.1.0.0/16", "10.2.0.0/16", asns=(65101, 65000))
    one.ce(CE, "10.1.0.0/16")
    assert refused(one) == {"10.2.0.0/16": "as-loop"}
    one.withdraw(CE, "10.2.0.0/16")
    assert refused(one) == {}


def test_nothing_is_left_of_a_session_that_is_over() -> None:
    one = rig()
    one.ce(CE, "172.16.0.0/12")
    one.down(CE)
    assert refused(one) == {}
    assert one.router.peers[CE].refused == {"policy": 1}


def test_what_no_vrf_imports_is_not_listed() -> None:
    one = rig()
    one.vpn("10.9.0.0/16", rt="65000:999")
    one.vpn("10.8.0.0/16", label=3)
    assert refused(one, PE2) == {"10.8.0.0/16": "reserved-label"}
    assert one.router.peers[PE2].refused["route-target"] == 1
    assert V4 not in one.router.peers[PE2].families
