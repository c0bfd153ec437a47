"""ACL: who may talk to the PE (RFC 4381 3.3, RFC 7454 sections 4 and 5)."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from labs.attack import bgp, ip, link, plan
from labs.attack.inside import run_in, sysctl
from labs.attack.listen import connects
from labs.attack.net import PROBE_PORT, Net, circuit, watching
from labs.attack.port import Port, Tap, token
from labs.attack.spoof import spoofed
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.trial import COPIES, Attack, Frames, arrives, held

RED, BLUE, STATIC = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
LAN, LAN_PE = Port("lan-a", "eth0"), Port("pe1", "br-red")
CORE = Port("pe1", "core0")
both = pytest.mark.parametrize("version", [4, 6])


def tcp_answers(tap: Tap, source: str, port: int) -> int:
    """TCP segments from an address and port that came in."""
    found = 0
    wanted = ipaddress.ip_address(source).packed
    for frame in tap.frames():
        if frame[12:14] == b"\x08\x00" and frame[23] == ip.TCP:
            found += frame[26:30] == wanted and frame[34:36] == struct.pack("!H", port)
        if frame[12:14] == b"\x86\xdd" and frame[20] == ip.TCP:
            found += frame[22:38] == wanted and frame[54:56] == struct.pack("!H", port)
    return found


def test_acl_01_the_configured_neighbour_connects(net: Net) -> None:
    """The one thing that passes: from the neighbour's address, to ours, TTL 255, signed."""
    for vpn in ("red", "blue"):
        for version in (4, 6):
            near, own = plan.gateway(1, version), plan.ce(1, version)
            greeting = bgp.Greeting(plan.CE_AS[vpn], families=(family(version),))
            key = plan.KEYS[vpn]
            with bgp.establish(f"ce-{vpn}-1", own, near, greeting, md5=key) as session:
                assert session.alive


def family(version: int) -> bgp.Family:
    return bgp.IPV4 if version == 4 else bgp.IPV6


# Who, from which address, to which port of ours, with which TTL; the guard whose absence shows
# that a RST would come.
STRANGERS = {
    "far-away": (RED.ce, "192.168.1.2", "192.168.1.1", 179, 64),
    "far-away-6": (RED.ce, "2001:db8:f1::2", "2001:db8:f1::1", 179, 64),
    "hop-254": (RED.ce, "192.168.1.2", "192.168.1.1", 179, 254),
    "lan-of-the-site": (RED.ce, "10.1.0.9", "192.168.1.1", 179, 255),
    "lan-of-the-site-6": (RED.ce, "2001:db8:1::9", "2001:db8:f1::1", 179, 255),
    "other-pe-address": (RED.ce, "192.168.1.2", "192.168.3.1", 179, 255),
    "other-pe-address-6": (RED.ce, "2001:db8:f1::2", "2001:db8:f3::1", 179, 255),
    "ssh": (RED.ce, "192.168.1.2", "192.168.1.1", 22, 255),
    "api": (RED.ce, "192.168.1.2", "192.168.1.1", 50051, 255),
    "ssh-6": (RED.ce, "2001:db8:f1::2", "2001:db8:f1::1", 22, 255),
    "static-ce": (STATIC.ce, "192.168.3.2", "192.168.3.1", 179, 255),
    "shared-lan": (LAN, "192.168.6.2", "192.168.6.1", 179, 255),
    "shared-lan-6": (LAN, "2001:db8:f6::2", "2001:db8:f6::1", 179, 255),
}
NEAR_ENDS = {"ce-red-1": RED.pe, "ce-red-3": STATIC.pe, "lan-a": LAN_PE}


@pytest.mark.parametrize(("sender", "source", "target", "port", "ttl"), STRANGERS.values(),
                         ids=STRANGERS)  # fmt: skip
