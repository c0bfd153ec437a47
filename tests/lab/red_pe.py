"""PE 1 of the founding world with VRF red: a router above an agent, in a namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any

from controlplane.model.intent import CePortIntent, CorePortIntent, NodeIntent, PeerIntent
from controlplane.model.label import LabelBlock
from tests.lab.agents import RouterProcess
from tests.unit.controlplane.rig import port, vrf

LOOPBACK = IPv4Address("10.255.0.1")
PORT = port("pe1-red", "red", "192.168.1.1/24")


def red_node(
    ce_port: CePortIntent = PORT, peers: Sequence[PeerIntent] = (), **more: Any
) -> NodeIntent:
    """The configuration: one VRF with one port; ``more`` is the VRF's."""
    red = vrf("red", 1, table=1001, ports=(ce_port,), **more)
    return NodeIntent(
        name="pe1", router_id=LOOPBACK, asn=65000, loopback=LOOPBACK, vrfs=(red,),
        peers=tuple(peers), core_ports=(CorePortIntent(name="core0"),),
        label_block=LabelBlock(16000, 16099),
    )  # fmt: skip


@contextmanager
def red_pe(intent: NodeIntent | None = None, check_seconds: int = 3600) -> Iterator[RouterProcess]:
    """The PE, configured and settled, in a founding world that stands."""
    pe = RouterProcess("pe1", check_seconds=check_seconds)
    try:
        pe.call("configure", intent or red_node())
        pe.call("mark_in_sync")
        pe.call("settled")
        yield pe
    finally:
        pe.stop()
