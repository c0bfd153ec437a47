"""A node that is asked for one change after the other and killed: what there should be then.

The model says what is there after so many changes. After a kill there is what it says after as
many as were answered, or after one more: that one was under way.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import grpc
from bulkhead.client import connect
from bulkhead.segment import Segment
from bulkhead.v1 import policy_pb2 as pb

from controlplane.api.access.audit_chain import first_break
from controlplane.model.observed import MOST_BASELINES
from controlplane.model.revision import State
from controlplane.policy.language.revision import MOST_SUPERSEDED, Ledger
from controlplane.store import open_store
from labs.waiting import until

CHANGES = ("attach", "tag", "stage", "promote", "baseline", "detach")
FIRST_PORT = 1000
T = TypeVar("T")
PORT = "p1"
"""Behind which all workloads are."""


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
                trail = recent((*self.trail, ("stage", f"n{turn}")))
                more = {"staged": f"n{turn}", "trail": trail}
            case "promote":
                trail = recent((*self.trail, ("promote", f"n{turn}")))
                more = {"staged": "", "enforced": f"n{turn}", "trail": trail}
            case "baseline":
                more = {"baselines": newest(self.baselines | {f"b{turn}"})}
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
                node.attach(name, "red", PORT, [f"10.0.0.{turn % 200 + 10}"])
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


def recent(trail: Sequence[T]) -> tuple[T, ...]:
    """Return the entries that are compared: the revisions of older ones may be pruned."""
    return tuple(trail[-MOST_SUPERSEDED:])


def newest(baselines: frozenset[str]) -> frozenset[str]:
    """Return the baselines that the node keeps: those recorded last."""
    by_turn = sorted(baselines, key=lambda name: int(name.removeprefix("b")))
    return frozenset(by_turn[-MOST_BASELINES:])


class Writer(threading.Thread):
    """Asks for one change after the other until the node is gone."""

    def __init__(self, socket: str, model: Model) -> None:
        super().__init__()
        self.answered, self.begun, self._socket = model, threading.Event(), socket
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            with connect(self._socket, timeout=30.0) as client:
                while True:
                    if self._is_taken(client.segment):
                        self.answered = self.answered.after()
                        self.begun.set()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                self.failed = error
        finally:
            self.begun.set()

    def _is_taken(self, node: Segment) -> bool:
        """Ask for the next change; False while the node has only just started."""
        try:
            self.answered.ask(node)
        except grpc.RpcError as error:
            if "just started" not in (error.details() or ""):
                raise
            return False
        return True


def in_store(folder: Path, count: int) -> Model:
    """What the file says, the node being away."""
    until(lambda: _is_free(folder), 20.0)
    store = open_store(folder)
    try:
        kept = store.load_policy()
        ledger = Ledger.kept(kept.revisions, kept.trail)
    finally:
        store.close()
    return Model(
        count,
        {n: (a.generation, dict(a.workload.tags)) for n, a in kept.attachments.items()},
        policy_name(ledger, State.STAGED),
        policy_name(ledger, State.ENFORCED),
        tuple((e.move, ledger.revisions[e.after].policy.name) for e in recent(ledger.trail)),
        frozenset(kept.baselines),
        tuple((line.workload, line.change) for line in kept.history),
    )


def _is_free(folder: Path) -> bool:
    """Whether the lock is gone: the threads of a killed process outlive its first one a little."""
    with (folder / "state.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def policy_name(ledger: Ledger, state: State) -> str:
    revision = ledger.in_state(state)
    return revision.policy.name if revision else ""


def in_node(node: Segment, count: int) -> Model:
    """What the node says."""
    revisions = node.revisions()
    named = {r.digest: r.name for r in revisions}
    states = {r.state: r.name for r in revisions if r.state != pb.Revision.STATE_SUPERSEDED}
    everybody = node.get_evidence("has turn or not has turn")
    return Model(
        count,
        {w.name: (w.generation, dict(w.tags)) for w in node.list_workloads()},
        states.get(pb.Revision.STATE_STAGED, ""),
        states.get(pb.Revision.STATE_ENFORCED, ""),
        tuple((c.move, named[c.after]) for c in recent(node.changes()[::-1])),
        frozenset(b.name for b in node.baselines()),
        tuple((c.workload, c.change) for c in everybody.membership_changes),
    )


def settle(folder: Path, said: Model) -> Model:
    """What the file has after a kill: all that was answered, and one more at most, whole."""
    found, more = in_store(folder, said.count), said.after()
    if found == said:
        return found
    found = replace(found, count=more.count)
    assert found == more
    return found


def check_audit(folder: Path, answered: int) -> None:
    """The trail is unbroken, and every change that was answered is in it with its end."""
    lines = (folder / "audit.log").read_text().splitlines()
    assert first_break(lines) is None
    ended = [line for line in map(json.loads, lines) if line["phase"] == "ended"]
    assert sum(line["result"] == "OK" for line in ended) >= answered
