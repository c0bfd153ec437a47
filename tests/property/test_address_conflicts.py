"""Three PEs, one address, and names that come and go in any order: no order is a takeover.

Claims are attached at any PE, messages are delivered one by one, sessions go down and come up.
Once all is delivered, an address that is attached under different names is pending at every PE, and
one that is attached under one name is in conflict at none.
"""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, ip_address
from itertools import combinations, permutations
from random import Random

import msgspec

from controlplane.model.effects import Announce, Answer, LogEvent, Withdraw
from controlplane.model.events import (
    Event,
    IntentChanged,
    PortChanged,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    UnderlayPath,
    UnderlayRouteChanged,
    UnderlaySynced,
)
from controlplane.model.instant import BootTime, Instant
from controlplane.model.label import LabelBlock
from controlplane.model.peer import PeerId
from controlplane.model.prefix import host_prefix, parse_prefix
from controlplane.model.rd import parse_rd
from controlplane.model.workload import HERE, Packet, Workload
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.policy import Policy
from controlplane.policy.requests import DetachRequested, WorkloadAttachRequested
from controlplane.router import Router
from tests.turns import decide
from tests.unit.controlplane.rig import VPN4, VPN6, node, pe_peer, vrf

SEEDS, STEPS = 150, 30
PES = (1, 2, 3)
NAMES = ("web", "web", "db", "cache")  # some meet under one name
KINDS = ("attach", "attach", "detach", "deliver", "deliver", "deliver", "session")
ADDRESS = parse_prefix("10.1.0.5")
PLACE = ("red", ADDRESS)
FAMILIES = frozenset({VPN4, VPN6})


def loopback(number: int) -> IPv4Address:
    return IPv4Address(f"10.255.0.{number}")


class Pe:
    """A router; what it has for a peer is in ``outbox`` until it is delivered."""

    def __init__(self, number: int) -> None:
        self.number, self.router = number, Router()
        self.others = [other for other in PES if other != number]
        self.outbox: dict[int, list[Event]] = {other: [] for other in self.others}
        self.up: set[int] = set()
        self.answers: list[Answer] = []
        self.alarms: Counter[str] = Counter()
        peers = [
            msgspec.structs.replace(
                pe_peer(PeerId("", loopback(other))), local_address=loopback(number)
            )
            for other in self.others
        ]
        intent = msgspec.structs.replace(
            node(vrf("red", 1, rd=parse_rd(f"6500{number}:1")), peers=peers),
            router_id=loopback(number), loopback=loopback(number),
            label_block=LabelBlock(16000 + 1000 * number, 16099 + 1000 * number),
        )  # fmt: skip
        self.do(IntentChanged(intent))
        for other in self.others:
            way = UnderlayPath(ip_address(f"10.0.0.{other}"), "core0", (100,))
            self.do(UnderlayRouteChanged(host_prefix(loopback(other)), (way,)))
        self.do(PortChanged("red-ce", present=True, up=True), UnderlaySynced())

    def do(self, *events: Event) -> None:
        effects = decide(self.router, events, Instant(0.0, 0.0, BootTime("lab", 0.0)))
        me = PeerId("", loopback(self.number))
        for action in effects.actions:
            match action:
                case Announce(peer, family, hop, attributes, nlri):
                    self.send(peer, RoutesReceived(me, family, hop, attributes, nlri))
                case Withdraw(peer, family, nlri):
                    self.send(peer, RoutesWithdrawn(me, family, nlri))
                case Answer():
                    self.answers.append(action)
                case LogEvent():
                    self.alarms[action.event] += 1

    def send(self, peer: PeerId, event: Event) -> None:
        other = peer.address.packed[-1]
        if other in self.up:
            self.outbox[other].append(event)

    def attach(self, name: str) -> bool:
        self.do(WorkloadAttachRequested(1, Workload(name, "red", "red-ce", (ADDRESS,)), "ada"))
        return self.answers.pop().error is None

    def detach(self, name: str) -> None:
        self.do(DetachRequested(1, name, "ada"))

    @property
    def names(self) -> set[str]:
        return set(self.router.policy.state.population.attachments)

    @property
    def conflict(self) -> tuple[str, ...]:
        return self.router.policy.conflicts.addresses.get(PLACE, ())

    @property
    def is_pending(self) -> bool:
        inventory = self.router.policy.state.inventory()
        flow = ("red", ip_address("10.9.9.9"), ip_address("10.1.0.5"), Packet(4, 6, 443))
        return evaluate(Policy(), inventory, *flow).rule == "default/pending"


