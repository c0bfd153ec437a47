"""``pe check --live``: what the file names and this network namespace has not."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controlplane.model.intent import CePortIntent, CorePortIntent, NodeIntent, VrfIntent
from controlplane.model.rd import parse_rd
from pe.cli.check_live import missing
from pe.model.state import Link
from pe.netlink import rtnl

LOOPBACK = 772
"""ARPHRD_LOOPBACK."""


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


def have(monkeypatch: pytest.MonkeyPatch, *devices: Link) -> None:
    """Give this machine other devices."""
    links = {link.name: link for link in (Link(1, "lo", hardware_type=LOOPBACK), *devices)}
    monkeypatch.setattr(rtnl, "links", lambda _: links)


def test_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Linux has 127.0.0.1 at lo."""
    have(monkeypatch, Link(2, "trunk"), Link(3, "wg0", "wireguard", hardware_type=0xFFFE))
    ports = (
        CePortIntent(name="ce.5", vrf="red", addresses=(), parent="trunk", vlan=5),
        CePortIntent(name="wg0", vrf="red", addresses=()),
    )
    assert [*missing(intent("lo", "127.0.0.1", *ports))] == []


def test_a_device_that_cannot_be_a_port_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have(monkeypatch, Link(2, "wg0", "wireguard", hardware_type=0xFFFE), Link(3, "vti0", "vti"))
    ports = (
        CePortIntent(name="ce.5", vrf="red", addresses=(), parent="wg0", vlan=5),
        CePortIntent(name="vti0", vrf="red", addresses=()),
    )
    vlan, vti = missing(intent("lo", "127.0.0.1", *ports))
    assert vlan.startswith("vrfs.red.ports.ce.5: wireguard wg0 has no Ethernet header")
    assert vti.startswith("vrfs.red.ports.vti0: vti vti0 cannot be guarded")


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
