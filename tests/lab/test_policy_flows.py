"""Verdict tables at work: what they let through, the end of flows, and what is reported."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_address

import pytest

from controlplane.model.desired import Delta
from controlplane.model.flow import LiveFlow
from controlplane.model.observed import Flow
from controlplane.model.prefix import host_prefix
from controlplane.model.verdict_tables import Slot, diff
from controlplane.model.workload import Packet
from controlplane.policy.compile.reader import Reader
from controlplane.policy.insight.observed import forbidden
from pe.policy.program import TABLE
from tests.lab import policy_node as node
from tests.lab.agents import inside, until
from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import (
    ALLOWED,
    CLOSED,
    DB,
    DENIED,
    KEPT,
    NARROWER,
    OPEN,
    OTHER,
    RULES,
    WEB,
    Sender,
    started,
    tables,
)

pytestmark = pytest.mark.lab
MANY = 5_000
"""Flows."""


def _counters(process: NodeProcess) -> dict[str, int]:
    found: dict[str, int] = process.call("segment.counters")
    return found


def test_a_policy_is_enforced_and_a_narrower_one_ends_exactly_what_it_forbids(
    world: World, process: NodeProcess
) -> None:
    sender = Sender(world)
    assert sender.passes(ALLOWED, sport=1)
    assert sender.passes(KEPT, sport=2)
    assert not sender.passes(DENIED, sport=3)

    narrower = tables(NARROWER)
    process.segment("submit_delta", Slot.ENFORCED, diff(tables(RULES), narrower))
    process.segment("settled")
    assert not sender.passes(ALLOWED, sport=4), "new flows"
    assert sender.passes(ALLOWED, sport=1), "an established flow outlives the change by itself"

    live: list[LiveFlow] = process.call("segment.live", "red")
    assert {(flow.sport, flow.dport) for flow in live} == {(1, ALLOWED), (2, KEPT)}
    assert all(flow.packets and flow.bytes for flow in live)
    for end, found in ((WEB, 2), (DB, 2), (ip_address("10.9.9.9"), 0)):
        assert len(process.call("segment.live", "red", (end,))) == found, end
    assert len(process.call("segment.live", "red", (WEB, DB))) == 2, "none of them twice"
    opened = {
        Flow(f.vrf, f.source, f.destination, Packet(4, f.protocol, f.dport, 0, f.sport)): f
        for f in live
    }
    ended = [opened[flow] for flow in forbidden(Reader(narrower), opened)]
    assert process.call("segment.end", ended) == 1
    assert not sender.passes(ALLOWED, sport=1)
    assert sender.passes(KEPT, sport=2)
    assert [f.dport for f in process.call("segment.live", "red")] == [KEPT]


def test_what_new_tables_forbid_ends_at_once_both_ways_and_what_they_allow_goes_on(
    world: World, process: NodeProcess
) -> None:
    """Nothing but the kernel does it: no flow is read or ended by the node."""
    sender = Sender(world)
    for dport, sport in ((ALLOWED, 1), (KEPT, 2)):
        assert sender.passes(dport, sport=sport)
        assert _back(world, sender, dport, sport)
    process.segment("submit", Slot.ENFORCED, tables(NARROWER))
    process.segment("settled")
    assert not _back(world, sender, ALLOWED, 1), "the server speaks first"
    assert not sender.passes(ALLOWED, sport=1)
    before = _counters(process)["judged_10"]
    for _ in range(3):
        assert sender.passes(KEPT, sport=2)
        assert _back(world, sender, KEPT, 2)
    assert _counters(process)["judged_10"] == before, "it goes on without a record"
    live: list[LiveFlow] = process.call("segment.live", "red")
    assert {f.dport for f in live} == {ALLOWED, KEPT}, "what the kernel refused is to be ended"
    assert process.call("segment.end", [f for f in live if f.dport == ALLOWED]) == 1
    assert [f.dport for f in process.call("segment.live", "red")] == [KEPT]
    assert not sender.passes(ALLOWED, sport=1)
    process.segment("submit", Slot.ENFORCED, tables(RULES))
    process.segment("settled")
    assert sender.passes(ALLOWED, sport=1), "if it is allowed again, it goes on"


def test_a_flow_from_the_core_ends_at_once_too(world: World, process: NodeProcess) -> None:
    remote = ip_address("10.9.9.9")

    def arrives(number: int) -> bool:
        packet = node.packet(remote, DB, 17, sport=1, dport=ALLOWED, number=number)
        world.ports["core"].send([world.from_core("red", packet)])
        return number.to_bytes(4, "big") in world.ports["b"].received()

    for number, (document, passes) in enumerate(
        ((OPEN, True), (CLOSED, False), (OPEN, True), (OPEN, True)), start=1_000_001
    ):
        process.segment("submit", Slot.ENFORCED, tables(document))
        process.segment("settled")
        assert arrives(number) is passes, document


def test_of_many_flows_that_become_forbidden_none_passes_another_packet(
    world: World, process: NodeProcess
) -> None:
    sender = Sender(world)
    assert _arrived(world, sender) == MANY
    process.segment("submit", Slot.ENFORCED, tables(NARROWER))
    process.segment("settled")
    assert _arrived(world, sender) == 0
    assert len(process.call("segment.live", "red")) == MANY


def _arrived(world: World, sender: Sender) -> int:
    """Send one packet of each of many flows; how many arrive."""
    port = world.ports["b"]
    found = 0
    for first in range(0, MANY, 100):
        sports = range(10_000 + first, 10_100 + first)
        world.ports["a"].send([sender.frame(ALLOWED, sport=sport) for sport in sports])
        found += len(set(port.received(0.02)))
    return found + len(set(port.received()))


def _back(world: World, sender: Sender, dport: int, sport: int) -> bool:
    """Whether an answer of db arrives."""
    world.ports["b"].send([sender.frame(dport, sport=sport, back=True)])
    return sender.number.to_bytes(4, "big") in world.ports["b"].received()


def test_a_flow_that_was_silent_while_tables_came_and_went(
    world: World, process: NodeProcess
) -> None:
    sender = Sender(world)
    assert sender.passes(ALLOWED, sport=1)
    for document in (RULES, OPEN, RULES, NARROWER):
        process.segment("submit", Slot.ENFORCED, tables(document))
        process.segment("settled")
    assert not sender.passes(ALLOWED, sport=1)
    process.segment("submit", Slot.ENFORCED, tables(OPEN))
    process.segment("settled")
    assert sender.passes(ALLOWED, sport=1)


SYNS_PER_SECOND = 200


@pytest.mark.parametrize("sport", [0, 4711], ids=["new-flows", "one-flow-tried-again"])
def test_connections_that_are_tried_while_a_workload_is_attached_succeed_from_then_on(
    world: World, process: NodeProcess, sport: int
) -> None:
    """200 SYN/s, of new connections or of one: none passes before, and every one afterwards."""
    process.segment("submit", Slot.ENFORCED, tables(TCP, without="web"))
    process.segment("settled")
    with Syns(world, sport) as syns:
        syns.run(0.5)
        process.segment(
            "submit_delta", Slot.ENFORCED, diff(tables(TCP, without="web"), tables(TCP))
        )
        process.segment("settled")
        attached = syns.number
        syns.run(1.0)
    sent, arrived = syns.number, syns.arrived()
    early = {number for number in arrived if number <= syns.begun + 0.4 * SYNS_PER_SECOND}
    assert not early, f"{len(early)} passed before it was attached"
    late = set(range(attached + 2, sent + 1))
    assert len(late) > 0.5 * SYNS_PER_SECOND, "the control"
    assert late <= arrived, f"{len(late - arrived)} of {len(late)} were lost"


TCP = f"""
modes: {{default: full}}
rules: [allow tier=web to tier=db on tcp/{ALLOWED}]
"""


class Syns:
    """Sends SYNs at a steady pace from a thread, each with a number."""

    def __init__(self, world: World, sport: int) -> None:
        self.world, self.sport, self.begun, self.number = world, sport, 2_000_000, 2_000_000
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        while not self._end.wait(1 / SYNS_PER_SECOND):
            self.number += 1
            sport = self.sport or 10_000 + self.number % 50_000
            packet = node.packet(WEB, DB, 6, sport=sport, dport=ALLOWED, number=self.number)
            self.world.ports["a"].send([self.world.from_host("a", packet)])

    def __enter__(self) -> Syns:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def run(self, seconds: float) -> None:
        """Go on until so many have been sent."""
        wanted = self.number + round(seconds * SYNS_PER_SECOND)
        assert until(lambda: self.number >= wanted, 10 * seconds + 5)

    def arrived(self) -> set[int]:
        """The numbers of those that have arrived."""
        return {int.from_bytes(number, "big") for number in self.world.ports["b"].received(0.5)}


def test_flows_without_ports_end_as_well(world: World, process: NodeProcess) -> None:
    process.segment("submit", Slot.ENFORCED, tables(OPEN))
    process.segment("settled")
    for protocol, kind in ((1, 8), (47, 0)):
        packet = node.packet(WEB, DB, protocol, icmp_type=kind, sport=77)
        world.ports["a"].send([world.from_host("a", packet)])
    live: list[LiveFlow] = process.call("segment.live", "red")
    assert {(flow.protocol, flow.icmp_type) for flow in live} == {(1, 8), (47, -1)}
    assert process.call("segment.live", "blue") == []
    assert process.call("segment.end", live) == 2
    assert process.call("segment.live", "red") == []


def test_a_reply_needs_no_rule_and_another_flow_back_does(
    world: World, process: NodeProcess
) -> None:
    del process
    sender = Sender(world)
    assert sender.passes(ALLOWED, sport=1)
    world.ports["b"].send([sender.frame(ALLOWED, sport=1, back=True)])
    # Routes lead everything to b; the answer turns round at the PE and arrives there.
    assert sender.number.to_bytes(4, "big") in world.ports["b"].received()
    world.ports["b"].send([sender.frame(ALLOWED, sport=2, back=True)])
    assert sender.number.to_bytes(4, "big") not in world.ports["b"].received()


def test_a_staged_revision_is_counted_and_never_decides(world: World, process: NodeProcess) -> None:
    sender = Sender(world)
    process.segment("submit", Slot.STAGED, tables(CLOSED))
    process.segment("settled")
    assert sender.passes(ALLOWED)
    assert _counters(process)["staged_denied_10"] == 1
    process.segment("submit", Slot.STAGED, tables(OPEN))
    process.segment("settled")
    assert not sender.passes(DENIED)
    assert _counters(process)["staged_denied_10"] == 1


def test_the_node_itself_stays_shut_and_is_no_business_of_a_policy(
    world: World, process: NodeProcess
) -> None:
    process.segment("submit", Slot.ENFORCED, tables(OPEN))
    process.segment("settled")
    judged, shut = _counters(process)["judged_10"], process.counters()
    own = ip_address("192.168.1.1")
    packet = node.packet(ip_address("192.168.1.2"), own, 6, sport=999, dport=22)
    world.ports["a"].send([world.from_host("a", packet)])
    remote = node.packet(ip_address("10.9.9.9"), own, 6, sport=999, dport=22)
    world.ports["core"].send([world.from_core("red", remote)])
    time.sleep(0.2)
    after = process.counters()
    for name in ("acl_01__red", "hide_07__red"):
        assert after[name] - shut[name] == 1, name
    assert _counters(process)["judged_10"] == judged


def test_a_vrf_comes_under_policy_and_leaves_it(world: World, process: NodeProcess) -> None:
    sender = Sender(world)
    process.segment("zones", {"blue": 20})
    process.segment("settled")
    assert sender.passes(DENIED), "red is not under policy"
    process.segment("zones", node.ZONES)
    process.segment("settled")
    assert not sender.passes(DENIED)
    process.segment("zones", {})
    process.segment("settled")
    assert sender.passes(DENIED)
    assert TABLE.name not in inside("pe", "nft list tables")


def test_an_enforced_slot_without_tables_denies(world: World, process: NodeProcess) -> None:
    sender = Sender(world)
    process.segment("submit", Slot.ENFORCED, None)
    process.segment("settled")
    assert not sender.passes(ALLOWED)
    process.segment("submit", Slot.ENFORCED, tables(RULES))
    process.segment("settled")
    assert sender.passes(ALLOWED)


def test_every_new_flow_is_logged_or_counted_as_lost(world: World) -> None:
    process = started(tables(RULES), flow_room=1 << 18)
    try:
        _log_too_much(world, process)
    finally:
        process.stop()


def _log_too_much(world: World, process: NodeProcess) -> None:
    """A lost record is seen by the number of the next one: new flows go on until all count."""
    sender, total = Sender(world), 30_000
    frames = [sender.frame(DENIED) for _ in range(total)]
    time.sleep(1.5)
    process.call("flows")
    before = _counters(process)["judged_10"]
    world.ports["a"].send(frames[:10_000])
    process.pause()  # what is not read overflows sooner or later
    world.ports["a"].send(frames[10_000:20_000])
    process.resume()
    world.ports["a"].send(frames[20_000:])
    told = lost = 0

    def take() -> None:
        nonlocal told, lost
        records, gone = process.call("flows")
        told, lost = told + len(records), lost + int(gone)

    def complete() -> bool:
        nonlocal total
        take()
        if told + lost >= total:
            return True
        world.ports["a"].send([sender.frame(DENIED)])
        total += 1
        return False

    assert until(complete, 10.0), (told, lost, total, _counters(process)["judged_10"] - before)
    time.sleep(1.5)
    take()
    print(f"{total} flows judged, {told} told, {lost} lost")
    assert told + lost == total == _counters(process)["judged_10"] - before
    assert min(told, lost) > 1000


def test_a_leak_from_a_vrf_without_policy_is_judged_where_it_enters(
    world: World, process: NodeProcess
) -> None:
    hops = node.desired().next_hops.items()
    hop = next(h for key, h in hops if h is not None and key.device == "pe-b")
    process.apply(
        Delta(routes={node.TABLES["blue"]: {host_prefix(DB): hop.key}}, reaches={"blue": ("red",)})
    )
    process.segment("zones", {"red": node.ZONES["red"]})

    def arrives(document: str) -> bool:
        process.segment("submit", Slot.ENFORCED, tables(document))
        process.segment("settled")
        packet = node.packet(OTHER, DB, 17, sport=1, dport=ALLOWED, number=1)
        world.ports["c"].send([world.from_host("c", packet)])
        return len(world.ports["b"].received()) == 1

    assert arrives(OPEN)
    assert not arrives(RULES)
    assert arrives(f"{RULES}  - allow outside to tier=db on udp/{ALLOWED}\n")
    assert not arrives(CLOSED)
    process.segment("zones", {})
    process.segment("settled")
    assert arrives(CLOSED), "nobody is under policy any more"
