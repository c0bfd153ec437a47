"""ISO-16: a mark that another program sets is no verdict, for each hook and priority of its chain.

Each place of another program's chain has its control: there the chain sees the packets, and where
it only counts them, what is allowed passes and what is denied does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import NamedTuple

import pytest

from controlplane.model.verdict_tables import Slot
from tests.lab import policy_node as node
from tests.lab.agents import inside, nft
from tests.lab.policy_node import ACK, SYN, NodeProcess, World
from tests.lab.policy_traffic import CLOSED, DB, WEB, quiet_world, started, tables

pytestmark = pytest.mark.lab

TCP, UDP = 6, 17
OPEN_PORT, SHUT_PORT, SPORT = 5000, 6000, 4000
RULES = f"""
modes: {{default: full}}
rules:
  - allow tier=web to tier=db on tcp/{OPEN_PORT}, udp/{OPEN_PORT}
  - allow tier=db to tier=web on udp/{SPORT}
"""
"""By the second rule a flow to the shut port would pass if it were read backwards."""

VALUES = ("0x80000000", "0xffffffff", "0xf0000000", "0xb0100000", "0x4000", "0xffff0000", "0")
WRITES = (
    *(f"ct mark set {value}" for value in VALUES),
    *(f"meta mark set {value}" for value in VALUES),
    "ct mark set ct mark or 0x80000000",
    "ct mark set ct mark or 0xf0000000",
    "ct mark set ct mark xor 0xffffffff",
    "meta mark set meta mark or 0x80000000",
    "meta mark set meta mark xor 0xffffffff",
    "meta mark set 0x80000000 ct mark set meta mark",
    "ct mark set meta mark",
    "meta mark set ct mark",
    "ct mark set ct mark and 0x0000ffff xor 0x80000000 meta mark set ct mark",  # Calico's
    "meta mark set meta mark and 0xff00ffff xor 0x80000 ct mark set meta mark",  # Tailscale's
    "meta mark set meta mark or 0x4000 ct mark set ct mark or 0x8000",  # kube-proxy's
)
"""What other programs do to marks: by accident, as their use of it, and to look like a verdict."""


class Place(NamedTuple):
    """Where another program has its chain; ``sees``: how many of ``DENIED``, and of ``ALLOWED``."""

    table: str
    hook: str
    sees: tuple[int, int]
    core: bool = False


PLACES = (
    Place("netdev other", "ingress device pe-a priority 0", (4, 6)),
    Place("inet other", "prerouting priority -2147483647", (4, 10)),
    Place("inet other", "prerouting priority -300", (4, 10)),
    Place("inet other", "prerouting priority -150", (4, 10)),
    Place("inet other", "prerouting priority 2147483647", (4, 10)),
    Place("ip other", "prerouting priority -150", (4, 10)),
    Place("inet other", "forward priority -150", (4, 10)),
    Place("ip other", "forward priority 0", (4, 10)),
    Place("inet other", "postrouting priority -150", (0, 10)),
    Place("netdev other", "ingress device core0 priority 0", (4, 6), core=True),
    Place("inet other", "output priority -2147483647", (4, 6), core=True),
    Place("inet other", "output priority -150", (4, 6), core=True),
    Place("inet other", "output priority 0", (4, 6), core=True),
)
BETWEEN = (
    Place("inet other", "forward priority 2147483647", (0, 10)),
    Place("inet other", "output priority 2147483647", (0, 6), core=True),
)
"""Between the policy and the guards, where a chain gets that is loaded later."""
places = pytest.mark.parametrize("place", PLACES, ids=lambda p: f"{p.table.split()[0]} {p.hook}")


class Packet(NamedTuple):
    """A packet of web's flow to a port of db's; ``who`` sends it."""

    who: str
    protocol: int
    dport: int
    flags: int = SYN


DENIED = [Packet("web", protocol, SHUT_PORT) for protocol in (UDP, TCP)] * 2
"""Twice, for a mark that was set behind the verdict would count for the second one."""
ALLOWED = [
    Packet(who, protocol, OPEN_PORT, flags)
    for protocol in (UDP, TCP)
    for who, flags in (("web", SYN), ("db", SYN | ACK), ("web", ACK), ("db", ACK), ("web", ACK))
]
LATER = [p for p in ALLOWED if p.flags == ACK]
"""Of flows that are established: either end may speak first."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quiet_world() as made:
        yield made


