"""Verdict tables over time: changes, crashes, meddling, the end of flows, and what is told."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from controlplane.model.desired import Delta
from controlplane.model.prefix import host_prefix
from controlplane.segment.compile import Books, compile_policy
from controlplane.segment.document import parse_policy
from controlplane.segment.enforcer import LiveFlow, Slot
from controlplane.segment.homes import Homes
from controlplane.segment.incremental import IncrementalCompiler
from controlplane.segment.observed import Flow, forbidden
from controlplane.segment.tables import Reader, Tables, diff
from controlplane.segment.workload import Inventory, Packet, Workload
from labs.attack.inside import inside as entered
from pe.segment.nft_wire import SegmentSocket
from pe.segment.program import TABLE, Layout, program
from tests.lab import segment_node as node
from tests.lab.agents import inside, until
from tests.lab.segment_node import NodeProcess, World
from tests.property import segment_worlds as worlds

pytestmark = pytest.mark.lab

WEB, DB, OTHER = (ip_address(f"10.0.0.{n}") for n in (1, 2, 3))
ALLOWED, DENIED, KEPT = 5000, 6000, 7000
"""UDP ports: allowed from web to db, never allowed, and allowed in every revision."""
BOOKS = Books()
RULES = f"""
modes: {{default: full}}
rules:
  - allow tier=web to tier=db on udp/{ALLOWED}
  - allow tier=web to tier=db on udp/{KEPT}
"""
NARROWER = f"""
modes: {{default: full}}
rules:
  - allow tier=web to tier=db on udp/{KEPT}