def test_acl_01_no_other_source_gets_an_answer(
    net: Net, sender: Port, source: str, target: str, port: int, ttl: int
) -> None:
    pe = NEAR_ENDS[sender.node]
    packet = ip.tcp(source, target, port, header=ip.Header(ttl=ttl), sport=33333)
    frame = link.ethernet(pe.mac, sender.mac, link.ethertype(packet), packet)
    with sender.tap() as tap, Switch(net).off(Guard.INPUT):
        sender.send(frame)
        if port != 179:  # a BGP speaker may listen on 179; it answers no unsigned segment
            assert until(lambda: tcp_answers(tap, target, port), 3.0), "control: a RST comes"
    before = net.dropped("", "ACL-1") + net.dropped("", "BGP-3")
    with sender.tap() as tap:
        for _ in range(COPIES):
            sender.send(frame)
        net.sentinel(RED)
        assert tcp_answers(tap, target, port) == 0
    assert until(
        lambda: net.dropped("", "ACL-1") + net.dropped("", "BGP-3") >= before + COPIES, 2.0
    )


def test_acl_01_remote_site(net: Net) -> None:
    """Through the core under red's label: the PE's address on a CE link is not for remote sites."""
    label = net.label("red")
    before = net.dropped("red")
    for version in (4, 6):
        packet = ip.tcp(plan.lan(2, version), plan.gateway(1, version), 179,
                        header=ip.Header(ttl=255))  # fmt: skip
        frame = link.ethernet(CORE.mac, net.p.mac, link.MPLS, link.labelled([label], packet))
        with net.p.tap() as tap:
            net.p.send(frame)
            net.sentinel(RED)
            assert tcp_answers(tap, plan.gateway(1, version), 179) == 0
    assert until(lambda: net.dropped("red") >= before + 2, 2.0)


def test_acl_01_the_same_address_in_another_vpn(net: Net) -> None:
    """192.168.1.2 is a neighbour in red and in blue, each with its own key: not the other's."""
    for vpn, other in (("red", "blue"), ("blue", "red")):
        wrong = bgp.connect(f"ce-{vpn}-1", "192.168.1.2", "192.168.1.1", md5=plan.KEYS[other],
                            seconds=1.5)  # fmt: skip
        assert wrong is None


PORTS = (1, 7, 20, 21, 22, 23, 25, 53, 69, 80, 111, 123, 161, 179, 443, 500, 514, 520, 646, 830,
         1701, 1812, 2379, 2601, 2605, 3784, 4500, 4784, 4789, 6635, 8080, 9100,
         50051, 65535)  # fmt: skip


@both
def test_acl_02_a_static_ce_gets_no_answer(net: Net, version: int) -> None:
    """A site without BGP: no port, no protocol and no ping of the PE's port answers."""
    source, target = plan.ce(3, version), plan.gateway(3, version)
    probes = [ip.echo(source, target, b"ping")]
    probes += [ip.tcp(source, target, port, header=ip.Header(ttl=255)) for port in PORTS]
    probes += [ip.udp(source, target, port, b"scan", ip.Header(ttl=255)) for port in PORTS]
    known = {0, 43, 44, 58, 60, 1, 6, 17}
    probes += [ip.packet(source, target, number, bytes(20)) for number in range(256)
               if number not in known]  # fmt: skip
    with STATIC.ce.tap() as tap:
        with Switch(net).off(Guard.INPUT):
            for probe in probes[:2]:
                STATIC.ce.send(STATIC.frame(probe))
            assert until(lambda: answers(tap, target) >= 2, 3.0), "control: it would answer"
        tap.clear()
        for probe in probes:
            STATIC.ce.send(STATIC.frame(probe))
        net.sentinel(RED)
        assert answers(tap, target) == 0


def answers(tap: Tap, source: str) -> int:
    """IP packets from an address, neighbour discovery excepted."""
    wanted = ipaddress.ip_address(source).packed
    found = 0
    for frame in tap.frames():
        if frame[12:14] == b"\x08\x00":
            found += frame[26:30] == wanted
        elif frame[12:14] == b"\x86\xdd" and not (
            frame[20] == ip.ICMPV6 and frame[54] in (135, 136)
        ):
            found += frame[22:38] == wanted
    return found


