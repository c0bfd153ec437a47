"""SPF: what a policy judges is what connection tracking follows, for every chain of headers."""

# ruff: noqa: S311 - seeded chains, not secrets

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import pairwise
from random import Random

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting
from scapy.layers.ipsec import AH
from scapy.packet import Packet, Raw

from controlplane.model import workload
from controlplane.model.prefix import host_prefix
from controlplane.model.verdict_tables import Slot, Tables
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.compile.reader import Reader
from controlplane.policy.language.document import parse_policy
from tests.lab import policy_node as node
from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import quiet_world, started

pytestmark = pytest.mark.lab

WEB, DB = ip_address("2001:db8::1"), ip_address("2001:db8::20")
OPEN_PORT, SHUT_PORT = 5000, 22
HEADERS_ALLOWED = f"""
modes: {{default: full}}
rules:
  - allow tier=web to tier=db on tcp/{OPEN_PORT}, udp/{OPEN_PORT}
  - allow tier=web to tier=db on ah, proto/60, proto/43, proto/44, proto/59
"""
"""A rule that allows the headers does not allow what they hide."""
CHAINS = 150
NUMBERS = {TCP: 6, UDP: 17, AH: 51, IPv6ExtHdrDestOpt: 60, IPv6ExtHdrRouting: 43,
           IPv6ExtHdrFragment: 44}  # fmt: skip
SYN = 2


def _tables() -> Tables:
    ends = (("web", "pe-a", WEB), ("db", "pe-b", DB))
    found = (Workload(n, "red", p, (host_prefix(a),), {"tier": n}) for n, p, a in ends)
    inventory = Inventory(frozenset(node.ZONES), tuple(found))
    return compile_policy(parse_policy(HEADERS_ALLOWED), inventory, IdAllocators()).tables


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quiet_world() as made:
        yield made


@dataclass
class Sender:
    """Sends from web to db, and knows what the policy says."""

    world: World
    process: NodeProcess
    reader: Reader
    number: int = 0

    def arrives(self, transport: Packet, *headers: Packet) -> bool:
        """Whether a packet with these headers before its transport reaches db."""
        self.number += 1
        packet = IPv6(src=str(WEB), dst=str(DB))
        for header, following in pairwise((*headers, transport)):
            header.nh = NUMBERS[type(following)]
            packet = packet / header
        packet = packet / transport
        payload = node.MARK + self.number.to_bytes(4, "big")
        self.world.ports["a"].send([self.world.from_host("a", bytes(packet / Raw(payload)))])
        return self.number.to_bytes(4, "big") in self.world.ports["b"].received(0.03)

    def allowed_wrongly(self) -> list[object]:
        """Established flows that the policy does not allow."""
        found = self.process.call("segment.live", "red")
        assert found, "the control"
        return [f for f in found if not self._allows(f.protocol, f.dport)]

    def _allows(self, protocol: int, dport: int) -> bool:
        packet = workload.Packet(6, protocol, dport)
        return self.reader.verdict("red", WEB, DB, packet).allowed


@pytest.fixture
def sender(world: World) -> Iterator[Sender]:
    tables = _tables()
    process = started(tables)
    process.segment("submit", Slot.ENFORCED, tables)
    process.segment("settled")
    node.forget_connections()
    try:
        yield Sender(world, process, Reader(tables))
    finally:
        process.stop()


def authenticated() -> Packet:
    """An authentication header (RFC 4302) with a check value of 96 bits."""
    return AH(payloadlen=4, spi=1, seq=1, icv=bytes(12))


def test_spf_07_a_first_packet_behind_an_authentication_header(sender: Sender) -> None:
    for transport in (TCP, UDP):
        more = {"flags": "S"} if transport is TCP else {}
        ends = {"sport": 4000, "dport": SHUT_PORT, **more}
        assert not sender.arrives(transport(**ends)), "the policy holds"
        sender.arrives(transport(**ends), authenticated())
        assert not sender.arrives(transport(**ends)), "a bare packet of the same ports"
        right = {**ends, "dport": OPEN_PORT}
        assert sender.arrives(transport(**right), authenticated()), "the control"
        assert sender.arrives(transport(**right)), "the control"
    assert sender.allowed_wrongly() == []


def _chain(rng: Random) -> list[Packet]:
    kinds = (
        authenticated,
        IPv6ExtHdrDestOpt,
        lambda: IPv6ExtHdrRouting(type=253, segleft=0),
        lambda: IPv6ExtHdrFragment(offset=0, m=0, id=rng.getrandbits(32)),
    )
    return [rng.choice(kinds)() for _ in range(rng.randint(1, 4))]


def test_spf_07_no_chain_of_headers_opens_what_the_policy_denies(sender: Sender) -> None:
    """For every first packet, whether or not it passes."""
    rng, passed = Random(7), 0
    for sport in range(10_000, 10_000 + CHAINS):
        headers, dport = _chain(rng), rng.choice((OPEN_PORT, SHUT_PORT))
        transport = TCP(sport=sport, dport=dport, flags="S")
        if rng.random() < 0.5:
            transport = UDP(sport=sport, dport=dport)
        words = " ".join(type(header).__name__ for header in headers)
        hidden = sender.arrives(transport, *headers)
        assert sender.arrives(transport) == (dport == OPEN_PORT), words
        assert not hidden or dport == OPEN_PORT, words
        passed += hidden
    assert passed > CHAINS // 5, "the control"
    assert sender.allowed_wrongly() == []