"""
OPEN = "modes: {default: visibility}"
CLOSED = "modes: {default: full}"


def _inventory(crowd: int = 0) -> Inventory:
    found = [
        Workload("web", "red", "pe-a", (host_prefix(WEB),), {"tier": "web"}),
        Workload("db", "red", "pe-b", (host_prefix(DB),), {"tier": "db"}),
    ]
    for number in range(crowd):
        address = host_prefix(ip_address(0x0B000000 + number))
        found.append(Workload(f"w{number}", "red", "pe-a", (address,), {"tier": f"t{number % 50}"}))
    return Inventory(frozenset(node.ZONES), tuple(found))


def _tables(document: str, crowd: int = 0) -> Tables:
    return compile_policy(parse_policy(document), _inventory(crowd), BOOKS).tables


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with node.world() as made:
        inside("pe", "sysctl -qw net.netfilter.nf_conntrack_checksum=0")
        yield made


def _started(tables: Tables | None, **options: Any) -> NodeProcess:
    """A node, with its policy known before its ports come up."""
    process = NodeProcess("pe", **options)
    process.segment("zones", node.ZONES)
    process.segment("submit", Slot.ENFORCED, tables)
    process.segment("submit", Slot.STAGED, None)
    process.apply(node.desired())
    process.segment("settled")
    process.call("mark_in_sync")
    process.call("settled")
    node.settle_neighbours()
    return process


@pytest.fixture
def process(world: World) -> Iterator[NodeProcess]:
    started = _started(_tables(RULES))
    node.forget_connections()
    for port in world.ports.values():
        port.heard(0)
    try:
        yield started
    finally:
        started.stop()


class Sender:
    """Sends UDP from web to db; every packet has a number, by which it is known there."""

    def __init__(self, world: World) -> None:
        self.world, self.number = world, 0
        self.sent: dict[int, set[int]] = {}

    def frame(self, dport: int, *, sport: int = 0, back: bool = False) -> bytes:
        """The next packet; a new flow unless it has a source port of its own."""
        self.number += 1
        ports = (dport, sport) if back else (sport or 10_000 + self.number % 50_000, dport)
        ends = (DB, WEB) if back else (WEB, DB)
        packet = node.packet(*ends, 17, sport=ports[0], dport=ports[1], number=self.number)
        self.sent.setdefault(dport, set()).add(self.number)
        return self.world.from_host("b" if back else "a", packet)

    def passes(self, dport: int, **more: Any) -> bool:
        """Whether one packet arrives."""
        frame = self.frame(dport, **more)
        wanted = self.number.to_bytes(4, "big")
        back = bool(more.get("back"))
        self.world.ports["b" if back else "a"].send([frame])
        return wanted in self.world.ports["b"].heard()


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

    narrower = _tables(NARROWER)
    process.segment("submit_delta", Slot.ENFORCED, diff(_tables(RULES), narrower))
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
    doomed = [opened[flow] for flow in forbidden(Reader(narrower), opened)]
    assert process.call("segment.end", doomed) == 1
    assert process.call("segment.end", doomed) == 0, "it is gone already"
    assert not sender.passes(ALLOWED, sport=1)
    assert sender.passes(KEPT, sport=2)
    assert [f.dport for f in process.call("segment.live", "red")] == [KEPT]


def test_flows_without_ports_end_as_well(world: World, process: NodeProcess) -> None:
    process.segment("submit", Slot.ENFORCED, _tables(OPEN))
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
    assert sender.number.to_bytes(4, "big") in world.ports["b"].heard()
    world.ports["b"].send([sender.frame(ALLOWED, sport=2, back=True)])
    assert sender.number.to_bytes(4, "big") not in world.ports["b"].heard()


def test_a_staged_revision_is_counted_and_never_decides(world: World, process: NodeProcess) -> None:
    sender = Sender(world)
    process.segment("submit", Slot.STAGED, _tables(CLOSED))
    process.segment("settled")
    assert sender.passes(ALLOWED)
    assert _counters(process)["staged_denied_10"] == 1
    process.segment("submit", Slot.STAGED, _tables(OPEN))
    process.segment("settled")
    assert not sender.passes(DENIED)
    assert _counters(process)["staged_denied_10"] == 1


def test_the_node_itself_stays_shut_and_is_no_business_of_a_policy(
    world: World, process: NodeProcess
) -> None:
    process.segment("submit", Slot.ENFORCED, _tables(OPEN))
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


def test_without_its_table_nothing_new_passes_and_it_is_made_again(
    world: World, process: NodeProcess
) -> None:
    sender = Sender(world)
    assert sender.passes(ALLOWED, sport=1)
    process.pause()
    try:
        inside("pe", f"nft delete table inet {TABLE}")
        assert not sender.passes(KEPT)
        assert not sender.passes(DENIED)
        assert sender.passes(ALLOWED, sport=1), "what was allowed goes on"
    finally:
        process.resume()
    assert until(lambda: sender.passes(KEPT), 5.0)
    assert not sender.passes(DENIED)
    assert process.call("segment.repairs") == 1
    assert process.counters()["fail_03__red"] >= 2


def test_control_without_the_guard_a_lost_table_opens_everything(world: World) -> None:
    process = _started(_tables(RULES), disabled_guards=frozenset({"verdict"}))
    try:
        sender = Sender(world)
        assert not sender.passes(DENIED)
        process.pause()
        inside("pe", f"nft delete table inet {TABLE}")
        assert sender.passes(DENIED)
    finally:
        process.resume()
        process.stop()


@pytest.mark.parametrize(
    "meddling",
    [
        f"flush map inet {TABLE} e_ports",
        f"flush chain inet {TABLE} tell_10",
        f"add rule inet {TABLE} e_nowhere accept",
        f"add element inet {TABLE} e_destinations {{ 0x7001 : 0x80000001 }}",
    ],
)
def test_meddling_is_seen_and_undone(world: World, process: NodeProcess, meddling: str) -> None:
    before, sender = _kernel(), Sender(world)
    subprocess.run(
        ["ip", "netns", "exec", "pe", "nft", *meddling.split(" ")], check=True, timeout=10
    )
    assert _kernel() != before
    assert until(lambda: _kernel() == before, 5.0)
    assert sender.passes(ALLOWED)
    assert not sender.passes(DENIED)
    assert process.call("segment.repairs") == 1


def test_the_nft_program_lists_it_all(world: World, process: NodeProcess) -> None:
    """Version 1.0.6 aborts on keys and rules that it cannot make sense of."""
    process.segment("submit", Slot.STAGED, _tables(NARROWER))
    home = {("red", WEB.packed): "pe-a"}
    process.segment("submit_homes", Homes(homes4=home))
    process.segment("settled")
    words = ["ip", "netns", "exec", "pe", "nft", "list", "ruleset"]
    listed = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert listed.returncode == 0, listed.stderr
    assert f'"pe-a" . {WEB}' in listed.stdout, "the shorter way home"
    assert "map s_ports" in listed.stdout
    assert "map @s_ports" in listed.stdout


def _kernel() -> tuple[str, object]:
    """Everything in the kernel's table."""
    with entered("pe"):
        reader = SegmentSocket()
    try:
        names = reader.names()
        maps = {name: kind for name, kind in _kinds().items() if names and name in names.maps}
        return reader.fingerprint(), reader.elements(maps)
    finally:
        reader.close()


def _kinds() -> dict[str, Any]:
    return dict(program(Layout(frozenset(node.ZONES.values()), staged=True)).maps)


def test_what_others_do_to_their_own_tables_is_no_drift(world: World, process: NodeProcess) -> None:
    inside("pe", "nft add table inet somebody")
    time.sleep(2.5)
    assert process.call("segment.repairs") == 0
    assert Sender(world).passes(ALLOWED)
    inside("pe", "nft delete table inet somebody")