# Ethertypes; below 0x600 they are lengths (802.3, LLC).
LAYER_2 = {
    "stp": 0x0026, "llc": 0x05DC, "lldp": 0x88CC, "pppoe-d": 0x8863, "pppoe-s": 0x8864,
    "mpls-multicast": 0x8848, "service-vlan": 0x88A8, "eapol": 0x888E, "rarp": 0x8035,
    "macsec": 0x88E5, "cfm": 0x8902, "mac-control": 0x8808, "slow": 0x8809, "is-is": 0x00FE,
    "trill": 0x22F3, "appletalk": 0x809B, "ipx": 0x8137, "loop": 0x9000, "zero": 0x0000,
    "all-ones": 0xFFFF, "batman": 0x4305,
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYER_2.values(), ids=LAYER_2)
def test_acl_03_only_arp_and_ip(net: Net, kind: int) -> None:
    """Drop frames that are neither ARP nor IP at the port, for every ethertype and target MAC."""
    bodies = (b"", bytes(46), bytes(1486))
    targets = (RED.pe.mac, link.BROADCAST, bytes.fromhex("0180c2000000"))

    def frames(mark: bytes) -> list[bytes]:
        return [link.ethernet(to, RED.ce.mac, kind, mark + body)
                for to in targets for body in bodies]  # fmt: skip

    held(net, Attack(RED.ce, frames, BLUE.ce, RED, "ce-red-1", bystanders=(net.p,)))


def test_acl_03_the_count_is_the_guards(net: Net) -> None:
    """Control: without the guard the same frames are in no count, and IP passes either way."""
    frame = link.ethernet(RED.pe.mac, RED.ce.mac, LAYER_2["lldp"], bytes(46))
    before = net.dropped("ce-red-1", "LBL-6")
    with Switch(net).off(Guard.EDGE):
        RED.ce.send(frame)
        net.sentinel(RED)
    RED.ce.send(frame)
    net.sentinel(RED)
    # The counter was made anew with the guard: what it holds is from after the control.
    assert until(lambda: net.dropped("ce-red-1", "LBL-6") in (1, before + 1), 2.0)


TUNNELS = {
    "ip-in-ip": lambda s, t, inner: ip.packet(s, t, 4, inner),
    "6in4": lambda s, t, inner: ip.packet(s, t, 41, inner),
    "gre": lambda s, t, inner: ip.packet(s, t, ip.GRE, b"\0\0\x08\0" + inner),
    "gre-mpls": lambda s, t, inner: ip.packet(s, t, ip.GRE, b"\0\0\x88\x47" + inner),
    "mpls-in-ip": lambda s, t, inner: ip.packet(s, t, 137, inner),
    "mpls-in-udp": lambda s, t, inner: ip.udp(s, t, 6635, inner),
    "vxlan": lambda s, t, inner: ip.udp(s, t, 4789, b"\x08" + bytes(7) + inner),
    "lisp-bfd": lambda s, t, inner: ip.udp(s, t, 3799, inner),
    "l2tp": lambda s, t, inner: ip.packet(s, t, 115, inner),
}


@pytest.mark.parametrize("wrap", TUNNELS.values(), ids=TUNNELS)
@pytest.mark.parametrize("end", ["192.168.1.1", "10.255.0.1"], ids=["ce-address", "loopback"])
def test_acl_04_no_tunnel_of_a_ce_ends_here(net: Net, wrap: object, end: str) -> None:
    """RFC 4364 section 6, 13.1: the source of MPLS in IP or GRE must be checked; here none is."""

    def frames(mark: bytes) -> list[bytes]:
        inner = ip.udp(plan.lan(2, 4), plan.lan(1, 4), PROBE_PORT, mark)
        return [RED.frame(wrap(plan.ce(1, 4), end, inner))]  # type: ignore[operator]

    attack = Attack(RED.ce, frames, BLUE.ce, RED, bystanders=(net.p, STATIC.ce))
    mark = token()
    before = net.dropped()
    with watching(BLUE.ce, net.p, STATIC.ce) as eyes:
        RED.ce.send(*attack.frames(mark))
        net.sentinel(RED)
        assert [eye.count(mark) for eye in eyes] == [0, 0, 0]
    if end == "192.168.1.1":
        assert until(lambda: net.dropped() > before, 2.0)


GRE_ARRIVES = ("arrivals", '{ "x-gre" : accept }')
"""That a port of this name is known."""