class World:
    def __init__(self) -> None:
        self.pes = {number: Pe(number) for number in PES}
        for one, other in combinations(PES, 2):
            self.connect(one, other)
        self.drain()

    def connect(self, one: int, other: int) -> None:
        for a, b in permutations((one, other)):
            self.pes[a].up.add(b)
        for a, b in permutations((one, other)):
            peer = PeerId("", loopback(b))
            self.pes[a].do(SessionUp(peer=peer, families=FAMILIES, router_id=str(loopback(b))))

    def disconnect(self, one: int, other: int) -> None:
        for a, b in permutations((one, other)):
            self.pes[a].up.discard(b)
            self.pes[a].outbox[b].clear()
            self.pes[a].do(SessionDown(peer=PeerId("", loopback(b)), reason="test"))

    def deliver(self, one: int, other: int) -> bool:
        waiting = self.pes[one].outbox[other]
        if not waiting:
            return False
        self.pes[other].do(waiting.pop(0))
        return True

    def drain(self) -> None:
        for _ in range(1000):
            if sum(self.deliver(a, b) for a, b in permutations(PES, 2)) == 0:
                return
        raise AssertionError("they never stop")

    def check(self) -> None:
        """What holds at every moment: no PE uses an identity beside a claim that it can see."""
        for pe in self.pes.values():
            paths = pe.router.vrfs["red"].table.candidates(ADDRESS)
            marks = {c[2] for p in paths for c in p.attributes.large_communities if c[1] >> 30 == 3}
            assert bool(pe.conflict) == (len(marks) > 1)
            assert pe.is_pending or len(marks) < 2

    def settle(self) -> set[str]:
        for one, other in combinations(PES, 2):
            if other not in self.pes[one].up:
                self.connect(one, other)
        self.drain()
        self.check()
        return {name for pe in self.pes.values() for name in pe.names}


def walk(world: World, rng: Random, seen: Counter[str]) -> None:
    for _ in range(STEPS):
        one, other = rng.sample(PES, 2)
        pe = world.pes[one]
        match rng.choice(
            ("attach", "attach", "detach", "deliver", "deliver", "deliver", "session")
        ):
            case "attach":
                name = rng.choice(NAMES)
                known = pe.router.policy.state.population.remote.get(PLACE)
                had = name in pe.names
                accepted = pe.attach(name)
                seen["accepted" if accepted else "refused"] += 1
                if accepted and known is not None:
                    assert known.is_of(name) or had
            case "detach" if pe.names:
                pe.detach(rng.choice(sorted(pe.names)))
            case "session":
                (world.disconnect if other in pe.up else world.connect)(one, other)
            case _:
                world.deliver(one, other)
        world.check()


def test_no_order_of_claims_is_a_takeover() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        rng, world = Random(seed), World()
        walk(world, rng, seen)
        names = world.settle()
        conflicts = {number: pe.conflict for number, pe in world.pes.items()}
        if len(names) > 1:
            seen["conflict"] += 1
            for number, pe in world.pes.items():
                assert conflicts[number], (seed, names, conflicts)
                assert pe.is_pending, (seed, names)
                assert (HERE in conflicts[number]) == bool(pe.names), seed
                assert pe.alarms["address_conflict"], seed
            # It ends by itself when all names but one are detached.
            kept = rng.choice(sorted(names))
            for pe in world.pes.values():
                for name in pe.names - {kept}:
                    pe.detach(name)
            assert world.settle() == {kept}
        else:
            seen["agreed"] += 1
        for pe in world.pes.values():
            assert not pe.conflict, (seed, names)
            assert pe.alarms["address_conflict"] >= pe.alarms["address_conflict_cleared"]
            if names:
                assert not pe.is_pending, (seed, names)
    assert min(seen[k] for k in ("conflict", "agreed", "accepted", "refused")) >= 20, seen


def test_a_move_under_one_name_is_none_of_this() -> None:
    world = World()
    for there, here in ((1, 2), (2, 3), (3, 1)):
        world.pes[there].attach("web")
        world.drain()
        assert world.pes[here].attach("web"), "make before break"
        world.drain()
        assert not any(pe.conflict or pe.is_pending for pe in world.pes.values())
        best = world.pes[there].router.vrfs["red"].table.best[ADDRESS]
        assert best.hop.address == loopback(here), "the old PE yields"
        world.pes[there].detach("web")
        world.drain()
        assert not any(pe.conflict or pe.is_pending for pe in world.pes.values())
