"""Labelled packets from a CE of red and from the core."""

from __future__ import annotations

from labs.attack.net import Net, circuit
from labs.attack.port import Port
from labs.attack.spoof import spoofed
from tests.attack.trial import Attack

RED, BLUE = circuit("red", 1), circuit("blue", 1)
CORE = Port("pe1", "core0")
P_LOOPBACK = "10.255.0.100"


def from_red(net: Net, version: int = 4, **more: object) -> Attack:
    """Return a packet of red's CE under blue's label."""
    frames = spoofed(RED.ce, RED.pe.mac, [net.label("blue")], version, **more)  # type: ignore[arg-type]
    return Attack(RED.ce, frames, BLUE.ce, RED, "ce-red-1")


def from_core(net: Net, labels: list[int], version: int, **more: object) -> Attack:
    """Return a packet of the core that should go nowhere."""
    frames = spoofed(net.p, CORE.mac, labels, version, **more)  # type: ignore[arg-type]
    return Attack(net.p, frames, BLUE.ce, RED, bystanders=(RED.ce,))
