"""The core path breaks under routes: they stay in the kernel and follow the underlay.

::

    ce-red-1 ── pe1 ══ p0, p1 ══ pe2 ── ce-red-2

Two ways from PE to PE, each through a P of its own; the main table prefers p0 by its metric.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import partial

import pytest

from labs.checks.node import established, show
from labs.checks.reach import PATIENCE, near
from labs.lab import RunningLab, running
from labs.parts import access_link, loopback, static_ce
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node
from labs.waiting import until

MANY = 300
"""Routes of each family that pe2 has beside those of its site."""

NUMBERS = range(MANY)
WAYS = (0, 1)
INTERVAL = 0.01
OUTAGE_SECONDS = 2.0
"""Measured: 10 to 40 ms. A busy machine may stop everything for longer than that."""


def yaml(here: int, there: int) -> str:
    extra = [f"{{prefix: 10.{100 + n // 256}.{n % 256}.0/24, blackhole: true}}" for n in NUMBERS]
    extra += [f'{{prefix: "2001:db8:9:{n:x}::/64", blackhole: true}}' for n in NUMBERS]
    more = "".join(f"      - {line}\n" for line in extra) if here == 2 else ""
    return f"""\
router-id: {loopback(here)}
asn: 65000
loopback: {loopback(here)}
core-ports: {{core0: {{}}, core1: {{}}}}
peers:
  {loopback(there)}: {{hold-time: 90}}
vrfs:
  red:
    rd: 65000:{here}
    route-target: 65000:100
    ports:
      ce-red:
        addresses: [192.168.{here}.1/30, "2001:db8:f{here}::1/64"]
    static-routes:
      - {{prefix: 10.{here}.0.0/24, via: 192.168.{here}.2}}
      - {{prefix: "2001:db8:{here}::/64", via: "2001:db8:f{here}::2"}}
{more}"""


def way(here: int, number: int) -> tuple[str, ...]:
    """The route to the other PE over one of the two ways, the first preferred."""
    there = 3 - here
    return (
        *("ip", "route", "replace", f"{loopback(there)}/32", "encap", "mpls", f"10{there}"),
        *("via", f"10.2{number}.{here}.2", "dev", f"core{number}"),
        *("metric", str(10 + 10 * number), "src", loopback(here)),
    )


def edge(here: int) -> Node:
    setup = tuple(way(here, number) for number in WAYS)
    program = pe(yaml(here, 3 - here))
    return Node(f"pe{here}", "pe", (f"{loopback(here)}/32",), {}, setup, (program,))


def transit(number: int) -> Node:
    labels = {f"net.mpls.conf.pe{n}.input": "1" for n in (1, 2)}
    setup = tuple(
        command
        for n in (1, 2)
        for to in (("via", "inet", f"10.2{number}.{n}.1", "dev", f"pe{n}"),)
        for command in (
            ("ip", "-f", "mpls", "route", "replace", f"10{n}", *to),
            ("ip", "route", "replace", f"{loopback(n)}/32", *to[:1], *to[2:]),
        )
    )
    sysctls = {"net.ipv4.ip_forward": "1", "net.mpls.platform_labels": "1000", **labels}
    return Node(f"p{number}", "p", (), sysctls, setup)


LAB = Lab(
    name="two_ways",
    title="two ways through the core",
    nodes=(
        *map(transit, WAYS),
        *(static_ce("red", n) for n in (1, 2)),
        *map(edge, (1, 2)),
    ),
    links=(
        *(
            Link(
                End(f"pe{n}", f"core{number}", (f"10.2{number}.{n}.1/30",)),
                End(f"p{number}", f"pe{n}", (f"10.2{number}.{n}.2/30",)),
            )
            for number in WAYS
            for n in (1, 2)
        ),
        *(access_link("red", n) for n in (1, 2)),
    ),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        assert until(partial(established, up, "pe1", 1), PATIENCE)
        assert until(lambda: routes_over(up, "core0") == 2 * MANY + 2, PATIENCE), told(up)
        yield up


def table(lab: RunningLab) -> str:
    return str(show(lab, "pe1", "vrfs")[0]["table"])


def routes_over(lab: RunningLab, port: str) -> int:
    """How many of red's routes at pe1 have this port for their first member, both families."""
    number, count = table(lab), 0
    groups = lab.run("pe1", "ip", "nexthop").stdout
    members = {i for i, dev in re.findall(r"^id (\d+) .*dev (\S+)", groups, re.M) if dev == port}
    firsts = re.findall(r"^id (\d+) group (\d+)", groups, re.M)
    over = {group for group, first in firsts if first in members}
    for family in ("-4", "-6"):
        routes = lab.run("pe1", "ip", family, "route", "show", "table", number).stdout
        count += sum(identifier in over for identifier in re.findall(r" nhid (\d+)", routes))
    return count


