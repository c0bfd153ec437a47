"""Test CPP: control-plane policing, by class and by port (RFC 6192)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from labs.attack import bgp, ip, link, plan
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Net, circuit
from labs.attack.port import Port, token
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.trial import COPIES, Attack, arrives

RED, BLUE, NEAR = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
both = pytest.mark.parametrize("version", [4, 6])
TTL = ip.Header(ttl=255)
BGP_PER_SECOND, BGP_BURST = 2000, 1000
OTHER_PER_SECOND, OTHER_BURST = 100, 100


def statistic(name: str, node: str = "pe1") -> int:
    """Return a counter of a node's IP stack since boot."""
    for line in run_in(node, "nstat", "-asz", name).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise KeyError(name)


def syns(version: int, count: int) -> Iterator[bytes]:
    """Unsigned SYNs of red's own neighbour address, each from another port."""
    source, target = plan.ce(1, version), plan.gateway(1, version)
    syn = ip.tcp(source, target, 179, header=TTL)
    sport, _ = ip.ports_at(source)
    ports = (1024 + number % 60000 for number in range(count))
    yield from map(RED.frame, ip.varied(syn, sport, ports, ip.sum_at(source, ip.TCP)))


def blue_session() -> bgp.Session:
    """Return a session of blue's CE that dies of three silent seconds."""
    greeting = bgp.Greeting(plan.CE_AS["blue"], hold_time=3)
    return bgp.establish("ce-blue-1", plan.ce(1, 4), plan.gateway(1, 4), greeting,
                         md5=plan.KEYS["blue"])  # fmt: skip


@both
def test_cpp_01_one_ces_flood_leaves_the_others_sessions_alone(net: Net, version: int) -> None:
    """Red floods port 179; blue's keepalives go on, and blue can open a session meanwhile."""
    counted, others = net.dropped("ce-red-1", "CPP-1"), net.dropped("ce-blue-1", "CPP-1")
    frames = list(syns(version, 20000))
    started, sent = time.monotonic(), 0
    with blue_session() as session:
        while time.monotonic() < started + 5.0:
            sent += RED.ce.flood(frames)
            session.send(bgp.message(bgp.KEEPALIVE))
            session.listen(0.05)
        assert session.alive, session.notification
        assert len(session.bodies(bgp.KEEPALIVE)) >= 4, "keepalives of the PE came all the time"
        RED.ce.flood(frames)
    RED.ce.flood(frames)
    with blue_session() as again:
        assert again.alive
    took = time.monotonic() - started
    passed = sent + 2 * len(frames) - (net.dropped("ce-red-1", "CPP-1") - counted)
    assert passed <= BGP_BURST + BGP_PER_SECOND * (took + 1)
    assert net.dropped("ce-blue-1", "CPP-1") == others


def test_cpp_01_control_without_the_ration(net: Net) -> None:
    """The same SYNs all come up to the socket where nothing counts them."""
    frames = list(syns(4, 10000))

    def came_up() -> int:
        before = statistic("TcpExtTCPMD5NotFound")
        RED.ce.flood(frames)
        net.sentinel(RED)
        return statistic("TcpExtTCPMD5NotFound") - before

    with Switch(net).off(Guard.EDGE):
        assert came_up() > 9000, "control"
    assert came_up() <= BGP_BURST + BGP_PER_SECOND


NUMBERS = range(5000)
FOUR, SIX = (plan.ce(1, 4), plan.gateway(1, 4)), (plan.ce(1, 6), plan.gateway(1, 6))
CLASSES = {
    "ping": lambda: ip.varied(ip.echo(*FOUR, b"x"), 26, NUMBERS, 22),
    "udp": lambda: ip.varied(ip.udp(*FOUR, 1, b"x"), 22, NUMBERS, 26),
    "ping-6": lambda: ip.varied(ip.echo(*SIX, b"x"), 46, NUMBERS, 42),
    "esp": lambda: ip.varied(ip.packet(*FOUR, ip.ESP, bytes(8)), 26, NUMBERS),
}
"""Floods whose packets differ in sequence number, port, or SPI."""


@pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
def test_cpp_01_every_class_has_its_ration(net: Net, make: object) -> None:
    before = net.dropped("ce-red-1", "CPP-1")
    flood = [RED.frame(packet) for packet in make()]  # type: ignore[operator]
    started = time.monotonic()
    RED.ce.flood(flood)
    net.sentinel(RED)
    allowed = OTHER_BURST + OTHER_PER_SECOND * (time.monotonic() - started + 1)
    assert until(lambda: net.dropped("ce-red-1", "CPP-1") - before >= 5000 - allowed, 2.0)


