"""``kill -9`` at any point: what was answered is there again, and nothing is there by half.

A whole node, ``pe run``, is asked for one change after the other and killed at random moments.
Its store then holds what a model says after so many changes as were answered, or one more; so
does the node when it runs again; and the kernel holds one revision all the time.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from bulkhead.client import connect
from bulkhead.segment import Segment

from controlplane.api.audit import first_break
from controlplane.segment.revision import Ledger, State
from controlplane.store import open_store
from labs.attack.inside import inside
from labs.lab import RunningLab, running
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node
from labs.waiting import until
from pe.segment.nft_wire import SegmentSocket
from pe.segment.program import VERDICT_MAPS

pytestmark = pytest.mark.lab

ROUNDS = 15
LONGEST = 1.2
"""Seconds from the first answer to the kill, at most."""
CONFIG = """\
name: pe1
router-id: 10.255.0.1
asn: 65000
loopback: 10.255.0.1
core-ports: {core0: {}}
vrfs:
  red:
    rd: 65000:1
    route-target: 65000:1
    ports:
      ce-a: {addresses: [192.168.1.1/30], source-prefixes: any}
"""
LAB = Lab(
    "durability",
    "one PE that is killed again and again",
    nodes=(
        Node("pe1", "pe", ("10.255.0.1/32",), programs=(pe(CONFIG),)),
        Node("core"),
        Node("a"),
    ),
    links=(
        Link(End("pe1", "core0", ("10.0.1.1/30",)), End("core", "pe1", ("10.0.1.2/30",))),
        Link(End("a", "eth0", ("192.168.1.2/30",)), End("pe1", "ce-a", up=False)),
    ),
)
CHANGES = ("attach", "tag", "stage", "promote", "baseline", "detach")
FIRST_PORT = 1000


@dataclass(frozen=True)
class Model:
    """What there should be after ``count`` changes; the next one follows from the count."""

    count: int = 0
    workloads: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    staged: str = ""
    enforced: str = ""
    trail: tuple[tuple[str, str], ...] = ()
    baselines: frozenset[str] = frozenset()
    history: tuple[tuple[str, str], ...] = ()

    @property
    def turn(self) -> int:
        return self.count // len(CHANGES)

    @property
    def change(self) -> str:
        return CHANGES[self.count % len(CHANGES)]

    @property
    def name(self) -> str:
        return f"w{self.turn}"

    def after(self) -> Model:
        """What the next change makes of it."""
        turn, name, workloads = self.turn, self.name, dict(self.workloads)
        match self.change:
            case "attach":
                workloads[name] = (1, {})
                more: dict[str, Any] = {"history": (*self.history, (name, "attached"))}
            case "tag":
                workloads[name] = (2, {"turn": f"t{turn}"})
                more = {"history": (*self.history, (name, "tagged"))}
            case "stage":
                more = {"staged": f"n{turn}", "trail": (*self.trail, ("stage", f"n{turn}"))}
            case "promote":
                trail = (*self.trail, ("promote", f"n{turn}"))
                more = {"staged": "", "enforced": f"n{turn}", "trail": trail}
            case "baseline":
                more = {"baselines": self.baselines | {f"b{turn}"}}
            case _:
                workloads.pop(f"w{turn - 2}", None)
                gone = ((f"w{turn - 2}", "detached"),) if turn >= 2 else ()
                more = {"history": (*self.history, *gone)}
        return replace(self, count=self.count + 1, workloads=workloads, **more)

    def ask(self, node: Segment) -> None:
        """Ask a node for the next change."""
        turn, name = self.turn, self.name
        match self.change:
            case "attach":
                node.attach(name, "red", "ce-a", [f"10.1.{turn // 250}.{turn % 250 + 1}"])
            case "tag":
                node.tag(name, {"turn": f"t{turn}"})
            case "stage":
                rule = f"allow any to any on tcp/{FIRST_PORT + turn}"
                node.stage(f"name: n{turn}\nmodes: {{default: full}}\nrules: [{rule}]")
            case "promote":
                node.promote(reason=f"n{turn}")
            case "baseline":
                node.record_baseline(f"b{turn}")
            case _:
                node.detach(f"w{turn - 2}")


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        yield up


def socket_of(lab: RunningLab) -> str:
    return str(lab.dir("pe1") / "run" / "api.sock")


class Writer(threading.Thread):
    """Asks for one change after the other until the node is gone."""

    def __init__(self, lab: RunningLab, model: Model) -> None:
        super().__init__()
        self.answered, self.begun, self._lab = model, threading.Event(), lab
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            with connect(socket_of(self._lab), timeout=30.0) as client:
                while True:
                    self.answered.ask(client.segment)
                    self.answered = self.answered.after()
                    self.begun.set()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                self.failed = error
        finally:
            self.begun.set()


def in_store(folder: Path, count: int) -> Model:
    """What the file says, the node being away."""
    store = open_store(folder)
    try:
        kept = store.segment.load()
    finally:
        store.close()
    return Model(
        count,
        {n: (a.generation, dict(a.workload.tags)) for n, a in kept.attachments.items()},
        policy_name(kept.ledger, State.STAGED),
        policy_name(kept.ledger, State.ENFORCED),
        tuple((e.move, kept.ledger.revisions[e.after].policy.name) for e in kept.ledger.trail),
        frozenset(kept.baselines),
        tuple((line.workload, line.change) for line in kept.history),
    )


def policy_name(ledger: Ledger, state: State) -> str:
    revision = ledger.in_state(state)
    return revision.policy.name if revision else ""


def in_node(node: Segment, count: int) -> Model:
    """What the node says."""
    from bulkhead.v1 import policy_pb2 as pb

    revisions = node.revisions()
    named = {r.digest: r.name for r in revisions}
    states = {r.state: r.name for r in revisions if r.state != pb.Revision.STATE_SUPERSEDED}
    everybody = node.get_evidence("has turn or not has turn")
    return Model(
        count,
        {w.name: (w.generation, dict(w.tags)) for w in node.list_workloads()},
        states.get(pb.Revision.STATE_STAGED, ""),
        states.get(pb.Revision.STATE_ENFORCED, ""),
        tuple((c.move, named[c.after]) for c in reversed(node.changes())),
        frozenset(b.name for b in node.baselines()),
        tuple((c.workload, c.change) for c in everybody.membership_changes),
    )


def in_kernel() -> set[int]:
    """The ports that the enforced maps allow: of each revision it is one, another for each."""
    with inside("pe1"):
        reader = SegmentSocket()
    try:
        names = reader.names()
        if names is None or "e_ports" not in names.maps:
            return set()
        found = reader.elements({"e_ports": VERDICT_MAPS["ports"]})["e_ports"]
        return {int.from_bytes(key[8:10], "big") for key in found}
    finally:
        reader.close()


def ports(*models: Model) -> list[set[int]]:
    """What the kernel may hold after one of these."""
    return [{FIRST_PORT + int(m.enforced[1:])} if m.enforced else set() for m in models]


def check_audit(lab: RunningLab, answered: int) -> None:
    """The trail is unbroken, and every change that was answered is in it with its end."""
    lines = (lab.dir("pe1") / "state" / "audit.log").read_text().splitlines()
    assert first_break(lines) is None
    ended = [line for line in map(json.loads, lines) if line["phase"] == "ended"]
    assert sum(line["result"] == "OK" for line in ended) >= answered


def test_killed_at_random_moments_a_node_loses_nothing_and_halves_nothing(lab: RunningLab) -> None:
    dice, model, answered, between = Random(11), Model(), 0, 0  # noqa: S311 - when to kill
    for _ in range(ROUNDS):
        writer = Writer(lab, model)
        writer.start()
        assert writer.begun.wait(60.0)
        writer.join(dice.random() * LONGEST)
        pid = lab.pid("pe1", "pe")
        assert pid, lab.log("pe1", "pe")[-2000:]
        os.kill(pid, signal.SIGKILL)
        writer.join(60.0)
        assert not writer.failed, writer.failed
        lab.stop("pe1", "pe", signal.SIGKILL)  # waits for its end
        said, one_more = writer.answered, writer.answered.after()
        answered += said.count - model.count

        assert in_kernel() in ports(said, one_more), "a revision is in the kernel whole"
        model = in_store(lab.dir("pe1") / "state", said.count)
        if model != said:
            model = replace(model, count=one_more.count)
            assert model == one_more
            between += 1

        lab.start("pe1", lab.program("pe1", "pe"))
        with connect(socket_of(lab), timeout=60.0) as client:
            assert in_node(client.segment, model.count) == model
        assert until(lambda now=model: [in_kernel()] == ports(now), 30.0), in_kernel()  # type: ignore[misc]
        check_audit(lab, answered)
    print(f"{ROUNDS} kills, {answered} changes answered, {between} more were kept unanswered")
    assert answered > 3 * ROUNDS
