"""Test ISO-15: what entered by a VRF leaves by a port of that VRF or with a label, even
where the routing tables hold another way by then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import pytest

from labs.attack import ip, link, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Circuit, Net, circuit
from labs.attack.port import Port, token
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard

RED, FAR = circuit("red", 1), circuit("red", 2)
BLUE, BLUE_NEAR = circuit("blue", 1), circuit("blue", 3)
COPIES = 20
RULE = ("rule", "add", "pref", "500")
both = pytest.mark.parametrize("version", [4, 6])


Tables = Mapping[str, int]
Meddle = Callable[[Tables, str], contextlib.AbstractContextManager[None]]
"""From each VRF's table and the family of addresses; undone by the node, or at the end."""


def tables(net: Net) -> Tables:
    """Return the table of each VRF; for a node that runs."""
    return {vrf.name: vrf.table for vrf in net.pe1.show_vrfs()}


@contextlib.contextmanager
def flushed(of: Tables, family: str) -> Iterator[None]:
    """Without the routes of red and the last resort behind them."""
    run_in("pe1", "ip", family, "route", "flush", "table", str(of["red"]), "proto", "198")
    yield


@contextlib.contextmanager
def no_vrf_rule(_: Tables, family: str) -> Iterator[None]:
    run_in("pe1", "ip", family, "rule", "del", "pref", "1000")
    yield


def ruled(*words: str) -> Meddle:
    """Return a rule of another program in front of the node's; ``{blue}`` is blue's table."""

    @contextlib.contextmanager
    def meddled(of: Tables, family: str) -> Iterator[None]:
        filled = [word.format_map(of) for word in words]
        source = plan.lan(RED.site, int(family[1:]))
        run_in("pe1", "ip", family, *RULE, "from", source, *filled)
        try:
            yield
        finally:
            run_in("pe1", "ip", family, "rule", "del", "pref", "500", check=False)

    return meddled


MEDDLERS: dict[str, tuple[Meddle, Port]] = {
    "table-flushed": (flushed, Port("p", "pe1")),
    "l3mdev-rule-deleted": (no_vrf_rule, Port("p", "pe1")),
    "rule-to-main": (ruled("lookup", "main"), Port("p", "pe1")),
    "rule-to-another-vrf": (ruled("lookup", "{blue}"), BLUE_NEAR.ce),
}


def strays(origin: Circuit, victim: Port, target: str, version: int) -> int:
    """How many of a site's packets arrive at a port that is none of its VPN's without a label."""
    ping_p(version)  # the neighbour of a core port is known
    mark = token()
    packet = ip.udp(plan.lan(origin.site, version), target, PROBE_PORT, mark)
    with victim.tap() as tap:
        for _ in range(COPIES):
            origin.ce.send(origin.frame(packet))
        ping_p(version)  # what was sent before is through by now
        kinds = {frame[12:14] for frame in tap.frames() if mark in frame}
        return tap.count(mark) if kinds - {link.MPLS.to_bytes(2, "big")} else 0


def ping_p(version: int) -> None:
    """One echo of the node's own, over its core port and back."""
    target = "10.0.1.2" if version == 4 else "2001:db8:c1::2"
    run_in("pe1", "ping", "-c", "1", "-W", "5", target)


@both
@pytest.mark.parametrize("kind", MEDDLERS)
def test_iso_15_the_tables_are_changed(net: Net, kind: str, version: int) -> None:
    """Change what decides on the way of red's packets while they come: no one gets out of red."""
    meddle, victim = MEDDLERS[kind]
    of, family = tables(net), f"-{version}"
    near = victim == BLUE_NEAR.ce
    target = plan.lan(3 if near else 2, version)
    assert net.passes(RED, FAR, version), "before"
    assert not near or net.passes(BLUE, BLUE_NEAR, version), "blue's neighbour is known"
    with Switch(net).off(Guard.WAYS_OUT), meddle(of, family):
        assert strays(RED, victim, target, version), "control"
    assert until(lambda: net.passes(RED, FAR, version, tries=1), 30.0), "between"
    before = net.dropped(requirement="ISO-15")
    with Switch(net).stopped(), meddle(of, family):
        assert strays(RED, victim, target, version) == 0
    assert net.dropped(requirement="ISO-15") > before
    assert until(lambda: net.passes(RED, FAR, version, tries=1), 30.0), "after"


@both
def test_iso_15_a_miss_without_the_last_resort(net: Net, version: int) -> None:
    target = "8.8.8.8" if version == 4 else "2001:4860:4860::8888"
    with Switch(net).off(Guard.WAYS_OUT, Guard.LAST_RESORT):
        assert strays(RED, net.p, target, version), "control"
    before = net.dropped(requirement="ISO-15")
    with Switch(net).off(Guard.LAST_RESORT):
        assert strays(RED, net.p, target, version) == 0
        assert net.passes(RED, FAR, version), "with a label they go on"
    assert net.dropped(requirement="ISO-15") - before >= COPIES


@both
def test_iso_15_from_a_remote_site(net: Net, version: int) -> None:
    """What came under the VPN's label does not go back into the core without one."""
    of, family, target = tables(net), f"-{version}", plan.lan(1, version)
    with Switch(net).off(Guard.WAYS_OUT), flushed(of, family):
        assert strays(FAR, net.p, target, version), "control"
    assert until(lambda: net.passes(FAR, RED, version, tries=1), 30.0), "between"
    with Switch(net).stopped(), flushed(of, family):
        assert strays(FAR, net.p, target, version) == 0
    assert until(lambda: net.passes(FAR, RED, version, tries=1), 30.0), "after"