class Stream:
    """New flows, one allowed and one denied in turn, at a steady pace, while something happens."""

    def __init__(self, world: World, pause: float = 0.001) -> None:
        self.world, self.pause, self.sender = world, pause, Sender(world)
        self.arrived: set[int] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=f) for f in (self._send, self._listen)]

    def _send(self) -> None:
        while not self._stop.is_set():
            frames = [self.sender.frame(ALLOWED), self.sender.frame(DENIED)]
            self.world.ports["a"].send(frames)
            time.sleep(self.pause)

    def _listen(self) -> None:
        while not self._stop.is_set():
            heard = self.world.ports["b"].heard(0.2)
            self.arrived |= {int.from_bytes(number, "big") for number in heard}

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self._stop.set()
        for thread in self._threads:
            thread.join()
        heard = self.world.ports["b"].heard(0.3)
        self.arrived |= {int.from_bytes(number, "big") for number in heard}

    def judge(self) -> int:
        """Nothing was lost and nothing wrongly admitted; how many were sent."""
        wrong = self.arrived & self.sender.sent[DENIED]
        lost = self.sender.sent[ALLOWED] - self.arrived
        assert not wrong, f"{len(wrong)} wrongly admitted"
        assert not lost, f"{len(lost)} of {len(self.sender.sent[ALLOWED])} lost"
        return len(self.sender.sent[ALLOWED])


def test_a_rebuild_of_50000_entries_loses_and_admits_nothing(
    world: World, process: NodeProcess
) -> None:
    tables = _tables(RULES, 50_000)
    other = _tables(RULES, 49_990)
    process.segment("submit", Slot.ENFORCED, tables)
    process.segment("settled")
    seconds = []
    with Stream(world) as stream:
        for each in (other, tables):
            # As after meddling: the whole table is deleted and made anew.
            inside("pe", f"nft add chain inet {TABLE} stranger")
            before = time.monotonic()
            process.segment("submit", Slot.ENFORCED, each)
            process.segment("settled")
            seconds.append(time.monotonic() - before)
    sent = stream.judge()
    print(f"rebuilt in {seconds}, {sent} new flows meanwhile")
    assert sent > 200
    assert process.call("segment.repairs") == 2


def test_a_crash_and_a_restart_lose_and_admit_nothing(world: World) -> None:
    process = _started(_tables(RULES))
    try:
        with Stream(world) as stream:
            process.kill()
            time.sleep(0.5)
            process = _started(_tables(RULES))
        assert stream.judge() > 200
    finally:
        process.stop()


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
    assert TABLE not in inside("pe", "nft list tables")


def test_an_enforced_slot_without_tables_denies(world: World, process: NodeProcess) -> None:
    sender = Sender(world)
    process.segment("submit", Slot.ENFORCED, None)
    process.segment("settled")
    assert not sender.passes(ALLOWED)
    process.segment("submit", Slot.ENFORCED, _tables(RULES))
    process.segment("settled")
    assert sender.passes(ALLOWED)


def test_deltas_lead_to_the_tables_of_a_full_compilation(process: NodeProcess) -> None:
    for seed in range(10):
        rng, books = Random(seed), Books()  # noqa: S311 - a seeded world
        policy, before = worlds.policy(rng), worlds.claimants(rng, 6)
        compiler = IncrementalCompiler(policy, worlds.inventory_of(before), books)
        process.segment("submit", Slot.ENFORCED, compiler.tables)
        process.segment("settled")
        for _ in range(15):
            process.segment("submit_delta", Slot.ENFORCED, compiler.put(worlds.claimant(rng)))
            if rng.randrange(2):
                process.segment("settled")
        process.segment("settled")
        stepped = _kernel()
        process.segment("submit", Slot.ENFORCED, None)
        process.segment("settled")
        assert _kernel() != stepped
        process.segment("submit", Slot.ENFORCED, compiler.tables)
        process.segment("settled")
        assert _kernel()[1] == stepped[1]
    assert process.call("segment.repairs") == 0


def test_every_new_flow_is_told_or_counted_as_lost(world: World) -> None:
    process = _started(_tables(RULES), flow_room=1 << 18)
    try:
        _tell_too_much(world, process)
    finally:
        process.stop()


def _tell_too_much(world: World, process: NodeProcess) -> None:
    sender, total = Sender(world), 30_000
    frames = [sender.frame(DENIED) for _ in range(total)]
    time.sleep(1.5)
    process.call("flows")
    before = _counters(process)["judged_10"]
    world.ports["a"].send(frames[:10_000])
    process.pause()  # what nobody reads overflows sooner or later
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
    process.apply(Delta(routes={node.TABLES["blue"]: {host_prefix(DB): hop.key}}))
    process.segment("zones", {"red": node.ZONES["red"]})

    def arrives(document: str) -> bool:
        process.segment("submit", Slot.ENFORCED, _tables(document))
        process.segment("settled")
        packet = node.packet(OTHER, DB, 17, sport=1, dport=ALLOWED, number=1)
        world.ports["c"].send([world.from_host("c", packet)])
        return len(world.ports["b"].heard()) == 1

    assert arrives(OPEN)
    assert not arrives(RULES)
    assert arrives(f"{RULES}  - allow outside to tier=db on udp/{ALLOWED}\n")
    assert not arrives(CLOSED)
    process.segment("zones", {})
    process.segment("settled")
    assert arrives(CLOSED), "nobody is under policy any more"
