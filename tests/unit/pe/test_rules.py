"""A rule of another program is found by what it selects, and read once for all who ask."""

from __future__ import annotations

import socket
import struct

import pytest

from controlplane.model.prefix import Afi
from pe.model.state import Rule
from pe.netlink import codec as nl
from pe.netlink import rules
from pe.netlink.ownership import PROTOCOL
from tests.unit.pe.foreign_messages import rule_body

SOURCE = nl.attribute(2, bytes([10, 0, 0, 0]))
DESTINATION = nl.attribute(1, bytes([10, 0, 0, 0]))
L3MDEV = nl.attribute(19, b"\x01")


def foreign(body: memoryview) -> str:
    return rules.foreign(rules.RawRule(body))


def test_the_kernels_own_local_rule_is_not_foreign() -> None:
    assert foreign(rule_body()) == ""
    assert foreign(rule_body(family=socket.AF_INET6)) == ""


@pytest.mark.parametrize(("body", "words"), [
    (rule_body(SOURCE, source=8), "from 10.0.0.0/8 lookup 255"),
    (rule_body(DESTINATION, destination=8), "from all to 10.0.0.0/8 lookup 255"),
    (rule_body(nl.attribute(3, b"red\0")), "from all iif red lookup 255"),
    (rule_body(nl.attribute(17, b"red\0")), "from all oif red lookup 255"),
    (rule_body(nl.u32(10, 7), nl.u32(16, 0xFFFFFFFF)), "from all fwmark 0x7 lookup 255"),
    (rule_body(nl.u32(10, 7), nl.u32(16, 0xFF)), "from all fwmark 0x7/0xff lookup 255"),
    (rule_body(nl.u32(16, 0xFF)), "from all fwmark 0x0/0xff lookup 255"),
    (rule_body(tos=16), "from all tos 0x10 lookup 255"),
    (rule_body(flags=2), "not from all lookup 255"),
    (rule_body(nl.attribute(22, b"\x06")), "from all ipproto 06 lookup 255"),
    (rule_body(nl.attribute(12, bytes(8))), "from all tun_id 0000000000000000 lookup 255"),
    (rule_body(nl.attribute(99, b"\x01")), "from all attribute 99 01 lookup 255"),
    (rule_body(nl.u32(14, 0)), "from all suppress_prefixlength 00000000 lookup 255"),
    (rule_body(action=7), "from all action 7"),
    (rule_body(table=77), "from all lookup 77"),
    (rule_body(L3MDEV, action=7, preference=500), "from all l3mdev action 7"),
])  # fmt: skip
def test_a_rule_before_the_vrfs_tables_is_foreign(body: memoryview, words: str) -> None:
    """Any rule for the local table of preference 0 once counted as the kernel's."""
    place = "500" if "l3mdev" in words else "0"
    assert foreign(body) == f"ipv4 {place} {words}"
    assert rules.structural(rules.RawRule(body)) is None or "lookup 77" in words or "0x7 " in words


@pytest.mark.parametrize("body", [
    rule_body(L3MDEV, preference=1000, table=0),
    rule_body(L3MDEV, SOURCE, preference=500, table=0, source=8),
    rule_body(preference=1001, table=77),
    rule_body(nl.attribute(21, bytes([PROTOCOL])), preference=999, table=77),
    rule_body(preference=5, table=77, family=129),
])  # fmt: skip
def test_rules_that_are_not_in_the_way(body: memoryview) -> None:
    assert foreign(body) == ""


def test_the_structure_has_rules_without_selectors() -> None:
    whole = nl.u32(16, 0xFFFFFFFF)
    ours = nl.attribute(21, bytes([PROTOCOL]))
    cases = {
        rule_body(): Rule(Afi.IPV4, 0, 255, False, 2),
        rule_body(L3MDEV, preference=1000, table=0): Rule(Afi.IPV4, 1000, 0, True, 2),
        rule_body(ours, nl.u32(10, 7), whole, preference=999, table=1001): Rule(
            Afi.IPV4, 999, 1001, False, PROTOCOL, 7
        ),
    }
    for body, rule in cases.items():
        assert rules.structural(rules.RawRule(body)) == rule
        broken = memoryview(struct.pack("=BBBBBBBBI", body[0], 0, 0, 4, *body[4:8], 0) + body[12:])
        assert rules.structural(rules.RawRule(broken)) is None, "it is for one TOS only"
