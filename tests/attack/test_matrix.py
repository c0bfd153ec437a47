"""Every CE, every address that any PE has, every kind of packet: nothing answers that should not.

Made from the nodes' own state, not from a list: an address that appears is attacked. What may
come back is the PE's refusal (ICMP unreachable, time exceeded) from the attacker's own link, and
neighbour discovery. A configured neighbour without its key receives no more than that, with one
exception: a segment from port 179 to a closed port gets a RST.
"""

from __future__ import annotations

import ipaddress
import struct
import time
from collections.abc import Iterator

import pytest

from labs.attack import ip
from labs.attack.net import Net, circuit
from labs.attack.switch import Switch
from labs.attack.who import Attacker, addresses, attackers
from labs.waiting import until
from pe.model.guards import Guard

TTL = ip.Header(ttl=255)
TCP_PORTS = (22, 179, 646, 50051, 65001)
UDP_PORTS = (53, 161, 646, 3784, 4789, 6635)
NEIGHBOURS = ("ce-red-1", "ce-blue-1")
SEND_SECONDS = 60.0
"""The longest that one attacker's frames may take from the first sent to the last answer read.
Neither the lab's start nor the building of the frames is measured."""
PROTOCOLS = (2, 4, 41, 46, 47, 50, 51, 88, 89, 103, 112, 115, 132, 137, 253)


def probes(source: str, target: str) -> Iterator[bytes]:
    """One packet of each class."""
    yield ip.echo(source, target, b"matrix", TTL)
    for port in TCP_PORTS:
        yield ip.tcp(source, target, port, header=TTL)
        yield ip.tcp(source, target, 40001, ip.ACK, TTL, sport=port)
    for port in UDP_PORTS:
        yield ip.udp(source, target, port, b"matrix", TTL)
    for number in PROTOCOLS:
        yield ip.packet(source, target, number, bytes(24), TTL)


def targets() -> list[str]:
    """Return every address of both PEs and of P but loopback ones."""
    found = {a for node in ("pe1", "pe2", "p") for a in addresses(node)}
    return sorted(a for a in found if not ipaddress.ip_address(a).is_loopback)


def unexpected(frame: bytes, attacker: Attacker, owned: set[bytes]) -> str:
    """What a frame is that should not have come; empty if it may."""
    if frame[12:14] == b"\x08\x00":
        source, kind = frame[26:30], (frame[23], frame[34])
        refusal = kind in ((ip.ICMP, 3), (ip.ICMP, 11)) and frame[35] in (0, 1)
    elif frame[12:14] == b"\x86\xdd":
        source, kind = frame[22:38], (frame[20], frame[54])
        if kind in ((ip.ICMPV6, 135), (ip.ICMPV6, 136)):
            return ""
        refusal = kind in ((ip.ICMPV6, 1), (ip.ICMPV6, 3))
    else:
        return ""
    if source not in owned:
        return ""
    # On a trunk the refusals come late, too, that the attacker of another VLAN waits for no more.
    at = (attacker.port.node, attacker.port.name)
    sharing = (each for each in attackers() if (each.port.node, each.port.name) == at)
    near = {ipaddress.ip_address(a).packed for each in sharing for a in each.gateways}
    of_session = attacker.name in NEIGHBOURS and (
        is_unrequested_reset(frame) or is_of_another_session(frame)
    )
    if source in near and (refusal or of_session):
        return ""
    return f"{ipaddress.ip_address(source)} sent protocol {kind[0]} type {kind[1]}"


def is_unrequested_reset(frame: bytes) -> bool:
    """Return a RST to port 179 from the port that the probes with source port 179 go to."""
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    ports = struct.unpack_from("!HH", frame, at)
    return frame[23 if at == 34 else 20] == ip.TCP and ports == (40001, 179)


def is_of_another_session(frame: bytes) -> bool:
    """The PE's own calls of its neighbour, and what it says again in a session that an earlier test
    left without a word: BGP to or from a port that is none of the probes'. No answer."""
    v4 = frame[12:14] == b"\x08\x00"
    at = 34 if v4 else 54
    if frame[23 if v4 else 20] != ip.TCP or len(frame) < at + 14:
        return False
    ports = set(struct.unpack_from("!HH", frame, at))
    return 179 in ports and not ports & {40000, 40001}


@pytest.mark.parametrize("attacker", attackers(), ids=lambda a: a.name)
def test_matrix_nothing_of_a_pe_answers(net: Net, attacker: Attacker) -> None:
    """All frames are sent in a row: what a limit has counted is forgotten within seconds."""
    owned = {ipaddress.ip_address(a).packed for a in targets()}
    frames = [
        attacker.frame(probe)
        for target in targets()
        for probe in probes(attacker.sources[":" in target], target)
    ]
    sent = len(frames)
    started = time.monotonic()
    with attacker.port.tap() as tap:
        attacker.port.send(*frames)
        net.sentinel(circuit("red", 1))
        wrong = [said for f in tap.frames() if (said := unexpected(f, attacker, owned))]
        assert sent >= 32 * len(owned)
        assert wrong == []
    assert time.monotonic() - started < SEND_SECONDS


@pytest.mark.parametrize("attacker", attackers(), ids=lambda a: a.name)
def test_matrix_its_own_gateway_below_every_limit(net: Net, attacker: Attacker) -> None:
    """The PE's address on the attacker's own link, slowly enough that no limit hides an answer."""
    owned = {ipaddress.ip_address(a).packed for a in targets()}
    with attacker.port.tap() as tap:
        for number, (source, gateway) in enumerate(
            zip(attacker.sources, attacker.gateways, strict=True)
        ):
            for probe in probes(source, gateway):
                attacker.port.send(attacker.frame(probe))
            net.sentinel(circuit("red", 1), version=6 if number else 4)
        wrong = [said for f in tap.frames() if (said := unexpected(f, attacker, owned))]
    assert wrong == []


def test_matrix_control_without_the_input_guard(net: Net) -> None:
    """The same probes to the same address are answered where nothing guards it."""
    attacker = next(a for a in attackers() if a.name == "ce-red-3")
    owned = {ipaddress.ip_address(a).packed for a in targets()}

    def answers() -> int:
        return sum(bool(unexpected(f, attacker, owned)) for f in tap.frames())

    with attacker.port.tap() as tap, Switch(net).off(Guard.INPUT, Guard.LOCAL_RULE):
        for source, gateway in zip(attacker.sources, attacker.gateways, strict=True):
            for probe in probes(source, gateway):
                attacker.port.send(attacker.frame(probe))
        assert until(lambda: answers() >= len(TCP_PORTS) * 2, 3.0), "control"


def test_matrix_the_list_is_whole(net: Net) -> None:
    """Every address that the nodes speak of is among those attacked."""
    known = set(targets())
    spoken = {a.partition("/")[0] for client in (net.pe1, net.pe2)
              for port in client.show_ports() for a in port.addresses}  # fmt: skip
    spoken |= {*net.pe1.status().loopbacks, *net.pe2.status().loopbacks}
    assert spoken <= known
    assert len(known) >= 30
