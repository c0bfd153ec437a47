"""What a peer may send, a row a rule; every rule with the same thing in order beside it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from controlplane.bgp.inbound import (
    can_be_next_hop,
    clean_ce,
    refuse_ce,
    refuse_core,
    refuse_prefix,
    refuse_vpn,
)
from controlplane.model.attributes import AsSegment, Attributes, Nlri
from controlplane.model.intent import DENY_ALL, Policy, PrefixRule
from controlplane.model.martians import PrefixCover
from controlplane.model.rd import parse_rd, parse_rt, parse_soo
from tests.unit.controlplane.rig import ce_peer, path_of, pe_peer, port, prefix

CE = ce_peer("red", "192.0.2.2")
LINK = port("red-ce", "red", "192.0.2.1/30", "2001:db8::1/64")
NO_LINKS = PrefixCover(())


@pytest.mark.parametrize(
    ("attributes", "next_hop", "refusal"),
    [
        ({"as_path": path_of(65101)}, "192.0.2.2", None),
        ({"as_path": path_of(65101)}, "2001:db8::2", None),
        ({"as_path": path_of(65101, 65102)}, "192.0.2.2", None),
        ({"as_path": path_of()}, "192.0.2.2", "first-as"),
        ({"as_path": path_of(65102, 65101)}, "192.0.2.2", "first-as"),
        ({"as_path": (AsSegment("set", (65101,)),)}, "192.0.2.2", "first-as"),
        ({"as_path": path_of(65101, 65000)}, "192.0.2.2", "as-loop"),
        ({"as_path": path_of(65101, 0)}, "192.0.2.2", "as-zero"),
        ({"as_path": path_of(*[65101] * 255)}, "192.0.2.2", None),
        ({"as_path": path_of(*[65101] * 256)}, "192.0.2.2", "as-path-length"),
        ({"as_path": path_of(65101)}, "192.0.2.3", "next-hop"),
        ({"as_path": path_of(65101)}, "192.0.2.1", "next-hop"),
        ({"as_path": path_of(65101)}, "2001:db8::1", "next-hop"),
        ({"as_path": path_of(65101)}, "2001:db8:1::2", "next-hop"),
    ],
)
def test_an_update_from_a_ce(attributes: Any, next_hop: str, refusal: str | None) -> None:
    assert refuse_ce(CE, LINK, Attributes(**attributes), ip_address(next_hop)) == refusal


@pytest.mark.parametrize(
    ("next_hop", "refusal"),
    [("fe80::2", None), ("169.254.0.2", "next-hop"), ("2001:db8::3", None)],
)
def test_next_hops_of_ipv6(next_hop: str, refusal: str | None) -> None:
    """A link-local one is on the session's link (RFC 2545); IPv4 has none that routers use."""
    said = Attributes(as_path=path_of(65101))
    assert refuse_ce(CE, LINK, said, ip_address(next_hop)) == refusal


@pytest.mark.parametrize(
    ("next_hop", "refusal"),
    [
        ("192.0.2.2", None),
        ("192.0.2.3", None),
        ("192.0.2.1", "next-hop"),
        ("192.0.2.9", "next-hop"),
    ],
)
def test_next_hops_of_others_on_the_link(next_hop: str, refusal: str | None) -> None:
    """A VRRP pair, or the members behind a route server: by key only, and on this link only."""
    lan = port("red-ce", "red", "192.0.2.1/29")
    peer = ce_peer("red", "192.0.2.2", third_party_next_hop=True)
    said = Attributes(as_path=path_of(65101))
    assert refuse_ce(peer, lan, said, ip_address(next_hop)) == refusal
    if next_hop == "192.0.2.3":
        assert refuse_ce(CE, lan, said, ip_address(next_hop)) == "next-hop"


def test_a_route_server_does_not_put_its_as_on_the_path() -> None:
    peer = ce_peer("red", "192.0.2.2", enforce_first_as=False)
    said = Attributes(as_path=path_of(65102))
    assert refuse_ce(peer, LINK, said, ip_address("192.0.2.2")) is None
    assert refuse_ce(CE, LINK, said, ip_address("192.0.2.2")) == "first-as"


@pytest.mark.parametrize(("allowed", "refusal"), [(0, "as-loop"), (1, "as-loop"), (2, None)])
def test_own_as_on_the_path_as_often_as_allowed(allowed: int, refusal: str | None) -> None:
    peer = ce_peer("red", "192.0.2.2", allow_as_in=allowed)
    twice = Attributes(as_path=path_of(65101, 65000, 65000))
    assert refuse_ce(peer, LINK, twice, ip_address("192.0.2.2")) == refusal


@pytest.mark.parametrize(
    ("attributes", "refusal"),
    [
        ({}, None),
        ({"originator_id": "10.255.0.3"}, None),
        ({"originator_id": "10.255.0.1"}, "originator-loop"),
        ({"originator_id": "nonsense"}, "originator"),
        ({"as_path": path_of(65101, 65102)}, None),
        ({"as_path": path_of(65101, 65000)}, "as-loop"),
        ({"as_path": (AsSegment("set", (65101, 65000)),)}, "as-loop"),
        ({"as_path": path_of(0)}, "as-zero"),
    ],
)
def test_an_update_from_the_core(attributes: Any, refusal: str | None) -> None:
    assert refuse_core(pe_peer(), Attributes(**attributes), "10.255.0.1") == refusal


