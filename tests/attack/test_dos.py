"""DOS: one VPN's harm stays its own. Red floods, blue stays within the bound that a test states."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labs.attack import ip, link, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Net, circuit
from labs.attack.port import Port, token
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.connections import flows, tracked

RED, BLUE, NEAR = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
INTERNET, INTERNET_PE = Port("internet", "eth0"), Port("pe1", "inet")
both = pytest.mark.parametrize("version", [4, 6])


@contextlib.contextmanager
def most_connections(count: int) -> Iterator[None]:
    """The machine's bound on tracked connections, which all namespaces share."""
    file = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    before = file.read_text()
    file.write_text(str(count))
    try:
        yield
    finally:
        file.write_text(before)


def blue_successes(version: int, count: int = 20) -> int:
    """How many of blue's new flows get to its other site."""
    first = 30000 + int(token()[-4:])
    target = circuit("blue", 2)
    mark = token()
    source, to = plan.lan(1, version), plan.lan(2, version)
    with target.ce.tap() as tap:
        for n in range(count):
            BLUE.ce.send(BLUE.frame(ip.udp(source, to, first + n, mark, sport=first + n)))
        return tap.wait(mark, 1.0, most=count)


@both
def test_dos_01_connections(net: Net, version: int) -> None:
    """Red opens ten times its limit; of blue's 20 new flows 19 at least pass (95 %)."""
    run_in("pe1", "conntrack", "-F", check=False)
    with most_connections(plan.CONNTRACK_LIMIT + 150):
        with Switch(net).off(Guard.LIMITS):
            RED.ce.flood(flows(RED, version, 1000))
            time.sleep(0.05)
            assert blue_successes(version) <= 10, "control: red has taken the whole table"
        run_in("pe1", "conntrack", "-F", check=False)
        before = net.dropped("red", "DOS-1")
        RED.ce.flood(flows(RED, version, 10 * plan.CONNTRACK_LIMIT))
        assert blue_successes(version) >= 19
        zone = net.label("red")
        # Beside what red opens, the PE's own two calls to its neighbour are in the zone.
        assert tracked(zone) <= plan.CONNTRACK_LIMIT + 2
        assert net.dropped("red", "DOS-1") - before >= 9 * plan.CONNTRACK_LIMIT
    run_in("pe1", "conntrack", "-F", check=False)


def neighbours(port: str) -> int:
    """How many IPv6 entries of a port there are in pe1's neighbour table."""
    return run_in("pe1", "ip", "-6", "neigh", "show", "dev", port, "nud", "all").count("\n")


def scan(count: int, first: int) -> list[bytes]:
    """One packet to each of so many hosts that are not there, on the /64 of the Internet's port:
    its VRF counts no connections, which would bound a scan as well."""
    packet = ip.udp("2001:db8:99::1", "2001:db8:f9::0:0", PROBE_PORT, b"x")
    group = 24 + 12  # of the destination, the last but one
    hosts = ip.varied(packet, group, range(first, first + count), ip.sum_at("::", ip.UDP))
    return [link.ethernet(INTERNET_PE.mac, INTERNET.mac, link.IPV6, one) for one in hosts]


def test_dos_02_neighbours(net: Net) -> None:
    """One VPN scans 3000 addresses of its link: it gets 256 entries a minute, blue finds its CE."""
    before, held = net.dropped("inet", "DOS-2"), neighbours("inet")
    INTERNET.flood(scan(3000, 0x3000))
    net.sentinel(RED)
    # Two for each: the host, and the multicast group that it is asked for through.
    assert neighbours("inet") - held <= 2 * 256
    assert until(lambda: net.dropped("inet", "DOS-2") - before >= 2500, 2.0)
    for address in (plan.ce(1, 6), plan.ce(1, 4)):
        run_in("pe1", "ip", "neigh", "del", address, "dev", "ce-blue-1", check=False)
    assert net.passes(circuit("blue", 2), BLUE, 6), "blue's CE is found anew"
    assert net.passes(circuit("blue", 2), BLUE, 4)
    with Switch(net).off(Guard.ON_LINK):
        INTERNET.flood(scan(3000, 0x1000))
        net.sentinel(RED)
        assert neighbours("inet") > 900, "control: the scan fills the table for all"
    run_in("pe1", "ip", "-6", "neigh", "flush", "dev", "inet", "nud", "all", check=False)


