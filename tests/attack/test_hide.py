"""HIDE: a customer sees neither the core nor anybody else's links (RFC 4381 2.2, 3.2)."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest

from labs.attack import bgp, ip, link, plan
from labs.attack.inside import sysctl
from labs.attack.net import PROBE_PORT, Net, circuit, watching
from labs.attack.port import Port, token
from labs.attack.switch import Switch
from labs.packets import labels_of
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.trial import Attack, arrives, control, held

RED, NEAR, FAR = circuit("red", 1), circuit("red", 3), circuit("red", 2)
CORE = Port("pe1", "core0")
LAN, LAN_B, LAN_PE = Port("lan-a", "eth0"), Port("lan-b", "eth0"), Port("pe1", "br-red")
both = pytest.mark.parametrize("version", [4, 6])
OWN_PORTS = {4: "192.168.1.1", 6: "2001:db8:f1::1"}


def said_by(frame: bytes) -> str:
    """Return the source of an IP packet."""
    if frame[12:14] == b"\x08\x00":
        return socket.inet_ntop(socket.AF_INET, frame[26:30])
    return socket.inet_ntop(socket.AF_INET6, frame[22:38])


def icmp(frame: bytes) -> tuple[int, int] | None:
    """Type and code, None if the frame is no ICMP."""
    if frame[12:14] == b"\x08\x00" and frame[23] == ip.ICMP:
        return frame[34], frame[35]
    if frame[12:14] == b"\x86\xdd" and frame[20] == ip.ICMPV6:
        return frame[54], frame[55]
    return None


def asked(net: Net, packet: bytes, mark: bytes) -> list[bytes]:
    """Return the ICMP errors that a CE receives about a packet of its own."""
    with RED.ce.tap() as tap:
        RED.ce.send(RED.frame(packet))
        tap.wait(mark, 2.0)
        net.sentinel(RED)
        return [frame for frame in tap.frames() if mark in frame]


@both
def test_hide_01_traceroute_shows_no_hop_of_the_core(net: Net, version: int) -> None:
    """The ingress PE's own port, then what is behind the egress PE; nothing in between."""
    hops = {}
    for ttl in range(1, 6):
        mark = token()
        packet = ip.udp(plan.lan(1, version), plan.lan(2, version), 33434, mark,
                        ip.Header(ttl=ttl))  # fmt: skip
        hops[ttl] = {said_by(frame) for frame in asked(net, packet, mark)}
    assert hops[1] == {plan.gateway(1, version)}
    theirs = {plan.lan(2, version), plan.ce(2, version)}
    assert all(found <= theirs for ttl, found in hops.items() if ttl > 1), hops
    assert hops[3] <= theirs
    assert hops[3]


@both
@pytest.mark.parametrize("ttl", [3, 64, 255])
def test_hide_01_the_outer_ttl_reveals_nothing(net: Net, version: int, ttl: int) -> None:
    """Push labels with TTL 255, independent of the customer's TTL (pipe mode, RFC 3443)."""

    def outer() -> set[int]:
        mark = token()
        packet = ip.udp(plan.lan(1, version), plan.lan(2, version), PROBE_PORT, mark,
                        ip.Header(ttl=ttl))  # fmt: skip
        with net.p.tap() as tap:
            RED.ce.send(RED.frame(packet))
            assert tap.wait(mark, 3.0)
            return {hop for f in tap.frames() if mark in f for _, hop in labels_of(f)}

    with Switch(net).off(Guard.PIPE_MODE):
        assert outer() == {ttl - 1}, "control: uniform mode copies it"
    assert outer() == {255}


@both
def test_hide_02_what_has_no_hops_left_does_not_leave(net: Net, version: int) -> None:
    """The kernel takes one off at the label's end without a look: TTL 1 would leave with 0."""

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(plan.lan(2, version), plan.lan(1, version), PROBE_PORT, mark,
                        ip.Header(ttl=1))  # fmt: skip
        inner = link.labelled([net_label], packet)
        return [link.ethernet(CORE.mac, net.p.mac, link.MPLS, inner)]

    net_label = net.label("red")
    attack = Attack(net.p, frames, RED.ce, NEAR, "ce-red-1", "HIDE-2")
    with Switch(net).off(Guard.EGRESS), RED.ce.tap() as tap:
        mark = token()
        net.p.send(*frames(mark))
        assert tap.wait(mark, 3.0), "control"
        (frame,) = (f for f in tap.frames() if mark in f)
        assert frame[22 if version == 4 else 21] == 0, "and its TTL is 0"
    held(net, attack)


