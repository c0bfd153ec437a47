"""Kill -9 between two portions of a reload, on a real kernel: the next start leads where a start on
an empty machine does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from controlplane.model.intent import CorePortIntent, NodeIntent, VrfIntent
from controlplane.model.label import LabelBlock, LabelLedger
from tests.lab.agents import RouterProcess, founding_world, inside
from tests.lab.red_pe import red_node
from tests.unit.controlplane.rig import port, static, vrf

PORTS = ("p0", "p1", "p2", "p3", "p4")
DUMP = """\
for family in -4 -6; do ip $family route show table all; ip $family rule; done
ip -f mpls route; ip -br -d addr
grep -H . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/mpls/conf/*/input
nft -s list ruleset
"""


def _vrf(name: str, number: int, *ports: int, table: int = 0, **more: object) -> VrfIntent:
    made = tuple(port(PORTS[n], name, f"192.168.{n}.1/30", f"fd00:{n}::1/64") for n in ports)
    routes = tuple(static("10.9.0.0/16", f"192.168.{n}.2") for n in ports[:1])
    return vrf(name, number, ports=made, static_routes=routes, table=table, **more)


def _node(*vrfs: VrfIntent, core: tuple[str, ...] = (), **more: object) -> NodeIntent:
    ports = tuple(CorePortIntent(name=name) for name in ("core0", *core))
    return msgspec.structs.replace(red_node(), vrfs=vrfs, core_ports=ports, **more)


OLD = _node(
    _vrf("red", 1, 0, table=1001),
    _vrf("blue", 2, 1),
    _vrf("gone", 3, 2, table=1003),
    _vrf("hub", 4, 3),
    _vrf("lab", 5, 4, table=1005, conntrack_limit=50),
    label_hold_down=0,
)  # fmt: skip
NEW = _node(
    _vrf("red", 2, 1, table=1001, conntrack_limit=70),
    _vrf("blue", 1, 0, table=1004),
    _vrf("hub", 4),
    _vrf("lab", 6, 2, table=1005),
    _vrf("late", 7, 4, table=1006),
    core=("p3",), label_block=LabelBlock(16003, 16050), label_hold_down=0,
)  # fmt: skip
TURNS = 4


@pytest.fixture(scope="module")
def world() -> Iterator[None]:
    with founding_world():
        inside("pe1", "ip link set lo up")
        for name in PORTS:
            inside("pe1", f"ip link add {name} type veth peer name {name}e")
            inside("pe1", f"ip link set {name}e up")
        yield


def _dump() -> Counter[str]:
    text = inside("pe1", f"sh -c '{DUMP}'")
    text = re.sub(r"elements = \{[^}]*\}", lambda m: " ".join(sorted(m[0].split())), text)
    text = re.sub(r"nhid \d+ |@\S+|ct mark .*| proto kernel metric 256", "", text)
    text = re.sub(r" fe80:\S*", "", text)
    return Counter(
        line for line in map(str.strip, text.splitlines()) if line and "fe80" not in line
    )


def _start(ledger: object, intent: NodeIntent) -> RouterProcess:
    pe = RouterProcess("pe1", check_seconds=3600, ledger=ledger)
    pe.call("configure", intent)
    pe.call("mark_in_sync")
    pe.call("settled")
    return pe


@pytest.fixture(scope="module")
def fresh(world: None) -> Counter[str]:
    """What a start on an empty machine leads to, with the labels that the reload has given out."""
    del world
    pe = _start(None, OLD)
    pe.call("take_portions", NEW, TURNS)
    ledger = pe.call("ledger")
    pe.call("teardown")
    pe.stop()
    return _started(ledger)


def _started(ledger: LabelLedger) -> Counter[str]:
    """Start with the new configuration; return what the kernel holds then, and clean up."""
    pe = _start(ledger, NEW)
    try:
        found = _dump()
        pe.call("teardown")
        return found
    finally:
        pe.stop()


@pytest.mark.parametrize(
    ("turns", "is_settled"), [*((n, False) for n in range(1, TURNS + 1)), (2, True)]
)
def test_the_next_start_leads_where_one_on_an_empty_machine_does(
    fresh: Counter[str], turns: int, is_settled: bool
) -> None:
    pe = _start(None, OLD)
    try:
        left = pe.call("take_portions", NEW, turns)
        assert left == (turns < TURNS), "the reload has other portions"
        if is_settled:
            pe.call("settled")
        ledger = pe.call("ledger")
    finally:
        pe.kill()
    found = _started(ledger)
    assert found == fresh, (found - fresh, fresh - found)
