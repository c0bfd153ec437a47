"""Flows that were ended, and flows of which the PE did not see the beginning."""

from __future__ import annotations

import pytest

from controlplane.model.flow import FlowRecord, LiveFlow
from controlplane.model.verdict_tables import Slot, diff
from controlplane.model.workload import Packet
from controlplane.policy.compile.reader import Reader
from labs.namespaces import inside as entered
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from pe.policy.manager import MANY_FLOWS
from tests.lab import policy_node as node
from tests.lab.agents import inside, until
from tests.lab.policy_node import ACK, FIN, RST, SYN, NodeProcess, World
from tests.lab.policy_traffic import ALLOWED, CLOSED, DB, KEPT, OPEN, WEB, tables

pytestmark = pytest.mark.lab

TCP, UDP = 6, 17
SERVICES = f"on tcp/{ALLOWED}, udp/{ALLOWED}"
DENIES = f"modes: {{default: visibility}}\nrules:\n  - deny tier=web to tier=db {SERVICES}"
SELECTIVE = f"modes: {{default: {{mode: selective, services: [tcp/{ALLOWED}, udp/{ALLOWED}]}}}}"
RULED = f"modes: {{default: full}}\nrules:\n  - allow tier=web to tier=db {SERVICES}"
ROUNDS = 12
TIMEOUT = 7


class Talk:
    """A flow from a port of web to one of db. What either says arrives at b: all routes lead there
    (``policy_node``)."""

    number = 0

    def __init__(
        self, world: World, protocol: int = TCP, sport: int = 40_000, dport: int = ALLOWED
    ) -> None:
        self.world, self.protocol, self.ports = world, protocol, (sport, dport)
        self.sent = {"web": 1, "db": 1}

    def says(self, who: str, flags: int = ACK, quiet: float = 0.05) -> bool:
        """Whether what one of them says arrives."""
        Talk.number += 1
        other = "db" if who == "web" else "web"
        ends, ports = ((WEB, DB), self.ports) if who == "web" else ((DB, WEB), self.ports[::-1])
        packet = node.packet(
            *ends, self.protocol, sport=ports[0], dport=ports[1], number=Talk.number,
            flags=flags, seq=self.sent[who], ack=self.sent[other],
        )  # fmt: skip
        self.sent[who] += 9 + bool(flags & (SYN | FIN))
        host = "a" if who == "web" else "b"
        self.world.ports[host].send([self.world.from_host(host, packet)])
        return Talk.number.to_bytes(4, "big") in self.world.ports["b"].received(quiet)

    def opens(self) -> bool:
        """Whether the flow is established."""
        return self.says("web", SYN) and self.says("db", SYN | ACK) and self.says("web")

    def goes_on(self) -> bool:
        """Whether both arrive, the server first."""
        return self.says("db") and self.says("web") and self.says("db")

    def is_dead(self) -> bool:
        """Whether neither arrives, the server first."""
        return not (self.says("db") or self.says("web") or self.says("db"))

    def elsewhere(self) -> None:
        """Both say much that does not come by here."""
        for who in self.sent:
            self.sent[who] += 100 << 20


def enforce(process: NodeProcess, document: str, slot: Slot = Slot.ENFORCED) -> None:
    process.segment("submit", slot, tables(document))
    process.segment("settled")


def end_forbidden(process: NodeProcess, document: str) -> int:
    """As flow revocation does (``controlplane.policy.flow_revocation``)."""
    reader, forbidden = Reader(tables(document)), []
    for flow in process.call("segment.live", "red"):
        packet = Packet(4, flow.protocol, flow.dport, 0, flow.sport)
        judge = reader.older_verdict if flow.older else reader.verdict
        if not judge(flow.vrf, flow.source, flow.destination, packet).allowed:
            forbidden.append(flow)
    ended: int = process.call("segment.end", forbidden)
    return ended


def timeouts() -> list[int]:
    """Seconds for which each connection will be remembered."""
    with entered("pe"):
        opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    found = [nl.attributes(m.body[4:])[TIMEOUT] for m in opened.dump(1 << 8 | 1, bytes(4))]
    opened.close()
    return [int.from_bytes(each, "big") for each in found]


@pytest.mark.parametrize("narrower", [DENIES, SELECTIVE], ids=["visibility", "selective"])
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_an_ended_flow_stays_dead_both_ways(
    world: World, process: NodeProcess, protocol: int, narrower: str
) -> None:
    enforce(process, OPEN)
    talks = [Talk(world, protocol, 40_000 + n) for n in range(ROUNDS)]
    kept = Talk(world, protocol, dport=KEPT)
    assert all(talk.opens() for talk in [*talks, kept])
    enforce(process, narrower)
    assert end_forbidden(process, narrower) == ROUNDS
    assert all(talk.is_dead() for talk in talks)
    assert all(talk.is_dead() for talk in talks), "now as before"
    assert kept.goes_on(), "the control"
    assert not Talk(world, protocol, 50_000).says("web", SYN), "nor a new one"
    enforce(process, OPEN)
    assert all(talk.goes_on() for talk in talks), "what is allowed again works"