@both
def test_hide_03_too_big(net: Net, version: int) -> None:
    """Two labels on a 1500-byte core leave 1492; the PE says so from the CE's own link."""
    mark = token()
    body = mark.ljust(1500 - 28 if version == 4 else 1500 - 48, b".")
    packet = ip.udp(plan.lan(1, version), plan.lan(2, version), PROBE_PORT, body,
                    ip.Header(dont_fragment=True))  # fmt: skip
    answers = [f for f in asked(net, packet, mark) if icmp(f) in ((3, 4), (2, 0))]
    assert answers
    assert {said_by(f) for f in answers} == {plan.gateway(1, version)}
    at = 40 if version == 4 else 58
    assert struct.unpack_from("!H" if version == 4 else "!I", answers[0], at)[0] == 1492


@both
def test_hide_03_what_fits_arrives(net: Net, version: int) -> None:
    """1492 bytes do not need the error."""
    mark = token()
    fits = ip.udp(plan.lan(1, version), plan.lan(2, version), PROBE_PORT,
                  mark.ljust(1492 - 28 if version == 4 else 1492 - 48, b"."),
                  ip.Header(dont_fragment=True))  # fmt: skip
    with FAR.ce.tap() as far:
        RED.ce.send(RED.frame(fits))
        assert far.wait(mark, 3.0) == 1, "what fits arrives"


@both
def test_hide_03_ttl_runs_out_at_the_ingress(net: Net, version: int) -> None:
    mark = token()
    packet = ip.udp(plan.lan(1, version), plan.lan(2, version), PROBE_PORT, mark, ip.Header(ttl=1))
    assert {said_by(f) for f in asked(net, packet, mark)} == {plan.gateway(1, version)}


def test_hide_03_host_unreachable_behind_the_core(net: Net) -> None:
    """A remote site's packet for a router that is not there: the egress PE answers from the VPN."""
    mark = token()
    packet = ip.udp(plan.lan(2, 4), "10.6.0.9", PROBE_PORT, mark)
    with FAR.ce.tap() as tap:
        FAR.ce.send(FAR.frame(packet))
        assert tap.wait(mark, 8.0), "neighbour resolution gave up and said so"
        sources = {said_by(f) for f in tap.frames() if mark in f}
    inside = {a.partition("/")[0] for p in net.pe1.show_ports() if p.vrf == "red"
              for a in p.addresses}  # fmt: skip
    assert sources <= inside, sources


RECORD_ROUTE = bytes([7, 39, 4]) + bytes(36)
OPTIONS = {
    "record-route": (RECORD_ROUTE, True),
    "timestamp": (bytes([68, 36, 5, 1]) + bytes(32), True),
    "router-alert": (bytes([148, 4, 0, 0]), True),
    "security": (bytes([130, 11]) + bytes(9), True),
    "loose-source-route": (bytes([131, 7, 4, 10, 2, 0, 1]), False),
    "strict-source-route": (bytes([137, 7, 4, 10, 2, 0, 1]), False),
    "no-operation": (b"\x01\x01\x01\x01", True),
}


@pytest.mark.parametrize(("options", "passes"), OPTIONS.values(), ids=OPTIONS)
def test_hide_04_ipv4_options(net: Net, options: bytes, passes: bool) -> None:
    def frames(mark: bytes) -> list[bytes]:
        header = ip.Header(options=options)
        return [RED.frame(ip.udp(plan.lan(1, 4), plan.lan(2, 4), PROBE_PORT, mark, header))]

    attack = Attack(RED.ce, frames, FAR.ce, RED, "ce-red-1", "HIDE-4")
    if passes:
        control(net, attack, [Guard.EDGE])
    held(net, attack)


def test_hide_04_control_record_route_would_name_the_core(net: Net) -> None:
    mark = token()
    header = ip.Header(options=RECORD_ROUTE)
    packet = ip.udp(plan.lan(1, 4), plan.lan(2, 4), PROBE_PORT, mark, header)
    with Switch(net).off(Guard.EDGE), FAR.ce.tap() as tap:
        RED.ce.send(RED.frame(packet))
        assert tap.wait(mark, 3.0)
        frame = next(f for f in tap.frames() if mark in f)
    assert ipaddress.IPv4Address("10.0.1.1").packed in frame[34:74], "the core link's address"


