"""Routes and rules of other programs that decide about VRFs' packets are found and shown."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.lab.agents import RouterProcess, founding_world, inside, nft, until
from tests.lab.red_pe import red_node, red_pe

FIRST, ROUTE, RULE = "10.65.0.0/24", "10.66.0.0/24", "pref 100 iif red lookup 77"


@pytest.fixture(scope="module")
def pe() -> Iterator[RouterProcess]:
    with founding_world(), red_pe(check_seconds=1) as made:
        assert until(lambda: "red" in inside("pe1", "ip link show type vrf"))
        yield made


def routes(pe: RouterProcess) -> list[tuple[str, str, str]]:
    return [(str(r.prefix), r.port, r.protocol) for r in pe.call("foreign_routes", red_table())]


def red_table() -> int:
    words = inside("pe1", "ip -d link show red").split()
    return int(words[words.index("table") + 1])


@pytest.mark.parametrize(("protocol", "said"), [("static", "static"), ("bgp", "bgp"),
                                                ("77", "77")])  # fmt: skip
def test_a_route_of_another_program(pe: RouterProcess, protocol: str, said: str) -> None:
    assert routes(pe) == [], "the kernel's own and ours are none"
    inside("pe1", f"ip route add {ROUTE} dev red vrf red proto {protocol}")
    assert until(lambda: routes(pe) == [(ROUTE, "red", said)]), routes(pe)
    assert ROUTE in inside("pe1", "ip route show vrf red"), "shown, not removed"
    inside("pe1", f"ip route del {ROUTE} vrf red")
    assert until(lambda: routes(pe) == [])


def test_a_route_that_was_there_before_is_found_when_all_is_read_anew(pe: RouterProcess) -> None:
    inside("pe1", f"ip route add blackhole {FIRST} vrf red")
    assert until(lambda: len(routes(pe)) == 1)
    pe.call("read_foreign_anew")
    assert until(lambda: routes(pe) == [(FIRST, "", "boot")]), routes(pe)
    inside("pe1", f"ip route del {FIRST} vrf red")
    assert until(lambda: routes(pe) == [])


def test_routes_are_removed_where_the_configuration_asks_for_it(pe: RouterProcess) -> None:
    inside("pe1", f"ip route add {ROUTE} dev red vrf red")
    inside("pe1", f"ip route add unreachable {FIRST} vrf red metric 7")
    inside("pe1", "ip -6 route add 2001:db8:66::/48 dev red vrf red")
    assert until(lambda: len(routes(pe)) == 3)
    before = inside("pe1", "ip route show vrf red")
    pe.call("configure", msgspec.structs.replace(red_node(), removes_foreign_routes=True))
    assert until(lambda: routes(pe) == [])
    after = inside("pe1", "ip route show vrf red")
    gone = set(before.splitlines()) - set(after.splitlines())
    assert {line.split()[0] for line in gone} == {ROUTE, "unreachable"}
    assert "2001:db8:66::/48" not in inside("pe1", "ip -6 route show vrf red")
    inside("pe1", f"ip route add {ROUTE} dev red vrf red")
    assert until(lambda: ROUTE not in inside("pe1", "ip route show vrf red"))
    pe.call("configure", red_node())


def test_a_rule_for_the_local_table_with_a_selector(pe: RouterProcess) -> None:
    """Any rule of preference 0 for that table once counted as the kernel's."""
    inside("pe1", "ip rule add pref 0 iif red lookup local")
    assert until(lambda: pe.call("foreign_rules") == ["ipv4 0 from all iif red lookup 255"])
    inside("pe1", "ip rule del pref 0 iif red lookup local")
    assert until(lambda: pe.call("foreign_rules") == [])


def test_a_rule_before_the_vrfs_tables(pe: RouterProcess) -> None:
    inside("pe1", "ip rule add pref 2000 lookup 77")  # asked after the VRF's table
    inside("pe1", f"ip rule add {RULE}")
    assert until(lambda: pe.call("foreign_rules") == ["ipv4 100 from all iif red lookup 77"])
    inside("pe1", "ip -6 rule add pref 5 from 2001:db8::/32 lookup 78")
    assert until(lambda: len(pe.call("foreign_rules")) == 2)
    assert "ipv6 5 from 2001:db8::/32 lookup 78" in pe.call("foreign_rules")
    inside("pe1", f"ip rule del {RULE}")
    inside("pe1", "ip -6 rule del pref 5")
    assert until(lambda: pe.call("foreign_rules") == [])
    inside("pe1", "ip rule del pref 2000")


HOOK = "type filter hook prerouting priority -300"
CHAINS = (
    ("inet other", f"chain c {{ {HOOK}; ct mark set 0x80000000; }}", "inet other c: ct mark set"),
    ("ip other", f"chain c {{ {HOOK}; ip saddr 10.0.0.0/8 counter meta mark set 1; }}",
     "ip other c: meta mark set"),
    ("netdev other", "chain c { type filter hook ingress device core0 priority 0; "
     "meta mark set meta mark or 0x80000000; }", "netdev other c: meta mark set"),
    ("inet other", 'chain c { log group 6 prefix "10"; }', "inet other c: log group 6"),
)  # fmt: skip


@pytest.mark.parametrize(("table", "chain", "words"), CHAINS, ids=[c[2] for c in CHAINS])
def test_a_chain_that_sets_our_marks_or_uses_our_log(
    pe: RouterProcess, table: str, chain: str, words: str
) -> None:
    nft("pe1", "inet harmless", f"chain c {{ {HOOK}; counter; meta mark 1 accept; "
        "meta mark set meta mark or 0x4000; log group 9; }")  # fmt: skip
    nft("pe1", table, chain)
    assert until(lambda: pe.call("foreign_chains") == [words]), pe.call("foreign_chains")
    inside("pe1", f"nft delete table {table}")
    assert until(lambda: pe.call("foreign_chains") == [])
    inside("pe1", "nft delete table inet harmless")


def test_chains_that_were_there_before_are_found_when_all_is_read_anew(pe: RouterProcess) -> None:
    table, chain, words = CHAINS[0]
    nft("pe1", table, chain)
    assert until(lambda: pe.call("foreign_chains") == [words])
    pe.call("read_foreign_anew")
    assert until(lambda: pe.call("foreign_chains") == [words])
    inside("pe1", f"nft delete table {table}")
    assert until(lambda: pe.call("foreign_chains") == [])
