"""From the configuration to what the kernel holds independent of routes."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest

from controlplane.model.desired import CePort, CorePort, Delta, LabelBinding, Node, VrfDevice
from controlplane.model.intent import CorePortIntent, NodeIntent
from controlplane.model.label import Label
from controlplane.model.speaker_user import FIRST_UID
from controlplane.routing.desired_vrf import Layout, difference
from controlplane.vpn.vrf import Vrf
from tests.unit.controlplane.rig import LOOPBACK, PE2, ce_peer, node, pe_peer, port, targets, vrf


def layout(intent: NodeIntent) -> Layout:
    labels = enumerate(intent.vrfs, start=16000)
    return Layout(intent, {wish.name: Vrf(wish, Label(label)) for label, wish in labels})


RED = vrf("red", 1, conntrack_limit=9, neighbors=(ce_peer("red", "192.0.2.2", ttl_security=1),))
INTENT = node(
    RED,
    loopback6=ip_address("2001:db8::1"),
    core_ports=(CorePortIntent(name="core0", mtu=1600, accept_explicit_null=True),),
)


def test_everything_has_its_object() -> None:
    found = layout(INTENT)
    assert found.node == Node("pe1", (LOOPBACK, ip_address("2001:db8::1")), 16100, FIRST_UID)
    assert found.vrfs == {"red": VrfDevice("red", 16000, 9, 0)}
    assert found.labels == {16000: LabelBinding(Label(16000), "red")}
    addresses = RED.ports[0].addresses
    assert found.ce_ports == {"red-ce": CePort("red-ce", "red", 16000, addresses, None)}
    assert found.core_ports == {"core0": CorePort("core0", (), 1600, True)}
    assert {s.peer: (s.port, s.min_ttl) for s in found.sessions.values()} == {
        PE2: ("", 0), RED.neighbors[0].peer: ("red-ce", 255),
    }  # fmt: skip


def test_a_vrf_reaches_the_ports_of_those_whose_routes_it_imports() -> None:
    hub = vrf("red", 1, import_targets=targets("65000:1", "65000:2"))
    spoke = vrf("blue", 2)
    assert layout(node(hub, spoke)).reaches == {"red": ("blue",)}


@pytest.mark.parametrize(("hops", "ttl"), [(None, 0), (1, 255), (2, 254), (255, 1)])
def test_the_least_ttl_follows_from_the_hops(hops: int | None, ttl: int) -> None:  # RFC 5082
    found = layout(node(peers=(pe_peer(ttl_security=hops),)))
    assert found.sessions[PE2].min_ttl == ttl


def test_a_difference_leads_from_one_to_the_other() -> None:
    more = msgspec.structs.replace(
        RED, ports=(port("b", "red", "198.51.100.1/30"),), conntrack_limit=10
    )
    old, new = layout(INTENT), layout(node(more, core_ports=()))
    delta = difference(old, new)
    assert delta.node == new.node
    assert delta.vrfs == {"red": VrfDevice("red", 16000, 10, 0)}
    assert delta.ce_ports == {"red-ce": None, "b": new.ce_ports["b"]}
    assert delta.core_ports == {"core0": None}
    assert not delta.labels
    assert not delta.sessions
    assert difference(new, new) == Delta()
    assert difference(None, new).ce_ports == {"b": new.ce_ports["b"]}