@pytest.mark.parametrize("kind", ["arp", "nd"])
def test_cpp_01_questions_of_the_link(net: Net, kind: str) -> None:
    """Rate-limit ARP and neighbour discovery too; a legitimate request still gets through."""
    if kind == "arp":
        question = link.ethernet(link.BROADCAST, RED.ce.mac, link.ARP,
                                 link.arp(1, RED.ce.mac, "192.168.1.2", "192.168.1.1"))  # fmt: skip
    else:
        question = link.solicitation(RED.ce.mac, plan.ce(1, 6), plan.gateway(1, 6))
    before = net.dropped("ce-red-1", "CPP-1")
    RED.ce.flood([question] * 5000)
    net.sentinel(RED)
    assert until(lambda: net.dropped("ce-red-1", "CPP-1") - before > 4000, 2.0)

    def answered() -> bool:
        with RED.ce.tap() as tap:
            RED.ce.send(question)
            net.sentinel(RED)
            found = tap.frames()
            return bool(link.arp_answers(found, "192.168.1.1")
                        or link.advertisements(found, plan.gateway(1, 6)))  # fmt: skip

    assert until(answered, 3.0)


def pieces(version: int, mark: bytes) -> list[bytes]:
    """Return a datagram to the PE in three fragments."""
    whole = ip.udp(plan.ce(1, version), plan.gateway(1, version), PROBE_PORT, mark * 20)
    return [RED.frame(p) for p in ip.fragments(whole, 96, int(mark[-5:]))]


def reassembled(version: int) -> int:
    """How many fragments pe1 has tried to put together."""
    return statistic("IpReasmReqds" if version == 4 else "Ip6ReasmReqds")


@both
def test_cpp_02_fragments_are_not_put_together(net: Net, version: int) -> None:
    """Drop fragments at the port, so that no CE can fill the reassembly memory (RFC 6192 3.1)."""
    with Switch(net).off(Guard.EDGE, Guard.INPUT):
        before = reassembled(version)
        for _ in range(3):
            RED.ce.send(*pieces(version, token()))
        net.sentinel(RED)
        assert reassembled(version) >= before + 3, "control: the kernel takes them up"
    counted = net.dropped("ce-red-1", "CPP-2")
    before = reassembled(version)
    for _ in range(COPIES):
        RED.ce.send(*pieces(version, token()))
    net.sentinel(RED)
    # Something else may be put together meanwhile; every piece is counted below.
    assert reassembled(version) < before + COPIES
    assert until(lambda: net.dropped("ce-red-1", "CPP-2") >= counted + 3 * COPIES, 2.0)
    for _ in range(COPIES):  # from a sender on this machine, in memory that filters overlook
        RED.ce.flood(pieces(version, token()), scattered=True)
    net.sentinel(RED)
    assert until(lambda: net.dropped("ce-red-1", "CPP-2") >= counted + 6 * COPIES, 2.0)


ENDS_HERE = {
    4: (plan.gateway(1, 4), "192.168.1.3", "192.168.1.0", "224.0.0.1", "255.255.255.255"),
    6: (plan.gateway(1, 6), "2001:db8:f1::", "ff02::1"),
}
"""On the link of ce-red-1: unicast, broadcast, subnet-router anycast, multicast."""
CORE = Port("pe1", "core0")


def first_piece(source: str, target: str, version: int) -> bytes:
    whole = ip.udp(source, target, PROBE_PORT, token() * 20)
    return ip.fragments(whole, 96, int(token()[-5:]))[0]


@both
def test_cpp_07_nothing_to_the_pe_is_put_together(net: Net, version: int) -> None:
    """A CE sends first fragments to every address of its link that is the PE's too."""

    def grown() -> int:
        before = reassembled(version)
        for target in ENDS_HERE[version]:
            RED.ce.send(RED.frame(first_piece(plan.ce(1, version), target, version)))
        net.sentinel(RED)
        return reassembled(version) - before

    with Switch(net).off(Guard.EDGE, Guard.INPUT):
        assert grown() >= 2, "control"
    counted = net.dropped("ce-red-1")
    assert grown() == 0
    assert until(lambda: net.dropped("ce-red-1") - counted >= len(ENDS_HERE[version]), 2.0)


@pytest.mark.parametrize("target", ["192.168.1.3", "2001:db8:f1::"])
def test_cpp_07_broadcast_and_anycast_are_rationed(net: Net, target: str) -> None:
    version = ip.version(target)
    before = net.dropped("ce-red-1", "CPP-1")
    packet = ip.udp(plan.ce(1, version), target, PROBE_PORT, b"x" * 18)
    started = time.monotonic()
    RED.ce.flood([RED.frame(packet)] * 5000)
    net.sentinel(RED)
    allowed = OTHER_BURST + OTHER_PER_SECOND * (time.monotonic() - started + 1)
    assert until(lambda: net.dropped("ce-red-1", "CPP-1") - before >= 5000 - allowed, 2.0)