def test_core_sessions_are_internal() -> None:  # RFC 8212: no policy, no routes
    other = msgspec.structs.replace(pe_peer(), asn=65001)
    assert refuse_core(other, Attributes(as_path=path_of(65001)), "10.255.0.1") == "policy"


@pytest.mark.parametrize(
    ("next_hop", "usable"),
    [
        ("10.255.0.2", True),
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("ff02::1", False),
        ("fe80::1", False),
    ],
)
def test_a_next_hop_is_an_address_that_a_router_has(next_hop: str, usable: bool) -> None:
    assert can_be_next_hop(ip_address(next_hop)) is usable


@pytest.mark.parametrize(
    ("rd", "labels", "refusal"),
    [
        ("1:1", (16,), None),
        ("1:1", (1048575,), None),
        (None, (16,), "no-rd"),
        ("1:1", (), "label-stack"),
        ("1:1", (16, 17), "label-stack"),
        ("1:1", (0,), "reserved-label"),
        ("1:1", (3,), "reserved-label"),
        ("1:1", (15,), "reserved-label"),
        ("1:1", (1048576,), "reserved-label"),
    ],
)
def test_a_vpn_route(rd: str | None, labels: tuple[int, ...], refusal: str | None) -> None:
    nlri = Nlri(prefix("10.0.0.0/8"), parse_rd(rd) if rd else None, labels)
    assert refuse_vpn(nlri) == refusal


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("10.0.0.0/8", None),
        ("0.0.0.0/0", None),
        ("::/0", None),
        ("0.0.0.0/1", None),
        ("223.255.255.0/24", None),
        ("64:ff9b::/96", None),
        ("2001:db8::/32", None),
        ("0.0.0.0/8", "martian"),
        ("0.1.2.3/32", "martian"),
        ("127.0.0.1/32", "martian"),
        ("169.254.0.0/16", "martian"),
        ("169.254.1.0/24", "martian"),
        ("224.0.0.0/4", "martian"),
        ("240.0.0.0/4", "martian"),
        ("255.255.255.255/32", "martian"),
        ("::1/128", "martian"),
        ("::ffff:10.0.0.0/104", "martian"),
        ("fe80::/64", "martian"),
        ("ff02::/16", "martian"),
    ],
)
def test_martians(text: str, refusal: str | None) -> None:
    assert refuse_prefix(CE, NO_LINKS, prefix(text)) == refusal


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("192.0.2.0/24", None),
        ("192.0.2.0/30", "link"),
        ("192.0.2.2/32", "link"),
        ("192.0.2.4/30", None),
        ("2001:db8::/64", "link"),
    ],
)
def test_the_links_of_the_vrf_are_not_a_ces_to_announce(text: str, refusal: str | None) -> None:
    links = PrefixCover([prefix("192.0.2.0/30"), prefix("2001:db8::/64")])
    assert refuse_prefix(CE, links, prefix(text)) == refusal


def test_without_a_policy_nothing_is_taken() -> None:  # RFC 8212
    peer = ce_peer("red", "192.0.2.2", import_policy=DENY_ALL)
    assert refuse_prefix(peer, NO_LINKS, prefix("10.0.0.0/8")) == "policy"
    assert refuse_prefix(CE, NO_LINKS, prefix("10.0.0.0/8")) is None


def test_a_default_route_only_by_name() -> None:
    rule = PrefixRule(prefix("0.0.0.0/0"), 0, 32)
    any_length = ce_peer("red", "192.0.2.2", import_policy=Policy(accept=(rule,)))
    by_name = ce_peer("red", "192.0.2.2", import_policy=Policy((rule,), default_route=True))
    assert refuse_prefix(any_length, NO_LINKS, prefix("0.0.0.0/0")) == "policy"
    assert refuse_prefix(any_length, NO_LINKS, prefix("10.0.0.0/8")) is None
    assert refuse_prefix(by_name, NO_LINKS, prefix("0.0.0.0/0")) is None


def test_what_only_the_provider_may_say_is_taken_off() -> None:
    said = Attributes(
        as_path=path_of(65101),
        med=7,
        local_pref=900,
        communities=((65000, 1), (65101, 2), (0xFFFF, 0xFF01)),
        large_communities=((65000, 1, 1), (65101, 1, 1)),
        route_targets=frozenset({parse_rt("65000:2")}),
        sites_of_origin=frozenset({parse_soo("65000:9")}),
        extended=("bandwidth:1",),
        originator_id="1.2.3.4",
        cluster_list=("1.2.3.4",),
    )
    assert clean_ce(CE, said) == Attributes(
        as_path=path_of(65101),
        med=7,
        communities=((65101, 2), (0xFFFF, 0xFF01)),
        large_communities=((65101, 1, 1),),
    )
    site = ce_peer("red", "192.0.2.2", site_of_origin=parse_soo("65000:5"))
    assert clean_ce(site, said).sites_of_origin == {parse_soo("65000:5")}