def test_of_many_flows_the_kernel_judges_each_next_packet_while_they_are_ended(
    world: World, process: NodeProcess
) -> None:
    """A tag that forbids 20,000 flows: the last one's packets passed for four seconds more."""
    enforce(process, OPEN)
    talk, kept = Talk(world), Talk(world, dport=KEPT)
    assert talk.opens()
    assert kept.opens()
    process.segment("submit_delta", Slot.ENFORCED, diff(tables(OPEN), tables(DENIES)))
    process.segment("settled")
    others = [LiveFlow("red", WEB, DB, UDP, 1024 + n, 9, -1, 0, 0) for n in range(MANY_FLOWS)]
    assert talk.goes_on(), "the control: a change of elements judges no established flow"
    assert process.call("segment.end", others[1:]) == 0
    process.segment("settled")
    assert talk.goes_on(), "the control: few flows are ended one by one"
    assert process.call("segment.end", others) == 0
    process.segment("settled")
    assert talk.is_dead()
    assert kept.goes_on()
    assert end_forbidden(process, DENIES) == 1


def test_neither_a_reset_nor_an_answer_makes_it_forgotten(
    world: World, process: NodeProcess
) -> None:
    enforce(process, OPEN)
    tcp, udp = Talk(world), Talk(world, UDP)
    assert tcp.opens()
    assert udp.opens()
    enforce(process, DENIES)
    assert end_forbidden(process, DENIES) == 2
    for who in ("web", "db"):
        assert not tcp.says(who, RST | ACK)
        assert not udp.says(who)
    assert len(timeouts()) == 2
    assert min(timeouts()) > 500
    assert end_forbidden(process, DENIES) == 0
    assert tcp.is_dead()
    assert udp.is_dead()


def test_a_new_flow_of_the_same_ports_is_judged_anew(world: World, process: NodeProcess) -> None:
    enforce(process, OPEN)
    talk = Talk(world)
    assert talk.opens()
    enforce(process, DENIES)
    assert end_forbidden(process, DENIES) == 1
    assert not Talk(world).says("web", SYN)
    enforce(process, RULED)
    assert Talk(world).says("web", SYN)


@pytest.mark.parametrize("staged", [None, CLOSED], ids=["enforced", "staged"])
def test_a_segment_without_syn_opens_nothing(
    world: World, process: NodeProcess, staged: str | None
) -> None:
    enforce(process, DENIES)
    if staged:
        enforce(process, staged, Slot.STAGED)
    for flags in (ACK, SYN | ACK, FIN | ACK, RST, RST | ACK):
        for who in ("db", "web"):
            talk = Talk(world, sport=41_000 + flags)
            assert not talk.says(who, flags), (who, flags)
            assert Talk(world, sport=41_000 + flags, dport=KEPT).says(who, flags), "the control"
    assert not Talk(world).says("web", SYN)
    assert Talk(world, dport=KEPT).says("web", SYN)


def test_a_vrf_comes_under_policy_while_only_the_server_speaks(
    world: World, process: NodeProcess
) -> None:
    process.segment("zones", {"blue": node.ZONES["blue"]})
    process.segment("settled")
    good, bad = Talk(world), Talk(world, sport=40_001, dport=KEPT)
    assert good.opens()
    assert bad.opens()
    enforce(process, RULED)
    process.segment("zones", node.ZONES)
    process.segment("settled")
    assert good.goes_on()
    assert bad.is_dead(), "which no rule allows"
    live: list[LiveFlow] = process.call("segment.live", "red")
    assert [flow.older for flow in live] == [True]
    enforce(process, CLOSED)
    assert end_forbidden(process, CLOSED) == 1
    assert good.is_dead()


@pytest.mark.parametrize("liberal", [1, 0])
def test_a_stream_that_went_another_way_goes_on(
    world: World, process: NodeProcess, liberal: int
) -> None:
    """As one does whose workload moves to another PE and back; by its own connection, and even
    where connection tracking takes it for invalid."""
    enforce(process, RULED)
    setting = "net.netfilter.nf_conntrack_tcp_be_liberal"
    assert inside("pe", f"sysctl -n {setting}").strip() == "1"
    inside("pe", f"sysctl -qw {setting}={liberal}")
    try:
        talk = Talk(world)
        assert talk.opens()
        for _ in range(2):
            talk.elsewhere()
            assert talk.goes_on()
            assert talk.goes_on()
    finally:
        inside("pe", f"sysctl -qw {setting}=1")


def test_a_dual_homed_site(world: World, process: NodeProcess) -> None:
    """The SYN went by another PE, and what the server answers comes by here."""
    enforce(process, RULED)
    assert Talk(world).says("db", SYN | ACK)
    assert Talk(world).goes_on()
    assert not Talk(world, dport=KEPT).says("db", SYN | ACK), "which no rule allows"


def told(process: NodeProcess, count: int) -> list[FlowRecord]:
    """Wait for so many records."""
    found: list[FlowRecord] = []

    def complete() -> bool:
        found.extend(process.call("flows")[0])
        return len(found) >= count

    assert until(complete), found
    return found


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_packets_of_an_ended_flow_are_reported_in_its_direction(
    world: World, process: NodeProcess, protocol: int
) -> None:
    enforce(process, OPEN)
    talk = Talk(world, protocol)
    assert talk.opens()
    enforce(process, DENIES)
    assert end_forbidden(process, DENIES) == 1
    assert talk.is_dead()
    if protocol == TCP:  # which is not even remembered
        node.forget_connections()
        assert talk.is_dead()
    records = told(process, 4 if protocol == UDP else 7)
    assert {(r.source, r.destination, r.dport) for r in records} == {(WEB, DB, ALLOWED)}
    assert [r.older for r in records] == [False, *[True] * (len(records) - 1)]
