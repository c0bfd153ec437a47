"""A node whose policy allows web to db on some UDP ports, and traffic between the two."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

from controlplane.model.prefix import host_prefix
from controlplane.model.verdict_tables import Slot, Tables
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.language.document import parse_policy
from tests.lab import policy_node as node
from tests.lab.agents import inside
from tests.lab.policy_node import NodeProcess, World

WEB, DB, OTHER = (ip_address(f"10.0.0.{n}") for n in (1, 2, 3))
ALLOWED, DENIED, KEPT = 5000, 6000, 7000
"""UDP ports: allowed from web to db, never allowed, and allowed in every revision."""
BOOKS = IdAllocators()
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


def inventory(crowd: int = 0) -> Inventory:
    found = [
        Workload("web", "red", "pe-a", (host_prefix(WEB),), {"tier": "web"}),
        Workload("db", "red", "pe-b", (host_prefix(DB),), {"tier": "db"}),
    ]
    for number in range(crowd):
        address = host_prefix(ip_address(0x0B000000 + number))
        found.append(Workload(f"w{number}", "red", "pe-a", (address,), {"tier": f"t{number % 50}"}))
    return Inventory(frozenset(node.ZONES), tuple(found))


def tables(document: str, crowd: int = 0, without: str = "") -> Tables:
    """The tables of a document; ``without`` one of the workloads."""
    whole = inventory(crowd)
    left = tuple(each for each in whole.workloads if each.name != without)
    return compile_policy(parse_policy(document), Inventory(whole.zones, left), BOOKS).tables


@contextmanager
def quiet_world() -> Iterator[World]:
    """Without checksums: packets are made by hand."""
    with node.world() as made:
        inside("pe", "sysctl -qw net.netfilter.nf_conntrack_checksum=0")
        yield made


def started(enforced: Tables | None, **options: Any) -> NodeProcess:
    """A node, with its policy known before its ports come up."""
    process = NodeProcess("pe", **options)
    process.segment("zones", node.ZONES)
    process.segment("submit", Slot.ENFORCED, enforced)
    process.segment("submit", Slot.STAGED, None)
    process.apply(node.desired())
    process.segment("settled")
    process.call("mark_in_sync")
    process.call("settled")
    node.settle_neighbours()
    return process


@contextmanager
def under_rules(world: World) -> Iterator[NodeProcess]:
    """A node with RULES; nothing is established, and nothing waits unread."""
    process = started(tables(RULES))
    node.forget_connections()
    for port in world.ports.values():
        port.received(0)
    try:
        yield process
    finally:
        process.stop()


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
        return wanted in self.world.ports["b"].received()


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
            numbers = self.world.ports["b"].received(0.2)
            self.arrived |= {int.from_bytes(number, "big") for number in numbers}

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
        numbers = self.world.ports["b"].received(0.3)
        self.arrived |= {int.from_bytes(number, "big") for number in numbers}

    def judge(self) -> int:
        """Nothing was lost and nothing wrongly admitted; how many were sent."""
        wrong = self.arrived & self.sender.sent[DENIED]
        lost = self.sender.sent[ALLOWED] - self.arrived
        assert not wrong, f"{len(wrong)} wrongly admitted"
        assert not lost, f"{len(lost)} of {len(self.sender.sent[ALLOWED])} lost"
        return len(self.sender.sent[ALLOWED])
