"""What a good file means."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from controlplane.model.intent import ACCEPT_ANY, DENY_ALL, ApiRole, PrefixLimit
from controlplane.model.prefix import Family, parse_prefix
from controlplane.model.rd import parse_rd, parse_rt, parse_soo
from pe.config import load_config, read_config
from tests.unit.config.text import changed, intent

EXAMPLE = Path(__file__).parents[3] / "labs/examples/pe.yaml"


def test_the_documented_example_is_whole() -> None:
    node = load_config(EXAMPLE)
    assert [vrf.name for vrf in node.vrfs] == ["red", "blue"]
    red = node.vrfs[0]
    assert red.rd == parse_rd("65000:1")
    assert red.import_targets == red.export_targets == {parse_rt("65000:1")}
    assert red.neighbors[0].site_of_origin == parse_soo("65000:101")
    assert red.neighbors[0].limit(Family.IPV4_UNICAST) == PrefixLimit(500)
    rr = node.peers[1]
    assert rr.limit(Family.IPV4_VPN) == PrefixLimit(800_000)
    assert rr.limit(Family.IPV6_VPN) == PrefixLimit(200_000)
    assert node.tcp_api is not None
    assert [grant.role for grant in node.tcp_api.grants] == [ApiRole.OPERATOR, ApiRole.VIEWER]


def test_asymmetric_route_targets() -> None:
    blue = load_config(EXAMPLE).vrfs[1]
    assert blue.import_targets == {parse_rt("65000:2"), parse_rt("65000:99")}
    assert blue.export_targets == {parse_rt("65000:2")}


def test_defaults_of_the_node() -> None:
    node = intent()
    assert node.router_id == IPv4Address("10.255.0.1")
    assert (node.socket_mode, node.tcp_api, node.metrics_socket) == (0o660, None, "")
    assert node.vrfs[0].table == 0


def test_the_nodes_room_for_routes_is_divided() -> None:
    limited = ("rd: 65000:1\n", "rd: 65000:1\n    limits: {routes: 300}\n")
    for changes, wanted in (
        ((), [0, 0]),
        ((limited,), [300, 0]),
        ((("asn: 65000", "limits: {routes: 1001}\nasn: 65000"),), [500, 500]),
        ((limited, ("asn: 65000", "limits: {routes: 1000}\nasn: 65000")), [300, 700]),
    ):
        assert [vrf.route_limit for vrf in intent(*changes).vrfs] == wanted


def test_a_core_peer_is_ibgp_from_the_loopback_in_both_vpn_families() -> None:
    peer = intent().peers[0]
    assert not peer.is_ebgp
    assert peer.local_address == ip_address("10.255.0.1")
    assert peer.families == (Family.IPV4_VPN, Family.IPV6_VPN)
    assert (peer.ttl_security, peer.prefix_limits) == (None, ())


def test_an_ipv6_core_peer_is_spoken_to_from_the_ipv6_loopback() -> None:
    node = intent(
        ("loopback: 10.255.0.1", "loopback: 10.255.0.1\nloopback-ipv6: 2001:db8::1"),
        ("10.255.0.2:", "2001:db8::2:"),
    )
    assert node.peers[0].local_address == IPv6Address("2001:db8::1")


def test_a_ce_neighbour_finds_its_port_and_our_address_on_it() -> None:
    neighbor = intent().vrfs[0].neighbors[0]
    assert (neighbor.port, neighbor.local_address) == ("ce1", ip_address("10.1.1.1"))
    assert neighbor.families == (Family.IPV4_UNICAST,)
    assert neighbor.ttl_security == 1
    assert neighbor.limit(Family.IPV4_UNICAST) == PrefixLimit(10_000)
    assert (neighbor.asn, neighbor.local_as, neighbor.peer.vrf) == (65001, 65000, "red")


def test_the_longest_link_wins_where_two_hold_a_next_hop() -> None:
    node = intent(
        (
            "ce2:\n        addresses: 10.1.1.1/30",
            "ce2:\n        addresses: [10.1.1.1/30, 10.0.0.1/8]",
        ),
        ("via: 10.1.1.2", "via: 10.9.9.9"),
    )
    assert node.vrfs[1].static_routes[0].port == "ce2"


def test_the_default_source_prefixes_of_a_bgp_port_are_link_and_import_list() -> None:
    sources = intent().vrfs[0].ports[0].sources
    assert sources is not None
    assert set(map(str, sources)) == {"10.1.0.0/16", "10.1.1.0/30", "2001:db8:1::/64"}


def test_the_default_source_prefixes_of_a_static_port_are_link_and_routes() -> None:
    sources = intent().vrfs[1].ports[0].sources
    assert sources == (parse_prefix("10.1.1.0/30"), parse_prefix("10.2.0.0/16"))


@pytest.mark.parametrize("policy", ["any", "[10.1.0.0/16, 0.0.0.0/0]"])
def test_a_neighbour_that_may_announce_the_default_has_no_source_list(policy: str) -> None:
    node = intent(("import: 10.1.0.0/16 le 24", f"import: {policy}"))
    assert node.vrfs[0].ports[0].sources is None


def test_source_prefixes_are_taken_as_given() -> None:
    given = intent(("addresses: [10.1.1.1/30, 2001:db8:1::1/64]",
                    "addresses: 10.1.1.1/30\n        source-prefixes: 10.9.0.0/16"))  # fmt: skip
    assert given.vrfs[0].ports[0].sources == (parse_prefix("10.9.0.0/16"),)
    none = intent(("addresses: [10.1.1.1/30, 2001:db8:1::1/64]",
                   "addresses: 10.1.1.1/30\n        source-prefixes: []"))  # fmt: skip
    assert none.vrfs[0].ports[0].sources == ()


def test_policies() -> None:
    neighbor = intent(("import: 10.1.0.0/16 le 24", "import: [10.1.0.0/16 ge 20, '::/0']"))
    policy = neighbor.vrfs[0].neighbors[0].import_policy
    assert policy.default_route
    assert policy.accepts(parse_prefix("10.1.16.0/20"))
    assert policy.accepts(parse_prefix("10.1.1.1/32"))
    assert not policy.accepts(parse_prefix("10.1.0.0/16"))
    assert not policy.accepts(parse_prefix("10.2.0.0/20"))
    assert neighbor.vrfs[0].neighbors[0].export_policy == ACCEPT_ANY


def test_without_a_policy_nothing_passes() -> None:
    node = intent(("        import: 10.1.0.0/16 le 24\n        export: any\n", ""))
    neighbor = node.vrfs[0].neighbors[0]
    assert neighbor.import_policy == neighbor.export_policy == DENY_ALL


def test_any_prefix_but_the_default() -> None:
    policy = intent(("10.1.0.0/16 le 24", "0.0.0.0/0 le 24")).vrfs[0].neighbors[0].import_policy
    assert policy.accepts(parse_prefix("10.0.0.0/8"))
    assert not policy.accepts(parse_prefix("0.0.0.0/0"))


def test_a_route_distinguisher_is_not_a_number_to_base_sixty() -> None:
    assert intent(("rd: 65000:1", "rd: 650:59")).vrfs[0].rd == parse_rd("650:59")


@pytest.mark.parametrize(("written", "mode"), [("0600", 0o600), ("'660'", 0o660), ("0o640", 0o640)])
def test_a_socket_mode_is_octal(written: str, mode: int) -> None:
    assert intent(("asn:", f"api: {{socket-mode: {written}}}\nasn:")).socket_mode == mode


def test_an_asn_may_be_written_with_a_dot() -> None:
    assert intent(("asn: 65001", "asn: 1.10")).vrfs[0].neighbors[0].asn == 65546


def test_an_unnumbered_port_takes_static_routes() -> None:
    node = intent(("ce2:\n        addresses: 10.1.1.1/30", "ce2:"), ("via: 10.1.1.2", "port: ce2"))
    assert node.vrfs[1].static_routes[0].port == "ce2"
    assert node.vrfs[1].ports[0].sources == (parse_prefix("10.2.0.0/16"),)


def test_max_prefix_can_be_switched_off() -> None:
    node = intent(("export: any", "export: any\n        max-prefix: off"))
    assert node.vrfs[0].neighbors[0].prefix_limits == ()


def test_a_number_for_one_family_says_nothing_of_the_other() -> None:
    core = intent(("md5: core", "max-prefix: {ipv4: 7}")).peers[0]
    assert (core.limit(Family.IPV4_VPN), core.limit(Family.IPV6_VPN)) == (PrefixLimit(7), None)
    families = "families: [ipv4, ipv6]\n        max-prefix: {ipv6: 7}"
    ce = intent(("asn: 65001", f"asn: 65001\n        {families}")).vrfs[0].neighbors[0]
    assert ce.limit(Family.IPV4_UNICAST) == PrefixLimit(10_000)
    assert ce.limit(Family.IPV6_UNICAST) == PrefixLimit(7)


def test_an_md5_key_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / "key").chmod(0o600)
    file = tmp_path / "pe.yaml"
    file.write_text(changed(("md5: core", "md5-file: key")))
    file.chmod(0o600)
    configuration = read_config(file)
    assert configuration.intent.peers[0].md5 == "from-a-file"
    assert configuration.warnings == ()


def test_a_key_never_prints() -> None:
    assert "core" not in repr(intent().peers[0])


def test_workloads_and_the_sources_that_follow_from_them() -> None:
    with_web = (
        "    ports:\n      ce2:",
        "    workloads:\n      web:\n        port: ce2\n"
        "        addresses: [10.9.0.5, 10.9.1.0/24]\n"
        "        tags: {tier: web, env: prod}\n    ports:\n      ce2:",
    )
    blue = next(v for v in intent(with_web).vrfs if v.name == "blue")
    (web,) = blue.workloads
    assert (web.name, web.port, web.tags) == ("web", "ce2", (("env", "prod"), ("tier", "web")))
    assert [str(p) for p in web.addresses] == ["10.9.0.5/32", "10.9.1.0/24"]
    assert set(web.addresses) <= set(blue.ports[0].sources or ())
