"""A label that another program of the machine routes, such as FRR's segment routing: it stays that
program's, and the VRF has another one. One that was ours is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from controlplane.model.events import LabelsTaken
from controlplane.model.intent import CorePortIntent, NodeIntent
from controlplane.model.label import LabelBlock
from tests.lab.agents import RouterProcess, founding_world, inside, until
from tests.unit.controlplane.rig import port, vrf


@contextmanager
def red_pe(*before: str) -> Iterator[RouterProcess]:
    """PE 1 with VRF red, after these commands."""
    red = vrf("red", 1, table=1001, ports=(port("pe1-red", "red", "192.168.1.1/24"),))
    loopback = IPv4Address("10.255.0.1")
    intent = NodeIntent(
        name="pe1", router_id=loopback, asn=65000, loopback=loopback, vrfs=(red,), peers=(),
        core_ports=(CorePortIntent(name="core0"),), label_block=LabelBlock(16000, 16099),
    )  # fmt: skip
    with founding_world():
        inside("pe1", "sysctl -qw net.mpls.platform_labels=20000")
        for command in before:
            inside("pe1", command)
        pe = RouterProcess("pe1", check_seconds=1)
        try:
            pe.call("configure", intent)
            pe.call("mark_in_sync")
            pe.call("settled")
            yield pe
        finally:
            pe.stop()


def route(label: int) -> str:
    return inside("pe1", f"ip -f mpls route show {label}", check=False)


def test_one_that_is_taken_at_start_is_left_alone() -> None:
    with red_pe("ip -f mpls route add 16000 dev lo proto 187") as pe:
        assert until(lambda: "dev red" in route(16001)), inside("pe1", "ip -f mpls route")
        assert "dev lo" in route(16000)
        assert pe.call("failures") == ()
        taken = [e for _, e in pe.call("events") if isinstance(e, LabelsTaken)]
        assert [e.taken for e in taken] == [frozenset({16000})]


def test_one_that_is_taken_later_is_not_given_out() -> None:
    with red_pe() as pe:
        assert until(lambda: "dev red" in route(16000))
        inside("pe1", "ip -f mpls route add 16001 dev lo proto 187")
        assert until(lambda: any(isinstance(e, LabelsTaken) for _, e in pe.call("events")))
        inside("pe1", "ip -f mpls route del 16001")
        assert until(lambda: any(getattr(e, "freed", ()) == {16001} for _, e in pe.call("events")))


def test_one_that_was_ours_is_taken_back() -> None:
    """Its new route could carry one VPN's packets into another (FAIL-5)."""
    with red_pe() as pe:
        assert until(lambda: "dev red" in route(16000))
        inside("pe1", "ip -f mpls route replace 16000 dev lo")
        assert until(lambda: "dev red" in route(16000)), inside("pe1", "ip -f mpls route")
        assert not any(isinstance(e, LabelsTaken) for _, e in pe.call("events"))
