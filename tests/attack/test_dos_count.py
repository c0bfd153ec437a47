"""Test DOS-1 over time: the limit of a VRF's connections holds while the rules that keep it are
loaded anew. A count that was the rule's own once began from zero each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labs.attack import plan
from labs.attack.inside import run_in
from labs.attack.net import Net, circuit
from labs.waiting import until
from tests.attack.connections import flows, tracked

RED, BLUE = circuit("red", 1), circuit("blue", 1)
LIMIT, SECONDS = plan.CONNTRACK_LIMIT, 10.0
MOST = LIMIT + 2
"""Beside what red opens, the PE's own two calls to its neighbour are in the zone."""

HOST = {4: "10.1.220.1/32", 6: "2001:db8:1::220:1/128"}
both = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def zone(net: Net) -> Iterator[int]:
    """Red's zone, in which nothing is tracked yet."""
    run_in("pe1", "conntrack", "-F", check=False)
    yield net.label("red")
    run_in("pe1", "conntrack", "-F", check=False)


def opens(net: Net, version: int, first: int) -> None:
    """Red opens more connections than its limit."""
    RED.ce.flood(flows(RED, version, LIMIT + 50, first))
    net.sentinel(BLUE)


def fills(net: Net, zone: int, version: int) -> bool:
    """Red opens connections up to its limit. The kernel takes what ended off a count a few at a
    time, with the next ones that come (nf_conncount_add): so it needs several tries."""
    firsts = iter(range(2000, 60000, 1000))

    def is_full() -> bool:
        opens(net, version, next(firsts))
        return tracked(zone) >= LIMIT - 2

    return until(is_full, SECONDS) and tracked(zone) <= MOST


def is_held(net: Net, zone: int, version: int) -> bool:
    """Red opens more, twice: its rules may be between two loads."""
    before = net.dropped("red", "DOS-1")
    for first in (60000, 61000):
        opens(net, version, first)
    assert net.dropped("red", "DOS-1") > before, "red's packets come to its limit"
    return LIMIT - 2 <= tracked(zone) <= MOST


@both
def test_dos_01_a_policy_comes_and_goes(net: Net, zone: int, version: int) -> None:
    assert fills(net, zone, version), "control"
    segment = net.pe1.segment
    segment.attach("counted", "red", "ce-red-1", [HOST[version]])
    try:
        assert until(lambda: "leak_red" in run_in("pe1", "nft", "list", "ruleset"), SECONDS)
        assert is_held(net, zone, version)
    finally:
        segment.detach("counted")


@both
def test_dos_01_the_node_starts_anew(net: Net, zone: int, version: int) -> None:
    assert fills(net, zone, version), "control"
    net.lab.restart("pe1", "pe", signal=9)
    net.reconnect()
    assert until(lambda: net.passes(circuit("blue", 2), BLUE, version, tries=1), 60.0)
    assert is_held(net, zone, version)


@both
def test_dos_01_the_rules_are_repaired(net: Net, zone: int, version: int) -> None:
    assert fills(net, zone, version), "control"
    run_in("pe1", "nft", "add", "rule", "inet", "bulkhead", "from_red", "continue")
    assert "continue" in of_red()
    assert until(lambda: "continue" not in of_red(), 30.0)
    assert is_held(net, zone, version)


def of_red() -> str:
    """Return the chain of what leaves red."""
    return run_in("pe1", "nft", "list", "chain", "inet", "bulkhead", "from_red")
