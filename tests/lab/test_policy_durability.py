"""``kill -9`` at any point: what was answered is there again, and nothing is there by half.

A whole node, ``pe run``, is asked for one change after the other and killed at random moments.
Its store then holds what a model says after so many changes as were answered, or one more; so
does the node when it runs again; and the kernel holds one revision all the time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from random import Random

import pytest
from bulkhead.client import connect

from labs.lab import RunningLab, running
from labs.namespaces import inside
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node
from labs.waiting import until
from pe.nft.reader import RulesetReader
from pe.policy.lookup import VERDICT_MAPS
from pe.policy.program import TABLE
from tests.durability import FIRST_PORT, PORT, Model, Writer, check_audit, in_node, settle
from tests.elements import elements_of

pytestmark = pytest.mark.lab

ROUNDS = 15
LONGEST = 1.2
"""Seconds from the first answer to the kill, at most."""
CONFIG = f"""\
name: pe1
router-id: 10.255.0.1
asn: 65000
loopback: 10.255.0.1
core-ports: {{core0: {{}}}}
vrfs:
  red:
    rd: 65000:1
    route-target: 65000:1
    ports:
      {PORT}: {{addresses: [192.168.1.1/30], source-prefixes: any}}
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
        Link(End("a", "eth0", ("192.168.1.2/30",)), End("pe1", PORT, up=False)),
    ),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        yield up


def socket_of(lab: RunningLab) -> str:
    return str(lab.dir("pe1") / "run" / "api.sock")


def in_kernel() -> set[int]:
    """The ports that the enforced maps allow: of each revision it is one, another for each."""
    with inside("pe1"):
        reader = RulesetReader()
    try:
        held = reader.present(TABLE, None)
        if held is None or "e_ports" not in held.sets:
            return set()
        found = elements_of(reader, TABLE, {"e_ports": VERDICT_MAPS["ports"]})["e_ports"]
        return {int.from_bytes(key[8:10], "big") for key in found}
    finally:
        reader.close()


def ports(*models: Model) -> list[set[int]]:
    """What the kernel may hold after one of these."""
    return [{FIRST_PORT + int(m.enforced[1:])} if m.enforced else set() for m in models]


def test_killed_at_random_moments_a_node_loses_nothing_and_halves_nothing(lab: RunningLab) -> None:
    dice, model, answered, between = Random(11), Model(), 0, 0  # noqa: S311 - when to kill
    folder = lab.dir("pe1") / "state"
    for starts in range(1, ROUNDS + 1):
        # Before that the kernel holds what it held, and a node promotes nothing.
        told = lambda n=starts: lab.log("pe1", "pe").count("event=in_sync") >= n  # noqa: E731
        assert until(told, 90.0), lab.log("pe1", "pe")[-2000:]
        writer = Writer(socket_of(lab), model)
        writer.start()
        assert writer.begun.wait(60.0)
        writer.join(dice.random() * LONGEST)
        pid = lab.pid("pe1", "pe")
        assert pid, lab.log("pe1", "pe")[-2000:]
        os.kill(pid, signal.SIGKILL)
        writer.join(60.0)
        assert not writer.failed, writer.failed
        lab.stop("pe1", "pe", signal.SIGKILL)  # waits for its end
        said = writer.answered
        answered += said.count - model.count

        assert in_kernel() in ports(said, said.after()), "a revision is in the kernel whole"
        model = settle(folder, said)
        between += model.count > said.count

        lab.start("pe1", lab.program("pe1", "pe"))
        with connect(socket_of(lab), timeout=60.0) as client:
            assert in_node(client.segment, model.count) == model
        wanted = ports(model)
        assert until(lambda held=wanted: in_kernel() in held, 30.0), in_kernel()  # type: ignore[misc]
        check_audit(folder, answered)
    print(f"{ROUNDS} kills, {answered} changes answered, {between} more were kept unanswered")
    assert answered > 3 * ROUNDS