@both
def test_cpp_07_nor_from_a_remote_site(net: Net, version: int) -> None:
    """The same under the VPN's label, as a remote PE passes it on."""
    label = net.label("red")

    def grown() -> int:
        before = reassembled(version)
        for target in ENDS_HERE[version]:
            piece = first_piece(plan.lan(2, version), target, version)
            under = link.labelled([label], piece)
            net.p.send(link.ethernet(CORE.mac, net.p.mac, link.MPLS, under))
        net.sentinel(RED)
        return reassembled(version) - before

    with Switch(net).off(Guard.INPUT):
        assert grown() >= 1, "control"
    counted = net.dropped(requirement="CPP-7")
    assert grown() == 0
    assert net.dropped(requirement="CPP-7") > counted


def test_cpp_03_counters_by_class_and_port(net: Net) -> None:
    """What was dropped can be seen, with the requirement that it kept and the port it came on."""
    guards = net.pe1.show_guards()
    ports = {port.name for port in net.pe1.show_ports() if port.vrf}
    for requirement in ("CPP-1", "CPP-2", "LBL-6", "SPF-1", "SPF-2", "HIDE-4", "ACL-6"):
        counted = {guard.port for guard in guards if guard.requirement == requirement}
        assert ports - counted <= {"inet"}, requirement  # any source is right there
    for port in ports:
        classes = {g.traffic_class for g in guards if (g.requirement, g.port) == ("CPP-1", port)}
        assert classes == {"arp", "bgp", "nd", "other"}, port
    kept = {guard.requirement for guard in guards}
    assert kept >= {"ACL-1", "BGP-3", "FAIL-1", "HIDE-2", "HIDE-7", "LBL-7", "LBL-9", "ISO-12"}


def test_cpp_04_errors_for_one_vpn_while_another_asks_for_many(net: Net) -> None:
    """Cause thousands of ICMP errors in red; blue still receives its packet-too-big error."""
    flood = [RED.frame(ip.udp(plan.lan(1, 4), plan.lan(2, 4), PROBE_PORT, b"x", ip.Header(ttl=1)))]
    big = 1500 - 28
    told = 0
    with BLUE.ce.tap() as tap:
        for _ in range(20):
            mark = token()
            RED.ce.flood(flood * 500)
            packet = ip.udp(plan.lan(1, 4), plan.lan(2, 4), PROBE_PORT, mark.ljust(big, b"."),
                            ip.Header(dont_fragment=True))  # fmt: skip
            BLUE.ce.send(BLUE.frame(packet))
            told += bool(tap.wait(mark, 1.0))
    assert told == 20


def _from_ports(source: str, target: str, ports: range) -> Iterator[bytes]:
    packet = ip.tcp(source, target, 80)
    return ip.varied(packet, ip.ports_at(source)[0], ports, ip.sum_at(source, ip.TCP))


@both
def test_cpp_05_a_dropped_flood_leaves_no_trace(net: Net, version: int) -> None:
    """No connection is tracked for what is dropped, at the port or at the PE's own door."""
    target = plan.lan(2, version)
    spoof = "10.5.0.{}" if version == 4 else "2001:db8:5::{}"
    dropped = [
        RED.frame(packet)
        for n in range(200)
        for packet in _from_ports(spoof.format(1 + n), target, range(1024 + n, 4024, 200))
    ]

    def growth(frames: list[bytes]) -> int:
        before = tracked()
        RED.ce.flood(frames)
        net.sentinel(RED)
        return tracked() - before

    assert growth(dropped) <= 2
    assert growth(list(syns(version, 3000))) <= 2
    run_in("pe1", "conntrack", "-F", check=False)
    honest = [RED.frame(ip.udp(plan.lan(1, version), target, 4000 + n, b"x")) for n in range(100)]
    assert growth(honest) >= 90, "control: what passes is tracked"


def tracked() -> int:
    """How many connections pe1 holds."""
    return int(run_in("pe1", "cat", "/proc/sys/net/netfilter/nf_conntrack_count"))


def test_cpp_06_sessions_outlive_a_node_that_does_nothing(net: Net) -> None:
    """The node stands still for longer than a hold time: sessions are kept by other processes."""
    with blue_session() as session:
        with Switch(net).stopped():
            deadline = time.monotonic() + 6.0
            while time.monotonic() < deadline:
                session.send(bgp.message(bgp.KEEPALIVE))
                session.listen(0.5)
        assert session.alive, session.notification
        assert len(session.bodies(bgp.KEEPALIVE)) >= 4


def test_cpp_05_the_sites_traffic_is_not_rationed(net: Net) -> None:
    """The limits are for the PE's own addresses: what is passed on knows none."""
    mark = token()
    frames = [RED.frame(ip.udp(plan.lan(1, 4), plan.lan(3, 4), PROBE_PORT, mark, sport=7))] * 3000
    with NEAR.ce.tap() as tap:
        RED.ce.flood(frames)
        assert tap.wait(mark, 5.0, most=3000) == 3000
    assert arrives(net, Attack(RED.ce, lambda m: [RED.frame(ip.udp(
        plan.lan(1, 4), plan.lan(3, 4), PROBE_PORT, m))], NEAR.ce, RED))  # fmt: skip