def test_acl_04_control_a_tunnel_device_takes_it_in(net: Net) -> None:
    """Without the input guard, a GRE device of the VPN would take the packet out and send it on."""

    def frames(mark: bytes) -> list[bytes]:
        inner = ip.udp(plan.lan(1, 4), plan.lan(3, 4), PROBE_PORT, mark)
        return [RED.frame(TUNNELS["gre"](plan.ce(1, 4), plan.gateway(1, 4), inner))]

    attack = Attack(RED.ce, frames, STATIC.ce, RED)
    with Switch(net).stopped():
        run_in("pe1", "ip", "link", "add", "x-gre", "type", "gre", "local", plan.gateway(1, 4),
               "remote", plan.ce(1, 4), "dev", "ce-red-1")  # fmt: skip
        try:
            run_in("pe1", "ip", "link", "set", "x-gre", "master", "red", "up")
            run_in("pe1", "nft", "add", "element", "inet", "bulkhead", *GRE_ARRIVES)
            held(net, Attack(RED.ce, frames, STATIC.ce, RED))
        finally:
            run_in("pe1", "nft", "delete", "element", "inet", "bulkhead", *GRE_ARRIVES)
            run_in("pe1", "ip", "link", "del", "x-gre", check=False)
    with Switch(net).off(Guard.INPUT):
        run_in("pe1", "ip", "link", "add", "x-gre", "type", "gre", "local", plan.gateway(1, 4),
               "remote", plan.ce(1, 4), "dev", "ce-red-1")  # fmt: skip
        try:
            run_in("pe1", "ip", "link", "set", "x-gre", "master", "red", "up")
            run_in("pe1", "nft", "add", "element", "inet", "bulkhead", *GRE_ARRIVES)
            assert arrives(net, attack), "control"
        finally:
            run_in("pe1", "nft", "delete", "element", "inet", "bulkhead", *GRE_ARRIVES)
            run_in("pe1", "ip", "link", "del", "x-gre", check=False)


PROVIDER = {"pe1": "10.255.0.1", "pe2": "10.255.0.2", "reflector": "10.255.0.100",
            "core-link": "10.0.1.2", "pe1-6": "2001:db8:ff::1"}  # fmt: skip


@pytest.mark.parametrize("source", PROVIDER.values(), ids=PROVIDER)
@pytest.mark.parametrize("flags", [ip.SYN, ip.RST | ip.ACK], ids=["syn", "rst"])
def test_acl_05_the_providers_own_addresses_as_source(net: Net, source: str, flags: int) -> None:
    """An iBGP segment that seems to come from a PE or reflector, from a CE (RFC 7454 5.1)."""
    version = ip.version(source)
    for target in (plan.gateway(1, version), {4: "10.255.0.1", 6: "2001:db8:ff::1"}[version]):

        def frames(mark: bytes, target: str = target) -> list[bytes]:
            packet = ip.tcp(source, target, 179, flags, ip.Header(ttl=255), payload=mark)
            return [RED.frame(packet)]

        held(net, Attack(RED.ce, frames, net.p, RED, "ce-red-1"))
    assert all(n.state == 4 for n in net.pe1.show_neighbors(core_only=True)
               if n.address == "10.255.0.2")  # fmt: skip


def nd(kind: int, body: bytes, *, hop: int = 255, source: str = "fe80::bad", to: str = "ff02::1"
       ) -> Frames:  # fmt: skip
    """Return an ICMPv6 message of the link, from red's CE."""
    multicast = b"\x33\x33" + ipaddress.IPv6Address(to).packed[-4:]

    def frames(mark: bytes) -> list[bytes]:
        receiver = multicast if to.startswith("ff") else RED.pe.mac
        option = b"\xfd\x02" + mark.ljust(14, b"\0")  # an experimental one (RFC 4727)
        packet = ip.icmpv6(source, to, kind, body + option, ip.Header(ttl=hop))
        return [link.ethernet(receiver, RED.ce.mac, link.IPV6, packet)]

    return frames


