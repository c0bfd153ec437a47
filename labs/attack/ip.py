"""IPv4 and IPv6 packets and what they carry, right to the last checksum unless asked otherwise.

Bytes rather than a packet library: on the lab kernel such a library takes seconds to import, and
an attack wants the malformed as easily as the well-formed.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

ICMP, TCP, UDP, GRE, ESP, AH, ICMPV6, SCTP, OSPF = 1, 6, 17, 47, 50, 51, 58, 132, 89
HOP_BY_HOP, FRAGMENT, DESTINATION = 0, 44, 60
SYN, RST, ACK, FIN, PSH = 0x02, 0x04, 0x10, 0x01, 0x08


@dataclass(frozen=True, slots=True)
class Header:
    """What an IP header says beyond addresses and protocol; ``offset`` is in 8-byte units.

    ``options`` are IPv4 options (padded to four bytes), ``extensions`` IPv6 extension headers as
    (protocol number, bytes without the first, which says what follows).
    """

    ttl: int = 64
    tos: int = 0
    flow: int = 0
    ident: int = 0
    offset: int = 0
    more: bool = False
    dont_fragment: bool = False
    options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = field(default=())


PLAIN = Header()


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, target: str, protocol: int, body: bytes, header: Header = PLAIN) -> bytes:
    """A whole packet of the family of its addresses."""
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if src.version == 4:
        return _ipv4(src.packed, dst.packed, protocol, body, header)
    return _ipv6(src.packed, dst.packed, protocol, body, header)


def _ipv4(src: bytes, dst: bytes, protocol: int, body: bytes, h: Header) -> bytes:
    options = h.options + b"\0" * (-len(h.options) % 4)
    flags = h.dont_fragment << 14 | h.more << 13 | h.offset
    words = 5 + len(options) // 4
    fixed = (0x40 | words, h.tos, words * 4 + len(body), h.ident, flags, h.ttl, protocol)
    bare = struct.pack("!BBHHHBBH", *fixed, 0) + src + dst + options
    return struct.pack("!BBHHHBBH", *fixed, checksum(bare)) + src + dst + options + body


def _ipv6(src: bytes, dst: bytes, protocol: int, body: bytes, h: Header) -> bytes:
    if h.more or h.offset:
        rest = struct.pack("!BHI", 0, h.offset << 3 | h.more, h.ident)
        extensions = (*h.extensions, (FRAGMENT, rest))
    else:
        extensions = h.extensions
    following = protocol
    for number, rest in reversed(extensions):
        body = bytes([following]) + rest + body
        following = number
    first = 6 << 28 | h.tos << 20 | h.flow
    return struct.pack("!IHBB", first, len(body), following, h.ttl) + src + dst + body


def _pseudo(source: str, target: str, protocol: int, length: int) -> bytes:
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    if src.version == 4:
        return src.packed + dst.packed + struct.pack("!HH", protocol, length)
    return src.packed + dst.packed + struct.pack("!II", length, protocol)


def udp_body(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """A UDP datagram; ``ports`` are source and destination."""
    head = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    total = checksum(_pseudo(source, target, UDP, 8 + len(payload)) + head + payload)
    return head[:6] + struct.pack("!H", total or 0xFFFF) + payload


def udp(
    source: str,
    target: str,
    port: int,
    payload: bytes = b"",
    header: Header = PLAIN,
    sport: int = 40000,
) -> bytes:
    """A packet with UDP."""
    return packet(source, target, UDP, udp_body(source, target, (sport, port), payload), header)


def tcp(
    source: str,
    target: str,
    port: int,
    flags: int = SYN,
    header: Header = PLAIN,
    *,
    sport: int = 40000,
    seq: int = 1000,
    ack: int = 0,
    payload: bytes = b"",
) -> bytes:
    """A packet with a TCP segment without options."""
    fixed = struct.pack("!HHIIBBH", sport, port, seq, ack, 5 << 4, flags, 8192)
    bare = fixed + b"\0\0\0\0" + payload
    total = checksum(_pseudo(source, target, TCP, len(bare)) + bare)
    body = fixed + struct.pack("!HH", total, 0) + payload
    return packet(source, target, TCP, body, header)


def echo(
    source: str,
    target: str,
    payload: bytes = b"",
    header: Header = PLAIN,
    *,
    ident: int = 1,
    seq: int = 1,
) -> bytes:
    """An echo request of either family."""
    if ":" not in source:
        bare = struct.pack("!BBHHH", 8, 0, 0, ident, seq) + payload
        total = checksum(bare)
        return packet(source, target, ICMP, bare[:2] + struct.pack("!H", total) + bare[4:], header)
    return icmpv6(source, target, 128, struct.pack("!HH", ident, seq) + payload, header)


def icmpv6(
    source: str, target: str, kind: int, body: bytes, header: Header = PLAIN, code: int = 0
) -> bytes:
    """An ICMPv6 message; ``body`` is what follows its checksum."""
    bare = struct.pack("!BBH", kind, code, 0) + body
    total = checksum(_pseudo(source, target, ICMPV6, len(bare)) + bare)
    return packet(source, target, ICMPV6, bare[:2] + struct.pack("!H", total) + body, header)


def version(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def fragments(whole: bytes, size: int, ident: int) -> list[bytes]:
    """An IPv4 or IPv6 packet without options in pieces of ``size`` payload bytes (a multiple of
    eight)."""
    four = whole[0] >> 4 == 4
    head, body = (whole[:20], whole[20:]) if four else (whole[:40], whole[40:])
    found = []
    for start in range(0, len(body), size):
        h = Header(
            ttl=head[8] if four else head[7],
            ident=ident,
            offset=start // 8,
            more=start + size < len(body),
        )
        piece = body[start : start + size]
        if four:
            found.append(_ipv4(head[12:16], head[16:20], head[9], piece, h))
        else:
            rest = struct.pack("!BHI", 0, h.offset << 3 | h.more, ident)
            one = Header(ttl=head[7], extensions=((FRAGMENT, rest),))
            found.append(_ipv6(head[8:24], head[24:40], head[6], piece, one))
    return found
