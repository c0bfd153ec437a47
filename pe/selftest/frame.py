"""What is around IP packets and beside them: Ethernet and its tags, labels, ARP, neighbour
discovery; and how to read them again."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pe.selftest.packet import ICMP, ICMP6, TCP, Form, icmp6

ARP, IPV4, IPV6, MPLS, MPLS_MULTICAST = 0x0806, 0x0800, 0x86DD, 0x8847, 0x8848
VLAN, SERVICE_VLAN = 0x8100, 0x88A8
BROADCAST = b"\xff" * 6
SOLICITATION, ADVERTISEMENT = 135, 136
Tag = tuple[int, int]
"""Ethertype and VID."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame taken apart: ``labels`` are (label, TTL), outermost first; ``payload`` what is under
    tags and labels."""

    source: bytes
    tags: tuple[int, ...]
    kind: int
    labels: tuple[tuple[int, int], ...]
    payload: bytes

    @property
    def sender(self) -> str:
        """Return the source address of the IP packet inside, "" if there is none."""
        if self.kind == IPV6 and len(self.payload) >= 40:
            return str(IPv6Address(self.payload[8:24]))
        if self.kind == IPV4 and len(self.payload) >= 20:
            return str(IPv4Address(self.payload[12:16]))
        return ""

    @property
    def upper(self) -> tuple[int, bytes]:
        """Return protocol and body of the IP packet inside; extension headers are not followed."""
        if self.kind == IPV6 and len(self.payload) > 40:
            return self.payload[6], self.payload[40:]
        if self.kind == IPV4 and len(self.payload) > 20:
            return self.payload[9], self.payload[(self.payload[0] & 15) * 4 :]
        return -1, b""

    @property
    def unreachable(self) -> bool:
        """Return True for an ICMP error that says so (RFC 792, RFC 4443)."""
        protocol, body = self.upper
        return (protocol, body[:1]) in ((ICMP, b"\x03"), (ICMP6, b"\x01"))

    @property
    def expired(self) -> bool:
        """Return True for an ICMP error about a TTL or hop limit."""
        protocol, body = self.upper
        return (protocol, body[:1]) in ((ICMP, b"\x0b"), (ICMP6, b"\x03"))

    def is_tcp_to(self, port: int) -> bool:
        """Return True for a segment to this port."""
        protocol, body = self.upper
        return protocol == TCP and body[2:4] == struct.pack("!H", port)


def parse(data: bytes) -> Frame:
    """Take a frame apart; what is cut short ends where it ends."""
    at, tags, labels = 12, list[int](), list[tuple[int, int]]()
    kind = int.from_bytes(data[at : at + 2], "big")
    while kind in (VLAN, SERVICE_VLAN):
        tags.append(int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF)
        at += 4
        kind = int.from_bytes(data[at : at + 2], "big")
    at += 2
    while kind == MPLS and len(data) >= at + 4:
        entry = int.from_bytes(data[at : at + 4], "big")
        labels.append((entry >> 12, entry & 0xFF))
        at += 4
        if entry & 0x100:
            kind = IPV6 if data[at : at + 1] and data[at] >> 4 == 6 else IPV4
    return Frame(data[6:12], tuple(tags), kind, tuple(labels), data[at:])


def ethernet(
    target: bytes, source: bytes, kind: int, payload: bytes, tags: Sequence[Tag] = ()
) -> bytes:
    """Return a frame; ``tags`` outermost first."""
    return target + source + b"".join(struct.pack("!HH", *t) for t in tags) + struct.pack(
        "!H", kind
    ) + payload  # fmt: skip


def ethertype(packet: bytes) -> int:
    """Return the ethertype of a bare IP packet."""
    return IPV6 if packet[0] >> 4 == 6 else IPV4


def stacked(labels: Sequence[int], inner: bytes, *, ttl: int = 64, bottom: bool = True) -> bytes:
    """Return a label stack over a packet (RFC 3032); ``bottom=False`` leaves the S bit out."""
    last = len(labels) - 1
    entries = (
        label << 12 | (0x100 if bottom and at == last else 0) | ttl
        for at, label in enumerate(labels)
    )
    return b"".join(entry.to_bytes(4, "big") for entry in entries) + inner


def arp(operation: int, sender: bytes, own: str, asked: str, target: bytes = bytes(6)) -> bytes:
    """Return an ARP packet: 1 asks, 2 answers."""
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + sender + IPv4Address(own).packed + target + IPv4Address(asked).packed


def arp_fields(frame: Frame) -> tuple[int, str, str] | None:
    """Return operation, sender's and target's address; None if it is no ARP."""
    body = frame.payload
    if frame.kind != ARP or len(body) < 28:
        return None
    sender, target = IPv4Address(body[14:18]), IPv4Address(body[24:28])
    return int.from_bytes(body[6:8], "big"), str(sender), str(target)


def solicitation(sender: bytes, own: str, asked: str) -> tuple[bytes, bytes]:
    """Return the multicast MAC of a neighbour solicitation, and its packet (RFC 4861)."""
    low = IPv6Address(asked).packed[-3:]
    group = str(IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + low))
    rest = bytes(4) + IPv6Address(asked).packed + b"\x01\x01" + sender
    return b"\x33\x33\xff" + low, icmp6(own, group, SOLICITATION, rest, Form(ttl=255))


def advertisement(sender: bytes, own: str, to: str) -> bytes:
    """Return the answer to a solicitation: ``own`` is at this MAC."""
    rest = b"\x60\0\0\0" + IPv6Address(own).packed + b"\x02\x01" + sender
    return icmp6(own, to, ADVERTISEMENT, rest, Form(ttl=255))


def discovery_target(frame: Frame, kind: int) -> str:
    """Return the address that a solicitation or advertisement is about, "" if it is neither."""
    protocol, body = frame.upper
    if protocol != ICMP6 or len(body) < 24 or body[0] != kind:
        return ""
    return str(IPv6Address(body[8:24]))
