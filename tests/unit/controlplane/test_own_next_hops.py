"""Which of its own addresses a PE announces as next hop (RFC 4364, RFC 4659, RFC 8950)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec
import pytest

from controlplane.model.effects import LogEvent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress
from tests.unit.controlplane.rig import LOOPBACK, PE2, VPN4, VPN6, Rig, node, pe_peer, static, vrf

LOOPBACK6 = IPv6Address("2001:db8:255::1")
PE2_6 = PeerId("", ip_address("2001:db8:255::2"))
RED = vrf("red", 1, static_routes=(static("10.1.0.0/24"), static("2001:db8:1::/64")))


def announced(peer: PeerId, *, can: frozenset[Family], own6: IPv6Address | None) -> Rig:
    rig = Rig()
    rig.reload(node(RED, peers=(pe_peer(peer),), loopback6=own6))
    rig.started()
    rig.up(peer, ipv6_next_hops=can)
    return rig


def next_hops(rig: Rig, peer: PeerId) -> set[IPAddress]:
    return {next_hop for next_hop, _, _ in rig.advertised[peer].values()}


@pytest.mark.parametrize(
    ("peer", "can", "own6", "wanted"),
    [
        (PE2, frozenset({VPN4}), LOOPBACK6, {LOOPBACK}),
        (PE2_6, frozenset({VPN4}), LOOPBACK6, {LOOPBACK6}),
        (PE2_6, frozenset(), LOOPBACK6, {LOOPBACK, LOOPBACK6}),
        (PE2_6, frozenset({VPN4}), None, {LOOPBACK}),
    ],
    ids=["ipv4-session", "ipv6-session", "without-rfc-8950", "no-ipv6-loopback"],
)
def test_the_next_hop_is_of_the_sessions_family(
    peer: PeerId, can: frozenset[Family], own6: IPv6Address | None, wanted: set[IPAddress]
) -> None:
    rig = announced(peer, can=can, own6=own6)
    assert len(rig.advertised[peer]) == 2
    assert next_hops(rig, peer) == wanted


def test_a_peer_that_cannot_have_it_is_named_in_the_log() -> None:
    rig = announced(PE2_6, can=frozenset(), own6=LOOPBACK6)
    (said,) = (
        e for e in rig.last.actions if isinstance(e, LogEvent) and e.event == "next_hop_is_ipv4"
    )
    assert said.fields["peer"] == str(PE2_6)
    assert said.fields["family"] == "ipv4 mpls-vpn"
    rig = announced(PE2_6, can=frozenset({VPN4}), own6=LOOPBACK6)
    assert not any(isinstance(e, LogEvent) and "ipv4" in e.event for e in rig.last.actions)


def test_another_ipv6_loopback_announces_everything_again() -> None:
    rig = announced(PE2_6, can=frozenset({VPN4}), own6=LOOPBACK6)
    moved = IPv6Address("2001:db8:255::9")
    intent = rig.router.intent
    assert intent is not None
    rig.reload(msgspec.structs.replace(intent, loopback6=moved))
    assert next_hops(rig, PE2_6) == {moved}


def test_the_own_ipv6_loopback_is_no_next_hop_of_another_pe() -> None:
    rig = Rig()
    rig.reload(node(RED, loopback6=LOOPBACK6))
    rig.started().ready()
    rig.underlay("2001:db8:c1::2", to=f"{LOOPBACK6}/128")
    rig.vpn("10.9.0.0/24", next_hop=str(LOOPBACK6))
    assert "10.9.0.0/24" not in rig.table("red")


def test_an_ipv4_route_by_an_ipv6_next_hop_is_used() -> None:
    rig = Rig()
    rig.reload(node(RED, peers=(pe_peer(PE2_6),), loopback6=LOOPBACK6))
    rig.started()
    rig.underlay("2001:db8:c1::2", to="2001:db8:255::2/128")
    rig.up(PE2_6)
    rig.vpn("10.9.0.0/24", "2001:db8:9::/64", peer=PE2_6)
    assert {"10.9.0.0/24", "2001:db8:9::/64"} <= rig.table("red").keys()
    assert IPv4Address("10.255.0.1") == LOOPBACK
    assert {VPN4, VPN6} == rig.router.peers[PE2_6].families