@pytest.fixture(scope="module")
def shared(world: World) -> Iterator[NodeProcess]:
    process = started(tables(RULES))
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def process(shared: NodeProcess) -> NodeProcess:
    node.forget_connections()
    return shared


@contextmanager
def foreign(place: Place, statements: str) -> Iterator[None]:
    """Another program's chain."""
    chain = f"chain c {{ type filter hook {place.hook}; policy accept; counter {statements}; }}"
    nft("pe", place.table, chain)
    try:
        yield
    finally:
        inside("pe", f"nft 'delete table {place.table}'")


def seen(place: Place) -> int:
    """Packets that the other program's chain saw."""
    found = re.search(r"counter packets (\d+)", inside("pe", f"nft list table {place.table}"))
    assert found
    return int(found[1])


class Probe:
    """Sends packets between web and db, and looks for them at db's host."""

    number = 0

    def __init__(self, world: World) -> None:
        self.world = world

    def arrive(self, packets: Sequence[Packet], *, core: bool = False) -> list[Packet]:
        """Those of the packets that arrive; ``core``: those of web come from a remote site."""
        sent: dict[bytes, Packet] = {}
        for each in packets:
            Probe.number += 1
            sent[Probe.number.to_bytes(4, "big")] = each
            self._send(each, core=core and each.who == "web")
        found = self.world.ports["b"].received(0.05)
        return [sent[number] for number in found if number in sent]

    def _send(self, each: Packet, *, core: bool) -> None:
        ends, ports = (WEB, DB), (SPORT, each.dport)
        if each.who == "db":
            ends, ports = ends[::-1], ports[::-1]
        made = node.packet(
            *ends, each.protocol, sport=ports[0], dport=ports[1], number=Probe.number,
            flags=each.flags,
        )  # fmt: skip
        if core:
            self.world.ports["core"].send([self.world.from_core("red", made)])
            return
        host = "a" if each.who == "web" else "b"
        self.world.ports[host].send([self.world.from_host(host, made)])


@places
def test_iso_16_control_the_chain_sees_the_packets(
    world: World, process: NodeProcess, place: Place
) -> None:
    probe = Probe(world)
    denied, allowed = place.sees
    with foreign(place, ""):
        assert probe.arrive(DENIED, core=place.core) == []
        assert seen(place) >= denied
        assert probe.arrive(ALLOWED, core=place.core) == ALLOWED
        assert seen(place) >= denied + allowed


@places
def test_iso_16_a_foreign_mark_is_no_verdict(
    world: World, process: NodeProcess, place: Place
) -> None:
    """Denied stays denied, and what is allowed goes on although its marks are overwritten."""
    probe, wrong = Probe(world), list[str]()
    for write in WRITES:
        if "ct mark" in write and place.table.startswith("netdev"):
            continue  # before connection tracking
        node.forget_connections()
        with foreign(place, write):
            if passed := probe.arrive(DENIED, core=place.core):
                wrong.append(f"{write}: passed {passed}")
            arrived = probe.arrive(ALLOWED, core=place.core)
        if arrived != ALLOWED:
            wrong.append(f"{write}: lost {[p for p in ALLOWED if p not in arrived]}")
        if probe.arrive(LATER, core=place.core) != LATER:
            wrong.append(f"{write}: lost afterwards")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("place", BETWEEN, ids=lambda p: p.hook)
def test_iso_16_nor_right_before_the_guards(
    world: World, process: NodeProcess, place: Place
) -> None:
    """What a chain does there to the marks of allowed packets costs these packets, no more."""
    probe = Probe(world)
    for write in WRITES:
        node.forget_connections()
        with foreign(place, write):
            assert probe.arrive(DENIED, core=place.core) == [], write
            probe.arrive(ALLOWED, core=place.core)
            assert seen(place) >= place.sees[1], "the control"
        assert probe.arrive(ALLOWED, core=place.core) == ALLOWED, write


BEHIND_CT = Place("inet other", "prerouting priority -150", (0, 0))


