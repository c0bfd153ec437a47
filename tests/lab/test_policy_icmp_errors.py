"""ICMP errors under a policy: those about an allowed flow pass, from any router, and no others."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.packet import Packet, Raw

from controlplane.model.prefix import IPAddress
from tests.lab import policy_node as node
from tests.lab.policy_node import NodeProcess, World
from tests.lab.test_policy_source_bindings import ENDS, PORT, process

__all__ = ["process"]

pytestmark = pytest.mark.lab

ROUTERS = {4: ip_address("172.31.0.1"), 6: ip_address("2001:db8:ffff::1")}
"""In no prefix list, no network set, no workload."""
ERRORS = {
    4: {
        "fragmentation needed": ICMP(type=3, code=4, nexthopmtu=1300),
        "host unreachable": ICMP(type=3, code=1),
        "time exceeded": ICMP(type=11, code=0),
    },
    6: {
        "packet too big": ICMPv6PacketTooBig(mtu=1300),
        "no route": ICMPv6DestUnreach(code=0),
        "time exceeded": ICMPv6TimeExceeded(code=0),
    },
}
CASES = [(version, what) for version, errors in ERRORS.items() for what in errors]


class Path:
    """Web sends to db; a router on the way, behind db's port or in the core, complains."""

    def __init__(self, world: World, version: int) -> None:
        self.world, self.version, self.number = world, version, 0
        self.web, self.db = ENDS[version]

    def packet(self, dport: int) -> bytes:
        """The next packet of web, a flow of its own."""
        self.number += 1
        return node.packet(
            self.web, self.db, 17, sport=20_000 + self.number, dport=dport, number=self.number
        )

    def sent(self, dport: int = PORT) -> tuple[bytes, bool]:
        """Send one packet; it, and whether it arrived."""
        packet = self.packet(dport)
        self.world.ports["a"].send([self.world.from_host("a", packet)])
        return packet, self._seen("b")

    def error(self, what: str, about: bytes, *, core: bool = False) -> bool:
        """Whether web gets an error about a packet, which is quoted whole."""
        message = _error(self.version, what, ROUTERS[self.version], self.web) / Raw(about)
        world, packet = self.world, bytes(message)
        if core:
            world.ports["core"].send([world.from_core("red", packet)])
        else:
            world.ports["b"].send([world.from_host("b", packet)])
        return self._seen("b")  # where the default route leads

    def _seen(self, where: str) -> bool:
        return self.number.to_bytes(4, "big") in self.world.ports[where].received()


def _error(version: int, what: str, router: IPAddress, to: IPAddress) -> Packet:
    ip = (IP if version == 4 else IPv6)(src=str(router), dst=str(to))
    return ip / ERRORS[version][what].copy()


@pytest.fixture(autouse=True)
def clean(world: World, process: NodeProcess) -> None:
    del process
    node.forget_connections()
    for port in world.ports.values():
        port.received(0)


@pytest.mark.parametrize("core", [False, True], ids=["site", "core"])
@pytest.mark.parametrize(("version", "what"), CASES)
def test_an_error_about_an_allowed_flow_passes(
    world: World, version: int, what: str, core: bool
) -> None:
    path = Path(world, version)
    packet, arrived = path.sent()
    assert arrived, "the control"
    assert path.error(what, packet, core=core)


@pytest.mark.parametrize("core", [False, True], ids=["site", "core"])
@pytest.mark.parametrize(("version", "what"), CASES)
def test_an_error_about_no_flow_or_a_denied_one_does_not(
    world: World, version: int, what: str, core: bool
) -> None:
    path = Path(world, version)
    denied, arrived = path.sent(PORT + 1)
    assert not arrived, "the control"
    assert not path.error(what, denied, core=core)
    assert not path.error(what, path.packet(PORT), core=core), "web never sent it"
    packet, arrived = path.sent()
    assert arrived
    assert path.error(what, packet, core=core), "the control"