HEADERS = {
    "hop-by-hop": ((0, b"\0" + bytes([5, 2, 0, 0, 1, 0])),),
    "hop-by-hop-unknown": ((0, b"\0" + bytes([0x3E, 4, 0, 0, 0, 0])),),
    "routing-0": ((43, b"\x02\0\x01" + bytes(4) + ipaddress.IPv6Address("2001:db8:3::1").packed),),
}


@pytest.mark.parametrize("extensions", HEADERS.values(), ids=HEADERS)
def test_hide_04_ipv6_headers(net: Net, extensions: tuple[tuple[int, bytes], ...]) -> None:
    def frames(mark: bytes) -> list[bytes]:
        header = ip.Header(extensions=extensions)
        return [RED.frame(ip.udp(plan.lan(1, 6), plan.lan(2, 6), PROBE_PORT, mark, header))]

    attack = Attack(RED.ce, frames, FAR.ce, RED, "ce-red-1", "HIDE-4")
    control(net, attack, [Guard.EDGE])
    held(net, attack)


ASKED_FOR = {
    "loopback": "10.255.0.1",
    "core-link": "10.0.1.1",
    "other-port-of-red": "192.168.3.1",
    "port-of-the-internet": "203.0.113.1",
    "remote-site": "10.2.0.1",
}


@pytest.mark.parametrize("target", ASKED_FOR.values(), ids=ASKED_FOR)
def test_hide_05_arp_for_what_is_elsewhere(net: Net, target: str) -> None:
    def answered() -> int:
        packet = link.arp(1, RED.ce.mac, "192.168.1.2", target)
        own = link.arp(1, RED.ce.mac, "192.168.1.2", "192.168.1.1")
        with RED.ce.tap() as tap:
            for question in (packet, own):
                RED.ce.send(link.ethernet(link.BROADCAST, RED.ce.mac, link.ARP, question))
            # The answer about its own address comes behind the other, if there is one.
            assert until(lambda: link.arp_answers(tap.frames(), "192.168.1.1"), 3.0)
            return link.arp_answers(tap.frames(), target)

    with Switch(net).off(Guard.LOCAL_RULE, Guard.PORT_SYSCTLS):
        if target not in ("203.0.113.1",):
            assert until(answered, 3.0), "control"
    assert answered() == 0


ASKED_FOR_6 = {
    "loopback": "2001:db8:ff::1",
    "core-link": "2001:db8:c1::1",
    "other-port-of-red": "2001:db8:f3::1",
    "port-of-the-internet": "2001:db8:f9::1",
}


@pytest.mark.parametrize("target", ASKED_FOR_6.values(), ids=ASKED_FOR_6)
def test_hide_05_neighbour_discovery_for_what_is_elsewhere(net: Net, target: str) -> None:
    with RED.ce.tap() as tap:
        for address in (target, plan.gateway(1, 6)):
            RED.ce.send(link.solicitation(RED.ce.mac, plan.ce(1, 6), address))
            unicast = ip.icmpv6(plan.ce(1, 6), address, 135,
                                bytes(4) + ipaddress.IPv6Address(address).packed,
                                ip.Header(ttl=255))  # fmt: skip
            RED.ce.send(RED.frame(unicast))
        own = plan.gateway(1, 6)
        assert until(lambda: link.advertisements(tap.frames(), own) >= 1, 3.0), "its own: yes"
        assert link.advertisements(tap.frames(), target) == 0


def test_hide_06_what_a_ce_receives(net: Net) -> None:
    """Advertise to a CE the prefixes of its VPN only: no link, no core, no other VPN's."""
    for version, own in ((4, plan.ce(1, 4)), (6, plan.ce(1, 6))):
        family = bgp.IPV4 if version == 4 else bgp.IPV6
        greeting = bgp.Greeting(plan.CE_AS["red"], families=(family,))
        near = plan.gateway(1, version)
        wanted = {4: "10.2.0.0/24", 6: "2001:db8:2::/64"}[version]
        with bgp.establish("ce-red-1", own, near, greeting, md5=plan.KEYS["red"]) as session:
            session.listen(10.0, lambda s=session, w=wanted: w in bgp.announced(s))  # type: ignore[misc]
            told = set(bgp.announced(session))
        assert wanted in told
        sites = (*range(1, 5), 6)
        ours = {4: {f"10.{n}.0.0/24" for n in sites},
                6: {f"2001:db8:{n}::/64" for n in sites}}[version]  # fmt: skip
        assert told <= ours, told - ours