def test_iso_16_no_mark_of_former_versions_is_obeyed(world: World, process: NodeProcess) -> None:
    """Bits 31 and 28 with an epoch: all of what was a valid verdict once."""
    probe = Probe(world)
    for epoch in range(64):
        node.forget_connections()
        with foreign(BEHIND_CT, f"ct mark set {0x90000040 | epoch << 20:#x}"):
            assert probe.arrive(DENIED) == [], epoch
    assert probe.arrive(ALLOWED) == ALLOWED


def test_iso_16_a_denied_connection_does_not_become_an_allowed_one(
    world: World, process: NodeProcess
) -> None:
    """A flow that was forbidden is remembered: bits that are added do not turn that round."""
    probe = Probe(world)
    assert probe.arrive(ALLOWED) == ALLOWED
    process.segment("submit", Slot.ENFORCED, tables(CLOSED))
    process.segment("settled")
    try:
        assert probe.arrive(LATER) == []
        for bits in ("0x80000000", "0xf0000000", "0xfc000000", "0xffffffff"):
            with foreign(BEHIND_CT, f"ct mark set ct mark or {bits}"):
                assert probe.arrive(ALLOWED * 2) == [], bits
    finally:
        process.segment("submit", Slot.ENFORCED, tables(RULES))
        process.segment("settled")
    assert probe.arrive(LATER) == LATER


def test_iso_16_a_flow_whose_mark_was_overwritten_is_settled_again(
    world: World, process: NodeProcess
) -> None:
    """It costs a look-up, once: the counter of judged packets then stays."""
    probe = Probe(world)
    assert probe.arrive(ALLOWED) == ALLOWED
    with foreign(BEHIND_CT, "ct mark set 0x4000"):
        assert probe.arrive(LATER) == LATER
    assert probe.arrive(LATER) == LATER
    judged = process.segment("counters")["judged_10"]  # type: ignore[index]
    assert probe.arrive(LATER) == LATER
    assert process.segment("counters")["judged_10"] == judged  # type: ignore[index]


@pytest.mark.parametrize(
    "hook", ["forward priority 0", "forward priority 2147483647", "prerouting priority -150"]
)
@pytest.mark.parametrize(
    "write", ["meta mark set 0x80000000", "ct mark set 0x80000000", "ct mark set 0xffffffff",
              "ct mark set 0x90100040", "meta mark set 0xffffffff"],
)  # fmt: skip
def test_iso_16_without_the_policy_table_a_foreign_mark_opens_nothing(
    world: World, process: NodeProcess, hook: str, write: str
) -> None:
    """The guards deny new flows there (FAIL-3), and let through what was allowed before."""
    probe = Probe(world)
    assert probe.arrive(ALLOWED) == ALLOWED
    process.pause()
    try:
        inside("pe", "nft delete table inet bulkhead_segment")
        assert probe.arrive(LATER) == LATER, "the control"
        assert probe.arrive(DENIED) == []
        with foreign(Place("inet other", hook, (0, 0)), write):
            assert probe.arrive(DENIED) == []
    finally:
        process.resume()
        process.segment("submit", Slot.ENFORCED, tables(RULES))
        process.segment("doubt")
        process.segment("settled")


OWN = ip_address("192.168.2.1")
BIT_26 = (
    Place("netdev other", "ingress device core0 priority 0", (0, 0)),
    Place("netdev other", "ingress device core0 priority 2147483646", (0, 0)),
    Place("inet other", "output priority -2147483646", (0, 0)),
    Place("inet other", "output priority -460", (0, 0)),
    Place("inet other", "output priority -300", (0, 0)),
)


@pytest.mark.parametrize("place", BIT_26, ids=lambda p: p.hook)
@pytest.mark.parametrize("write", ["meta mark set 0", "meta mark set 0x4000"])
def test_iso_16_what_came_under_a_label_is_known_in_spite_of_a_foreign_mark(
    world: World, process: NodeProcess, place: Place, write: str
) -> None:
    """SPF-6: the PE's own address as source, from the core, is not taken for the PE's packet."""
    made = node.packet(OWN, DB, UDP, sport=SPORT, dport=SHUT_PORT, number=0xF00)
    frame = world.from_core("red", made)
    with foreign(place, write):
        world.ports["core"].send([frame] * 3)
        assert world.ports["b"].received(0.05) == []
        assert Probe(world).arrive(ALLOWED[:1], core=True) == ALLOWED[:1], "the control"
        assert seen(place), "the control"
