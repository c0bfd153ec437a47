"""The log groups of new flows belong to the machine: other rules log into them, and another
process may have them. The node starts, judges, and says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controlplane.model.verdict import LOG_BIT
from controlplane.model.verdict_tables import Slot
from pe.observe.log_entry import FLOW_GROUP, STAGED_GROUP
from tests.lab.agents import inside, until
from tests.lab.policy_node import NodeProcess, World
from tests.lab.policy_traffic import ALLOWED, DENIED, RULES, Sender, started, tables

pytestmark = pytest.mark.lab

# As ulogd does it: binds a group, and holds it until its end.
OWNER = """
import struct, sys
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
owner = nl.NetlinkSocket(NETLINK_NETFILTER)
group = int(sys.argv[1])
bind = struct.pack(">BBH", 0, 0, group) + nl.attribute(1, bytes((1,)))
owner.request(4 << 8 | 1, 0, bind)
print("bound", flush=True)
sys.stdin.read()
"""


@contextmanager
def owned(group: int) -> Iterator[subprocess.Popen[str]]:
    """Another process of the node's namespace has the group."""
    command = ["ip", "netns", "exec", "pe", sys.executable, "-c", OWNER, str(group)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "bound\n"
            yield owner
        finally:
            owner.kill()


@contextmanager
def foreign_rule(prefix: str, group: int) -> Iterator[None]:
    """A rule of another table logs every forwarded packet into our group."""
    for line in (
        "add table inet foreign",
        "add chain inet foreign seen { type filter hook forward priority 300; }",
        f'add rule inet foreign seen log prefix "{prefix}" group {group}',
    ):
        inside("pe", f"nft '{line}'")
    try:
        yield
    finally:
        inside("pe", "nft delete table inet foreign")


def records(process: NodeProcess, count: int) -> tuple[list[int], int]:
    """Wait for records of so many flows; their ports, and how many flows were lost."""
    ports: list[int] = []
    lost = 0

    def enough() -> bool:
        nonlocal lost
        told, gone = process.call("flows")
        ports.extend(record.dport for record in told)
        lost += gone
        return len(ports) >= count

    assert until(enough), ports
    return ports, lost


LOGGING = RULES + f"  - log tier=web to tier=db on udp/{DENIED}\n"


def test_records_of_flows_that_a_log_rule_matched_are_marked(
    world: World, process: NodeProcess
) -> None:
    process.segment("submit", Slot.ENFORCED, tables(LOGGING))
    process.segment("settled")
    process.call("flows")
    sender = Sender(world)
    assert sender.passes(ALLOWED)
    assert not sender.passes(DENIED)
    told: dict[int, bool] = {}

    def both() -> bool:
        taken, _ = process.call("flows")
        told.update({r.dport: bool(r.enforced & LOG_BIT) for r in taken})
        return len(told) == 2

    assert until(both), told
    assert told == {ALLOWED: False, DENIED: True}


@pytest.mark.parametrize("prefix", ["dropped by hand: ", "", "10", "10+"])
@pytest.mark.parametrize("group", [FLOW_GROUP, STAGED_GROUP])
def test_a_foreign_rule_in_our_group_costs_no_flow_record(
    world: World, process: NodeProcess, prefix: str, group: int
) -> None:
    process.call("flows")
    before = process.call("flow_log")[2]
    sender = Sender(world)
    with foreign_rule(prefix, group):
        for number in range(20):
            assert sender.passes(ALLOWED, sport=2000 + number)
        ports, lost = records(process, 20)
        assert until(lambda: process.call("flow_log")[2] >= before + 20)
    assert (ports, lost) == ([ALLOWED] * 20, 0)
    problem, failures, _ = process.call("flow_log")
    assert (problem, failures) == ("", 0)


@pytest.mark.parametrize("group", [FLOW_GROUP, STAGED_GROUP])
def test_a_node_whose_group_has_another_owner_starts_judges_and_recovers(
    world: World, group: int
) -> None:
    with owned(group) as owner:
        process = started(tables(RULES))
        try:
            sender = Sender(world)
            assert sender.passes(ALLOWED)
            assert not sender.passes(DENIED)
            problem, failures, _ = process.call("flow_log")
            assert problem
            assert failures
            assert process.call("flows") == ([], 0)
            owner.kill()
            owner.wait()
            assert until(lambda: not process.call("flow_log")[0], 15.0)
            process.call("flows")
            assert sender.passes(ALLOWED, sport=3000 + group)
            assert records(process, 1) == ([ALLOWED], 0)
        finally:
            process.stop()