def written(lab: RunningLab) -> int:
    counters = {counter["name"]: counter["value"] for counter in show(lab, "pe1", "counters")}
    return int(counters["kernel_routes_written"])


def told(lab: RunningLab) -> str:
    nexthops = lab.run("pe1", "ip", "nexthop").stdout
    main = lab.run("pe1", "ip", "route").stdout
    return f"{nexthops}\n{main}\n{lab.log('pe1', 'pe')[-3000:]}"


def set_way(lab: RunningLab, number: int, state: str) -> None:
    """Cut a way at both its ends, or mend it: the PEs see their carrier go and come."""
    words = "".join(f"link set dev pe{n} {state}\n" for n in (1, 2))
    lab.run(f"p{number}", "ip", "-batch", "-", stdin=words)


def mend(lab: RunningLab, number: int) -> None:
    """The link, and the routes that went with the port of a P (those of the PEs, which only lost
    their carrier, the kernel has kept)."""
    set_way(lab, number, "up")
    lab.run(f"p{number}", "sh", "-ec", "\n".join(map(" ".join, transit(number).setup)))


class Flows:
    """Pings of both families from site to site, one every 10 ms, while something happens."""

    def __init__(self, lab: RunningLab) -> None:
        self._flows: list[subprocess.Popen[str]] = []
        for address in ("10.2.0.1", "2001:db8:2::1"):
            source = ("-I", near(address, 1))
            ping = ("ping", "-n", "-i", str(INTERVAL), "-w", "300", *source, address)
            self._flows.append(lab.popen("ce-red-1", *ping))
        for flow in self._flows:
            assert flow.stdout is not None
            while "time=" not in (line := flow.stdout.readline()):
                assert line, "no answer"

    def outage(self) -> float:
        """End them; for how many seconds there was no answer, of the family that lost more."""
        lost = 0
        for flow in self._flows:
            flow.send_signal(2)
            text = flow.communicate(timeout=30)[0]
            sent, got = map(int, re.findall(r"(\d+) packets transmitted, (\d+) received", text)[0])
            lost = max(lost, sent - got - 1)
        return lost * INTERVAL


def test_a_way_that_breaks_moves_every_route_without_writing_one(lab: RunningLab) -> None:
    before, flows = written(lab), Flows(lab)
    set_way(lab, 0, "down")
    assert until(lambda: routes_over(lab, "core1") == 2 * MANY + 2, PATIENCE), told(lab)
    answered = lab.run("ce-red-1", "ping", "-c", "3", "-I", "10.1.0.1", "10.2.0.1")
    outage = flows.outage()
    print(f"no answer for {outage:.2f} s")
    assert " 0% packet loss" in answered.stdout
    assert outage < OUTAGE_SECONDS, told(lab)
    assert written(lab) == before
    # The control: the kernel did take next hops away.
    assert "next_hops_lost" in lab.log("pe1", "pe")


def test_the_better_way_is_taken_again_without_a_loss(lab: RunningLab) -> None:
    before, flows = written(lab), Flows(lab)
    mend(lab, 0)
    assert until(lambda: routes_over(lab, "core0") == 2 * MANY + 2, PATIENCE), told(lab)
    assert flows.outage() < OUTAGE_SECONDS
    assert written(lab) == before


def test_without_any_way_routes_are_inactive_and_come_back(lab: RunningLab) -> None:
    set_way(lab, 0, "down")
    set_way(lab, 1, "down")
    number = table(lab)

    def left() -> int:
        families = (lab.run("pe1", "ip", f, "route", "show", "table", number) for f in ("-4", "-6"))
        return sum(text.stdout.count(" nhid ") for text in families)

    assert until(lambda: left() == 2, PATIENCE), told(lab)  # its own site's
    refused = lab.run("ce-red-1", "ping", "-c1", "-W2", "-I", "10.1.0.1", "10.2.0.1", check=False)
    assert "Unreachable" in refused.stdout, refused.stdout  # the last resort answers
    mend(lab, 1)
    assert until(lambda: routes_over(lab, "core1") == 2 * MANY + 2, PATIENCE), told(lab)
    mend(lab, 0)
    assert until(lambda: routes_over(lab, "core0") == 2 * MANY + 2, PATIENCE), told(lab)
