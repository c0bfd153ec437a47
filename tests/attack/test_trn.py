"""TRN: what customers send to themselves arrives as it was (RFC 4381 5.2, RFC 4364 13.1)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from labs.attack import ip, plan
from labs.attack.inside import run_in
from labs.attack.net import Circuit, Net, circuit
from labs.attack.port import token
from labs.attack.switch import Switch
from pe.model.guards import Guard

RED, NEAR, FAR = circuit("red", 1), circuit("red", 3), circuit("red", 2)
ENDS = {"same-pe": (RED, NEAR), "through-core": (RED, FAR), "from-core": (FAR, RED)}
both = pytest.mark.parametrize("version", [4, 6])
ends = pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
Make = Callable[[str, str, bytes], bytes]


def udp(port: int, head: bytes = b"", **more: int) -> Make:
    header = ip.Header(**more)  # type: ignore[arg-type]
    return lambda s, t, mark: ip.udp(s, t, port, head + mark, header, sport=port)


def raw(number: int, head: bytes) -> Make:
    return lambda s, t, mark: ip.packet(s, t, number, head + mark)


SPI = struct.pack("!II", 0xC0FFEE, 1)
PACKETS: dict[str, Make] = {
    "esp": raw(ip.ESP, SPI),
    "ah": raw(ip.AH, struct.pack("!BBH", 59, 4, 0) + SPI + bytes(12)),
    "ike": udp(500, bytes(16)),
    "ike-natt": udp(4500, bytes(4)),
    "esp-in-udp": udp(4500, SPI),
    "sctp": raw(ip.SCTP, struct.pack("!HHII", 9, 9, 0, 0)),
    "gre": raw(ip.GRE, b"\0\0\x08\0"),
    "ip-in-ip": raw(4, b""),
    "ospf": raw(ip.OSPF, b"\x02\x01"),
    "protocol-253": raw(253, b""),
    "bgp-between-ces": lambda s, t, m: ip.tcp(s, t, 179, ip.PSH | ip.ACK, payload=m),
    "dscp-ef": udp(4711, tos=46 << 2),
    "dscp-cs6": udp(4711, tos=48 << 2),
    "ecn-ect1": udp(4711, tos=1),
    "ecn-ce": udp(4711, tos=3),
    "flow-label": udp(4711, flow=0xABCDE),
    "ident-df": udp(4711, ident=0x1234, dont_fragment=True),
    "no-checksum": lambda s, t, m: ip.packet(s, t, ip.UDP,
                                             struct.pack("!HHHH", 9, 9, 8 + len(m), 0) + m),
    "destination-options": lambda s, t, m: ip.udp(
        s, t, 4711, m, ip.Header(extensions=((ip.DESTINATION, b"\0\x01\x04" + bytes(4)),))),
}  # fmt: skip


def passed_on(packet: bytes) -> bytes:
    """Return a packet with what a router may change taken out: TTL or hop limit, IPv4 checksum."""
    if packet[0] >> 4 == 4:
        return packet[:8] + b"\0" + packet[9:10] + b"\0\0" + packet[12:]
    return packet[:7] + b"\0" + packet[8:]


@ends
@both
@pytest.mark.parametrize("make", PACKETS.values(), ids=PACKETS)
def test_trn_01_arrives_as_it_was(
    net: Net, make: Make, version: int, ends: tuple[Circuit, Circuit]
) -> None:
    """IPsec, IKE and the rest, bit by bit: an AH would notice any change."""
    origin, target = ends
    mark = token()
    packet = make(plan.lan(origin.site, version), plan.lan(target.site, version), mark)
    with target.ce.tap() as tap:
        origin.ce.send(origin.frame(packet))
        assert tap.wait(mark, 3.0) == 1
        (frame,) = (f for f in tap.frames() if mark in f)
    arrived = frame[14 : 14 + len(packet)]
    assert passed_on(arrived) == passed_on(packet)
    at = 8 if version == 4 else 7
    hops = 1 if {origin.pe.node, target.pe.node} == {"pe1"} else 2
    assert arrived[at] == packet[at] - hops


@ends
@both
@pytest.mark.parametrize("reverse", [False, True], ids=["in-order", "reversed"])
def test_trn_01_fragments(
    net: Net, version: int, ends: tuple[Circuit, Circuit], reverse: bool
) -> None:
    """Send a datagram in fragments: it is complete at the other end, in fragments of any size."""
    origin, target = ends
    marks = [token() for _ in range(3)]
    payload = b"".join(mark.ljust(480, b".") for mark in marks)
    whole = ip.udp(plan.lan(origin.site, version), plan.lan(target.site, version), 4711, payload)
    parts = ip.fragments(whole, 480, 4000 + version)
    with target.ce.tap() as tap:
        origin.ce.send(*(origin.frame(p) for p in (reversed(parts) if reverse else parts)))
        assert [min(tap.wait(mark, 3.0), 1) for mark in marks] == [1, 1, 1]
        # Nothing comes twice, whether put together on the way or not.
        assert sum(tap.count(mark) for mark in marks) == 3


@both
def test_trn_02_esp_after_a_long_silence(net: Net, version: int) -> None:
    """No state is needed for it: with all connections forgotten, either side may go on."""
    run_in("pe1", "conntrack", "-F", check=False)
    for origin, target in ((FAR, RED), (RED, FAR)):
        mark = token()
        source, to = plan.lan(origin.site, version), plan.lan(target.site, version)
        with target.ce.tap() as tap:
            origin.ce.send(origin.frame(ip.packet(source, to, ip.ESP, SPI + mark)))
            assert tap.wait(mark, 3.0) == 1


@pytest.mark.parametrize("tos", [0x03, 0xB8, 0xBB])
def test_trn_03_marks_survive_the_core_in_uniform_mode_too(net: Net, tos: int) -> None:
    """The customer's DSCP and ECN are inside the label and come out as they went in."""
    mark = token()
    packet = ip.udp(plan.lan(1, 4), plan.lan(2, 4), 4711, mark, ip.Header(tos=tos))
    with Switch(net).off(Guard.PIPE_MODE), FAR.ce.tap() as tap:
        RED.ce.send(RED.frame(packet))
        assert tap.wait(mark, 3.0) == 1
        (frame,) = (f for f in tap.frames() if mark in f)
    assert frame[15] == tos
