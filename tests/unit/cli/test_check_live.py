"""``pe check --live``: what the file names and this network namespace has not."""

from __future__ import annotations

from ipaddress import IPv4Address

from controlplane.model.intent import CePortIntent, CorePortIntent, NodeIntent, VrfIntent
from controlplane.model.rd import parse_rd
from pe.cli.check_live import missing


def intent(core: str, loopback: str, *ports: CePortIntent) -> NodeIntent:
    red = VrfIntent(
        name="red", rd=parse_rd("65000:1"), import_targets=frozenset(), export_targets=frozenset(),
        ports=ports,
    )  # fmt: skip
    address = IPv4Address(loopback)
    return NodeIntent(
        name="pe1", router_id=address, asn=65000, loopback=address,
        core_ports=(CorePortIntent(name=core),), vrfs=(red,),
    )  # fmt: skip


def test_nothing_is_missing() -> None:
    """Every Linux has lo, and 127.0.0.1 there."""
    port = CePortIntent(name="ce.5", vrf="red", addresses=(), parent="lo", vlan=5)
    assert [*missing(intent("lo", "127.0.0.1", port))] == []


def test_each_thing_that_is_missing_is_named() -> None:
    ports = (
        CePortIntent(name="no-such", vrf="red", addresses=()),
        CePortIntent(name="v5", vrf="red", addresses=(), parent="no-trunk", vlan=5),
    )
    found = [*missing(intent("no-core", "198.51.100.77", *ports))]
    assert [text.partition(":")[0] for text in found] == [
        "core-ports.no-core", "vrfs.red.ports.no-such", "vrfs.red.ports.v5.parent",
        "loopback 198.51.100.77",
    ]  # fmt: skip
