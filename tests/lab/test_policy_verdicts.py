"""Policy with real packets: nftables says what the reference says, on every path."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from controlplane.model.flow import FlowRecord
from controlplane.model.protocols import PORT_PROTOCOLS
from controlplane.model.verdict import Verdict
from controlplane.model.verdict_tables import Slot
from controlplane.model.workload import Endpoint, Inventory
from controlplane.policy.compile.full import Compiled, IdAllocators, compile_policy
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.policy import Policy
from tests.lab import policy_node as node
from tests.lab.agents import until
from tests.lab.policy_node import NodeProcess, World
from tests.property import segment_worlds as worlds

pytestmark = pytest.mark.lab

UNROUTED = {"255.255.255.255", "ffff::1"}
"""Addresses that no router forwards to or from."""
FIRST_SPORT = 10_000
SEEDS, WALKS, STEPS = 40, 12, 4


@pytest.fixture(scope="module")
def process(world: World) -> Iterator[NodeProcess]:
    started = NodeProcess("pe")
    started.apply(node.desired())
    started.call("mark_in_sync")
    started.call("settled")
    node.settle_neighbours()
    try:
        yield started
    finally:
        started.stop()


@dataclass(frozen=True)
class Path:
    """A way through the PE."""

    name: str
    from_core: bool = False
    to_core: bool = False

    def frame(self, world: World, zone: str, packet: bytes) -> tuple[str, bytes]:
        """Where a packet of a VRF goes in, and as what."""
        if self.from_core:
            return "core", world.from_core(zone, packet)
        return node.SOURCE[zone], world.from_host(node.SOURCE[zone], packet)


PATHS = (
    Path("CE to CE"),
    Path("CE to core", to_core=True),
    Path("core to CE", from_core=True),
)


@dataclass(frozen=True)
class Trial:
    """One probe with the number that is in it, its source port, and what is right."""

    number: int
    sport: int
    probe: worlds.Probe
    enforced: Verdict
    staged: Verdict | None

    @property
    def is_followed(self) -> bool:
        """Whether connection tracking follows such packets; others are judged one by one."""
        packet = self.probe.packet
        echo = (packet.family, packet.protocol, packet.icmp_type) == (4, 1, 8)
        return packet.protocol not in (1, 58) or echo

    @property
    def key(self) -> tuple[object, ...]:
        """The flow as a record names it."""
        probe, packet = self.probe, self.probe.packet
        ported = packet.protocol in PORT_PROTOCOLS
        kind = packet.icmp_type if packet.protocol in (1, 58) else -1
        ports = (self.sport, packet.dport) if ported else (0, 0)
        return (probe.zone, probe.source, probe.destination, packet.protocol, *ports, kind)


def _record_key(record: FlowRecord) -> tuple[object, ...]:
    return (
        record.vrf, record.source, record.destination, record.protocol,
        record.sport, record.dport, record.icmp_type,
    )  # fmt: skip


def _usable(probe: worlds.Probe) -> bool:
    if {str(probe.source), str(probe.destination)} & UNROUTED:
        return False
    # Protocol 0 is an extension header in IPv6, which the guards drop. A host does not send to
    # itself through the PE.
    return (probe.packet.family, probe.packet.protocol) != (6, 0)


def _distinct(probes: list[worlds.Probe]) -> list[worlds.Probe]:
    """Without those that connection tracking would take for another one's answer or repetition:
    flows of protocols without ports, and untracked packets (whose records look alike)."""
    seen: set[object] = set()
    found = []
    for probe in probes:
        packet = probe.packet
        if packet.protocol not in PORT_PROTOCOLS:
            key = (
                probe.zone, frozenset((probe.source, probe.destination)), packet.protocol,
                packet.icmp_type,
            )  # fmt: skip
            if key in seen:
                continue
            seen.add(key)
        found.append(probe)
    return found


@dataclass
class Held:
    """What the kernel holds: policies over an inventory, and the tables that they are."""

    inventory: Inventory
    policies: list[Policy]
    compiled: list[Compiled]

    def trials(self, rng: Random) -> list[Trial]:
        """Random probes, and what is right for them."""
        readers = [Reader(each.tables) for each in self.compiled]
        found = []
        probes = _distinct([probe for probe in worlds.probes(rng, 12) if _usable(probe)])
        for number, probe in enumerate(probes):
            flow = (probe.zone, probe.source, probe.destination, probe.packet)
            verdicts = [reader.verdict(*flow) for reader in readers]
            for policy, compiled, verdict in zip(
                self.policies, self.compiled, verdicts, strict=True
            ):
                meant = evaluate(policy, self.inventory, *flow)
                assert meant.allowed == verdict.allowed
                assert meant.rule == compiled.rule_ids[verdict.rule]
            staged = verdicts[1] if len(verdicts) > 1 else None
            found.append(Trial(number, FIRST_SPORT + number, probe, verdicts[0], staged))
        return found


def _hold(rng: Random, process: NodeProcess, *, staged: bool) -> Held:
    """Have the kernel hold a random world."""
    inventory, books = worlds.inventory_of(worlds.claimants(rng)), IdAllocators()
    policies = [worlds.policy(rng) for _ in range(2 if staged else 1)]
    compiled = [compile_policy(policy, inventory, books) for policy in policies]
    process.segment("submit", Slot.ENFORCED, compiled[0].tables)
    process.segment("submit", Slot.STAGED, compiled[1].tables if staged else None)
    process.segment("zones", node.ZONES)
    process.segment("settled")
    return Held(inventory, policies, compiled)


def _packet(trial: Trial) -> bytes:
    probe, packet = trial.probe, trial.probe.packet
    return node.packet(
        probe.source, probe.destination, packet.protocol,
        sport=trial.sport, dport=packet.dport, icmp_type=packet.icmp_type, number=trial.number,
    )  # fmt: skip


def _judge(
    world: World, process: NodeProcess, path: Path, trials: list[Trial]
) -> tuple[set[int], list[FlowRecord], int]:
    """Send all probes; the numbers that arrived, the records, and how many were lost."""
    node.forget_connections()
    for port in world.ports.values():
        port.received(0)
    process.call("flows")
    for trial in trials:
        where, frame = path.frame(world, trial.probe.zone, _packet(trial))
        world.ports[where].send([frame])
    sinks = ["core"] if path.to_core else [*node.SINK.values()]
    arrived: list[int] = []
    for sink in sinks:
        arrived += [int.from_bytes(number, "big") for number in world.ports[sink].received()]
    assert len(arrived) == len(set(arrived))
    wanted = sum(1 for t in trials if t.is_followed or not t.enforced.allowed)
    records: list[FlowRecord] = []
    lost = 0

    def all_told() -> bool:
        nonlocal lost
        more, gone = process.call("flows")
        records.extend(more)
        lost += gone
        return bool(len(records) + lost >= wanted)

    until(all_told, 2.0)
    return set(arrived), records, lost


def _compare(world: World, process: NodeProcess, path: Path, trials: list[Trial]) -> Counter[str]:
    arrived, records, lost = _judge(world, process, path, trials)
    assert not lost
    told = {_record_key(record): record for record in records}
    assert len(told) == len(records)
    seen: Counter[str] = Counter()
    for trial in trials:
        assert (trial.number in arrived) == trial.enforced.allowed, trial
        record = told.pop(trial.key, None)
        if trial.is_followed or not trial.enforced.allowed:
            assert record, trial
            assert record.enforced == trial.enforced.word, trial
            if trial.is_followed:
                assert record.staged == (trial.staged.word if trial.staged else None), trial
        else:
            assert record is None, trial
        seen["allowed" if trial.enforced.allowed else "denied"] += 1
        seen["logged"] += bool(trial.enforced.logs)
        seen["untracked"] += not trial.is_followed
        seen[f"protocol {trial.probe.packet.protocol}"] += 1
        seen["differs"] += trial.staged is not None and (
            trial.staged.allowed != trial.enforced.allowed
        )
    assert not told
    return seen


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_real_packets_meet_the_verdict_of_the_reference(
    world: World, process: NodeProcess, path: Path
) -> None:
    process.apply(node.desired(towards_core=path.to_core))
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        rng = Random(seed)
        trials = _hold(rng, process, staged=seed % 2 == 1).trials(rng)
        seen += _compare(world, process, path, trials)
    print(path.name, dict(seen))
    # Were nearly all allowed or denied, agreement would mean little.
    assert min(seen["allowed"], seen["denied"]) > 500
    assert min(seen["logged"], seen["untracked"], seen["differs"]) > 100
    assert min(seen[f"protocol {number}"] for number in (1, 6, 17, 58, 132, 136)) > 20


def test_after_every_change_of_a_workload_real_packets_meet_the_new_verdict(
    world: World, process: NodeProcess
) -> None:
    """Workloads and routes come, change and go, as differences: never as whole tables."""
    process.apply(node.desired())
    path, seen, differed = PATHS[0], Counter[str](), 0
    for seed in range(WALKS):
        rng, books = Random(1000 + seed), IdAllocators()
        policy, before = worlds.policy(rng), worlds.claimants(rng, 8)
        present: dict[str, Endpoint] = {each.key: each for each in before}
        compiler = IncrementalCompiler(policy, worlds.inventory_of(before), books)
        process.segment("submit", Slot.ENFORCED, compiler.tables)
        process.segment("submit", Slot.STAGED, None)
        process.segment("zones", node.ZONES)
        process.segment("settled")
        for _ in range(STEPS):
            differed += _step(rng, process, compiler, present)
            process.segment("settled")
            inventory = worlds.inventory_of([*present.values()])
            held = Held(inventory, [policy], [compiler.compiled()])
            seen += _compare(world, process, path, held.trials(rng))
    print(dict(seen), f"{differed} differences")
    assert min(seen["allowed"], seen["denied"]) > 300
    assert differed > WALKS * STEPS
    assert process.call("segment.repairs") == 0


def _step(
    rng: Random, process: NodeProcess, compiler: IncrementalCompiler, present: dict[str, Endpoint]
) -> int:
    """A few changes, each sent as a difference; how many were any."""
    sent = 0
    for _ in range(4):
        if present and rng.randrange(3) == 0:
            key = rng.choice(sorted(present))
            del present[key]
            delta = compiler.drop(key)
        else:
            fresh = worlds.claimant(rng)
            present[fresh.key] = fresh
            delta = compiler.put(fresh)
        process.segment("submit_delta", Slot.ENFORCED, delta)
        sent += bool(delta)
    return sent