FLOODS = {
    "labelled": lambda: link.ethernet(RED.pe.mac, RED.ce.mac, link.MPLS, bytes(46)),
    "spoofed": lambda: RED.frame(ip.udp("10.5.0.1", plan.lan(2, 4), 9, b"x" * 18)),
    "to-the-pe": lambda: RED.frame(ip.echo(plan.ce(1, 4), plan.gateway(1, 4), b"x" * 18)),
    "passed-on": lambda: RED.frame(ip.udp(plan.lan(1, 4), plan.lan(2, 4), 9, b"x" * 18)),
    "ttl-1": lambda: RED.frame(
        ip.udp(plan.lan(1, 4), plan.lan(2, 4), 9, b"x" * 18, ip.Header(ttl=1))),
    "unreachable": lambda: RED.frame(ip.udp(plan.lan(1, 4), "10.99.99.99", 9, b"x" * 18)),
}  # fmt: skip


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
def test_dos_06_small_packets(net: Net, make: object) -> None:
    """Send bursts of 64-byte frames of red between blue's packets: blue loses none of 50.

    The lab kernel is no measure of speed; perf/ measures the cost of a guard.
    """
    flood = [make()] * 400  # type: ignore[operator]
    target = circuit("blue", 2)
    mark = token()
    with target.ce.tap() as tap:
        for _ in range(50):
            RED.ce.flood(flood)
            BLUE.ce.send(net.legitimate(BLUE, target, 4, mark))
        assert tap.wait(mark, 3.0, most=50) == 50


@both
def test_dos_08_fragments(net: Net, version: int) -> None:
    """Red leaves 20,000 datagrams incomplete; blue's fragmented ones still arrive, all of 10.

    Of both, the pieces are passed on as they are; where a policy has to see whole datagrams, red
    can fill the memory that is one for all VRFs (docs/security.md).
    """
    source, target = plan.lan(1, version), plan.lan(2, version)
    whole = ip.udp(source, target, PROBE_PORT, b"x" * 240)
    first = ip.fragments(whole, 120, 0)[0]
    ident, sums = (4, (10,)) if version == 4 else (46, ())
    flood = [RED.frame(piece) for piece in ip.varied(first, ident, range(20000), *sums)]
    with Switch(net).off(Guard.LIMITS):
        RED.ce.flood(flood)
        assert fragmented(version) <= 5, "control: red has filled the memory"
    RED.ce.flood(flood)
    assert fragmented(version) == 10


def fragmented(version: int) -> int:
    """How many of ten datagrams of blue, each in pieces, get to its other site."""
    source, target = plan.lan(1, version), plan.lan(2, version)
    marks = [token() for _ in range(10)]
    with circuit("blue", 2).ce.tap() as tap:
        for number, mark in enumerate(marks):
            datagram = ip.udp(source, target, PROBE_PORT, mark.ljust(160, b".") * 3)
            for piece in ip.fragments(datagram, 160, 50000 + number):
                BLUE.ce.send(BLUE.frame(piece))
        return sum(bool(tap.wait(mark, 0.3)) for mark in marks)


RETRIED = "event=connect_failed"
"""The node tries sessions of neighbours again that earlier tests ended."""


def test_dos_09_nothing_is_logged_for_what_is_dropped(net: Net) -> None:
    """A flood writes no line, into the kernel's log or the node's."""
    place = net.lab.dir("pe1") / "pe.log"

    def lines() -> tuple[list[str], list[str]]:
        said = place.read_text().splitlines()
        said = [line for line in said if RETRIED not in line]
        return said, run_in("pe1", "dmesg").splitlines()

    def is_quiet() -> bool:
        """By then the repairs that earlier tests caused are logged."""
        known = lines()
        return not until(lambda: lines() != known, 1.0)

    assert until(is_quiet, 20.0)
    before = lines()
    for make in FLOODS.values():
        RED.ce.flood([make()] * 5000)  # type: ignore[no-untyped-call]
    net.sentinel(RED)
    after = lines()
    for was, found in zip(before, after, strict=True):
        assert len(found) <= len(was) + 2, found[len(was) :]
