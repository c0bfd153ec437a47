"""Verdict tables at work: what they let through, the end of flows, and what is reported."""

from __future__ import annotations

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
    assert all(flow.packets and flow.bytes and flow.rule for flow in live)
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

    def complete() -> bool:
        nonlocal told, lost
        records, gone = process.call("flows")
        told, lost = told + len(records), lost + int(gone)
        return told + lost >= total

    assert until(complete, 10.0), (told, lost, total)
    time.sleep(1.5)
    complete()
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