PREFIX_OPTION = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0) + (
    ipaddress.IPv6Address("2001:db8:bad::").packed
)
ADVERTISEMENT = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + PREFIX_OPTION
TARGET = ipaddress.IPv6Address("2001:db8:f1::1").packed
LINK_MESSAGES = {
    "router-advertisement": nd(134, ADVERTISEMENT),
    "router-solicitation": nd(133, bytes(4), to="ff02::2"),
    "redirect": nd(137, bytes(4) + TARGET * 2, to="2001:db8:f1::1"),
    "mld-report": nd(131, bytes(20), hop=1),
    "mldv2-report": nd(143, bytes(4), hop=1, to="ff02::16"),
    "solicitation-from-afar": nd(135, bytes(4) + TARGET, hop=254, source="2001:db8:f1::2",
                                 to="2001:db8:f1::1"),
    "advertisement-from-afar": nd(136, bytes(4) + TARGET, hop=64, source="2001:db8:f1::2",
                                  to="2001:db8:f1::1"),
    "echo-all-routers": nd(128, bytes(4), to="ff02::2"),
    "echo-link-local": nd(128, bytes(4), to="fe80::1"),
}  # fmt: skip


@pytest.mark.parametrize("frames", LINK_MESSAGES.values(), ids=LINK_MESSAGES)
def test_acl_06_ipv6_has_the_same_wall(net: Net, frames: Frames) -> None:
    """Of the link's own messages only neighbour discovery with hop limit 255 gets in."""
    mark, before = token(), net.dropped()
    with RED.ce.tap() as tap:
        for _ in range(COPIES):
            RED.ce.send(*frames(mark))
        net.sentinel(RED, version=6)
        assert tap.count(mark) == 0
    if frames is not LINK_MESSAGES["echo-link-local"]:  # not an address of the PE: not counted
        assert until(lambda: net.dropped() >= before + COPIES, 2.0)


def test_acl_06_control_a_router_advertisement_would_be_believed(net: Net) -> None:
    frames = LINK_MESSAGES["router-advertisement"]

    def believed() -> bool:
        return "2001:db8:bad:" in run_in("pe1", "ip", "-6", "addr", "show", "dev", "ce-red-1")

    with Switch(net).off(Guard.EDGE, Guard.INPUT, Guard.PORT_SYSCTLS):
        sysctl("pe1", "ipv6/conf/ce-red-1/autoconf", "1")
        RED.ce.send(*frames(token()))
        try:
            assert until(believed, 3.0), "control"
        finally:
            sysctl("pe1", "ipv6/conf/ce-red-1/autoconf", "0")
            flush_learned()
    RED.ce.send(*frames(token()))
    net.sentinel(RED)
    assert not believed()


def flush_learned() -> None:
    run_in("pe1", "sh", "-c",
           "ip -6 addr flush dev ce-red-1 dynamic; "
           "ip -6 route flush proto ra; ip -6 route flush table all proto ra")  # fmt: skip


def test_acl_04_labels_in_a_tunnel(net: Net) -> None:
    """The same under a good label from the core: the PE's VRF address ends no tunnel either."""
    frames = spoofed(net.p, CORE.mac, [net.label("red")], target="192.168.1.1")
    held(net, Attack(net.p, frames, RED.ce, RED, "red", "HIDE-7"))


def test_acl_01_no_connection_by_socket(net: Net) -> None:
    """An ordinary client, from every CE, to the ports that a PE is known for."""
    for node, site in (("ce-red-1", 1), ("ce-red-3", 3), ("ce-blue-1", 1)):
        for port in (22, 179):
            assert connects(node, plan.gateway(site, 4), port, seconds=0.5) == "silent"


@pytest.mark.parametrize("target", ["10.255.0.1", "10.0.1.1"])
def test_acl_08_in_the_core_only_configured_peers_get_an_answer(net: Net, target: str) -> None:
    """From an address of the core that is no peer's, to each of the PE's: port 179 is silent, where
    a thousand connections were accepted and kept. The control is any other port."""
    before = net.dropped(requirement="ACL-8")
    assert connects("p", target, 179, seconds=1.0) == "silent"
    assert net.dropped(requirement="ACL-8") > before
    assert connects("p", target, 180, seconds=1.0) == "refused"