@both
def test_hide_07_the_pes_address_from_a_remote_site(net: Net, version: int) -> None:
    """Send under red's own label from the core: the PE's CE-side address gives no answer."""
    target = plan.gateway(1, version)
    label = net.label("red")

    def probe(mark: bytes) -> list[bytes]:
        packet = ip.echo(plan.lan(2, version), target, mark)
        return [link.ethernet(CORE.mac, net.p.mac, link.MPLS, link.labelled([label], packet))]

    def answers(mark: bytes) -> bool:
        return any(mark in frame for frame in tap.frames())

    with net.p.tap() as tap:
        with Switch(net).off(Guard.INPUT):
            mark = token()
            net.p.send(*probe(mark))
            assert until(lambda: answers(mark), 3.0), "control: it answers"
        # The kernel reports the VRF as second device for IPv4 only; IPv6 matches the next rule.
        requirement = "HIDE-7" if version == 4 else "ACL-1"
        held(net, Attack(net.p, probe, RED.ce, NEAR, "red", requirement))


HARDENED = {
    "ipv4/conf/{}/send_redirects": "0",
    "ipv4/conf/{}/accept_redirects": "0",
    "ipv4/conf/{}/proxy_arp": "0",
    "ipv4/conf/{}/accept_source_route": "0",
    "ipv4/conf/{}/arp_ignore": "1",
    "ipv6/conf/{}/accept_ra": "0",
    "ipv6/conf/{}/accept_redirects": "0",
    "ipv6/conf/{}/autoconf": "0",
    "ipv6/conf/{}/proxy_ndp": "0",
}


def test_hide_09_settings_of_every_ce_port(net: Net) -> None:
    ports = [port.name for port in net.pe1.show_ports() if port.vrf]
    assert len(ports) == 8
    wrong = [(port, path) for port in ports for path, value in HARDENED.items()
             if sysctl("pe1", path.format(port)) != value]  # fmt: skip
    assert wrong == []


@both
def test_hide_09_no_redirects(net: Net, version: int) -> None:
    """Two hosts of one LAN, one packet through the PE: it does not say that they are neighbours."""
    ends = {4: ("192.168.6.2", "192.168.6.3"), 6: ("2001:db8:f6::2", "2001:db8:f6::3")}[version]

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(*ends, PROBE_PORT, mark)
        return [link.ethernet(LAN_PE.mac, LAN.mac, link.ethertype(packet), packet)]

    def redirected(tap: object) -> bool:
        return any(icmp(f) in ((5, 1), (137, 0)) for f in tap.frames())  # type: ignore[attr-defined]

    with watching(LAN, LAN_B) as (own, other):
        with Switch(net).off(Guard.PORT_SYSCTLS, Guard.EGRESS):
            for _ in range(3):
                LAN.send(*frames(token()))
            assert until(lambda: redirected(own), 3.0), "control"
        own.clear()
        mark = token()
        LAN.send(*frames(mark))
        assert other.wait(mark, 3.0) == 1, "the packet itself passes"
        net.sentinel(RED)
        assert not redirected(own)


def legitimate(mark: bytes) -> list[bytes]:
    return [NEAR.frame(ip.udp(plan.lan(3, 4), plan.lan(1, 4), PROBE_PORT, mark))]


def test_hide_09_the_pe_says_nothing_unasked(net: Net) -> None:
    """No LLDP, no spanning tree, no router advertisement: only ARP and neighbour discovery."""
    with RED.ce.tap() as tap:
        net.sentinel(RED)
        assert arrives(net, Attack(NEAR.ce, legitimate, RED.ce, NEAR))
        kinds = {f[12:14] for f in tap.frames() if f[6:12] == RED.pe.mac}
        unasked = [f for f in tap.frames() if icmp(f) in ((134, 0), (133, 0))]
    assert kinds <= {b"\x08\x00", b"\x86\xdd", b"\x08\x06"}
    assert unasked == []
