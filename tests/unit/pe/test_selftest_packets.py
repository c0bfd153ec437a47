"""What a selftest sends is what the attackers of the labs send: two makers that agree."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from labs.attack import ip, link
from pe.selftest import frame as fr
from pe.selftest import packet as pk
from pe.selftest.world import VERSIONS, ce, gateway, host

MAC, OTHER = bytes.fromhex("025e1f000001"), bytes.fromhex("025e1f000002")
both = pytest.mark.parametrize("version", VERSIONS)


@both
def test_packets_are_those_of_the_labs(version: int) -> None:
    ends = host(1, version), host(2, version)
    theirs, ours = ip.Header(ttl=9, tos=0xB9, ident=0x5E1F), pk.Form(ttl=9, tos=0xB9)
    assert pk.udp(*ends, 9, b"odd", ours) == ip.udp(*ends, 9, b"odd", theirs)
    assert pk.echo(*ends, b"token", ours) == ip.echo(*ends, b"token", theirs)
    assert pk.packet(*ends, 47, b"xx", ours) == ip.packet(*ends, 47, b"xx", theirs)
    syn, theirs_syn = pk.syn(*ends, 179, 40000, ours), ip.tcp(*ends, 179, header=theirs)
    assert syn[:40] == theirs_syn[:40]


@both
def test_fragments(version: int) -> None:
    ends = ce(1, version), gateway(1, version)
    pieces = ip.fragments(pk.udp(*ends, 9, b"x" * 32), 24, 0x5E1F)
    body = pk.udp(*ends, 9, b"x" * 32)[20 if version == 4 else 40 :]
    forms = (0x2000, 3) if version == 4 else (1, 3 << 3)
    made = [
        pk.packet(*ends, pk.UDP, part, pk.Form(fragment=form))
        for part, form in zip((body[:24], body[24:]), forms, strict=True)
    ]
    assert made == pieces


def test_options_are_padded_and_counted() -> None:
    packet = pk.udp(host(1, 4), host(2, 4), 9, b"", pk.Form(options=b"\x94\x04\0\0\x01"))
    assert packet[0] == 0x47
    assert pk.checksum(packet[:28]) == 0


def test_extensions_follow_each_other() -> None:
    form = pk.Form(extensions=((0, b"\0\x05\x02\0\0\x01\0"), (43, b"\0" * 7)))
    packet = pk.udp(host(1, 6), host(2, 6), 9, b"", form)
    assert (packet[6], packet[40], packet[48]) == (0, 43, pk.UDP)
    assert int.from_bytes(packet[4:6], "big") == len(packet) - 40


def test_frames_under_tags_and_labels() -> None:
    inner = pk.udp(host(2, 4), host(1, 4), 9, b"token")
    stack = fr.stacked([16, 17], inner, ttl=5)
    tags = ((fr.SERVICE_VLAN, 50), (fr.VLAN, 60))
    frame = fr.ethernet(MAC, OTHER, fr.MPLS, stack, tags)
    labels = link.labelled([16, 17], inner, ttl=5)
    assert frame == link.ethernet(MAC, OTHER, link.MPLS, labels, ((link.QINQ, 50), 60))
    seen = fr.parse(frame)
    assert (seen.tags, seen.labels, seen.kind) == ((50, 60), ((16, 5), (17, 5)), fr.IPV4)
    assert (seen.payload, seen.sender, seen.source) == (inner, host(2, 4), OTHER)


def test_questions_of_the_link() -> None:
    assert fr.arp(1, MAC, ce(1, 4), gateway(1, 4)) == link.arp(1, MAC, ce(1, 4), gateway(1, 4))
    target, packet = fr.solicitation(MAC, ce(1, 6), gateway(1, 6))
    frame = fr.ethernet(target, MAC, fr.IPV6, packet)
    assert frame == link.solicitation(MAC, ce(1, 6), gateway(1, 6))
    assert fr.discovery_target(fr.parse(frame), fr.SOLICITATION) == gateway(1, 6)
    answer = fr.parse(fr.ethernet(MAC, OTHER, fr.ARP, fr.arp(2, OTHER, "198.18.1.1", "0.0.0.0")))
    assert fr.arp_fields(answer) == (2, "198.18.1.1", "0.0.0.0")
    said = fr.ethernet(MAC, OTHER, fr.IPV6, fr.advertisement(OTHER, gateway(1, 6), ce(1, 6)))
    assert fr.discovery_target(fr.parse(said), fr.ADVERTISEMENT) == gateway(1, 6)
    assert link.advertisements([said], str(ip_address(gateway(1, 6)))) == 1


@both
def test_errors_are_known(version: int) -> None:
    kinds = ((3, "unreachable"), (11, "expired")) if version == 4 else ((1, "unreachable"),
                                                                       (3, "expired"))  # fmt: skip
    for kind, name in kinds:
        protocol = pk.ICMP if version == 4 else pk.ICMP6
        packet = pk.packet(gateway(1, version), host(1, version), protocol, bytes([kind]) + b"xxx")
        seen = fr.parse(fr.ethernet(MAC, OTHER, fr.ethertype(packet), packet))
        assert getattr(seen, name)
        assert seen.sender == gateway(1, version)


def test_what_is_cut_short_is_read_as_far_as_it_goes() -> None:
    whole = fr.ethernet(
        MAC, OTHER, fr.MPLS, fr.stacked([16], pk.udp(host(2, 6), host(1, 6), 9, b""))
    )
    for length in range(len(whole)):
        seen = fr.parse(whole[:length])
        assert not seen.is_tcp_to(9)
        assert fr.arp_fields(seen) is None
