"""IPv4 and IPv6 packets and what they carry, built by scapy, right to the last checksum.

An attack gets bytes, so that it can cut, patch and repeat them: a flood of a thousand frames that
differ in one field is one build and a thousand patches.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from scapy.layers import inet, inet6
from scapy.packet import Packet, Raw
from scapy.utils import checksum as scapy_checksum

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
    """Return the Internet checksum (RFC 1071)."""
    return int(scapy_checksum(data))


def packet(source: str, target: str, protocol: int, body: bytes, header: Header = PLAIN) -> bytes:
    """Build a whole packet of the family of its addresses."""
    if version(source) == 4:
        return _ipv4(source, target, protocol, body, header)
    return _ipv6(source, target, protocol, body, header)


def _ipv4(source: str, target: str, protocol: int, body: bytes, h: Header) -> bytes:
    head = inet.IP(
        src=source, dst=target, proto=protocol, ttl=h.ttl, tos=h.tos, id=h.ident, frag=h.offset,
        flags=h.dont_fragment << 1 | h.more,
        options=[inet.IPOption(h.options)] if h.options else [],
    )  # fmt: skip
    return bytes(head / Raw(body))


def _ipv6(source: str, target: str, protocol: int, body: bytes, h: Header) -> bytes:
    extensions = h.extensions
    if h.more or h.offset:
        piece = inet6.IPv6ExtHdrFragment(nh=0, offset=h.offset, m=int(h.more), id=h.ident)
        extensions = (*extensions, (FRAGMENT, bytes(piece)[1:]))
    following = protocol
    for number, rest in reversed(extensions):
        body = bytes([following]) + rest + body
        following = number
    head = inet6.IPv6(src=source, dst=target, tc=h.tos, fl=h.flow, hlim=h.ttl, nh=following)
    return bytes(head / Raw(body))


def carried(source: str, target: str, layer: Packet) -> bytes:
    """Build what an IP header carries; its checksum covers the addresses."""
    if version(source) == 4:
        return bytes(inet.IP(src=source, dst=target) / layer)[20:]
    return bytes(inet6.IPv6(src=source, dst=target) / layer)[40:]


def udpcarried(source: str, target: str, ports: tuple[int, int], payload: bytes) -> bytes:
    """Build a UDP datagram; ``ports`` are source and destination."""
    sport, dport = ports
    return carried(source, target, inet.UDP(sport=sport, dport=dport) / Raw(payload))


def udp(
    source: str,
    target: str,
    port: int,
    payload: bytes = b"",
    header: Header = PLAIN,
    sport: int = 40000,
) -> bytes:
    """Build a packet with UDP."""
    return packet(source, target, UDP, udpcarried(source, target, (sport, port), payload), header)


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
    """Build a packet with a TCP segment without options."""
    segment = inet.TCP(sport=sport, dport=port, seq=seq, ack=ack, flags=flags)
    return packet(source, target, TCP, carried(source, target, segment / Raw(payload)), header)


def echo(
    source: str,
    target: str,
    payload: bytes = b"",
    header: Header = PLAIN,
    *,
    ident: int = 1,
    seq: int = 1,
) -> bytes:
    """Build an echo request of either family."""
    if version(source) == 4:
        body = bytes(inet.ICMP(type=8, id=ident, seq=seq) / Raw(payload))
        return packet(source, target, ICMP, body, header)
    request = inet6.ICMPv6EchoRequest(id=ident, seq=seq, data=payload)
    return packet(source, target, ICMPV6, carried(source, target, request), header)


def icmpv6(
    source: str, target: str, kind: int, body: bytes, header: Header = PLAIN, code: int = 0
) -> bytes:
    """Build an ICMPv6 message; ``body`` is what follows its checksum."""
    message = inet6.ICMPv6Unknown(type=kind, code=code, msgbody=body)
    return packet(source, target, ICMPV6, carried(source, target, message), header)


def version(address: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in address else 4


def fragments(whole: bytes, size: int, ident: int) -> list[bytes]:
    """Cut a packet without options into pieces of ``size`` payload bytes (a multiple of eight)."""
    if whole[0] >> 4 == 4:
        packet4 = inet.IP(whole)
        packet4.id = ident
        return [bytes(piece) for piece in inet.fragment(packet4, fragsize=size)]
    packet6 = inet6.IPv6(whole)
    body, pieces = whole[40:], []
    for start in range(0, len(body), size):
        more = start + size < len(body)
        h = Header(packet6.hlim, ident=ident, offset=start // 8, more=more)
        rest = bytes(inet6.IPv6ExtHdrFragment(nh=0, offset=h.offset, m=int(more), id=ident))[1:]
        one = Header(packet6.hlim, extensions=((FRAGMENT, rest),))
        piece = body[start : start + size]
        pieces.append(_ipv6(packet6.src, packet6.dst, packet6.nh, piece, one))
    return pieces


def varied(
    packet: bytes, at: int | Sequence[int], values: Iterable[int], *checksums: int
) -> Iterator[bytes]:
    """Yield a packet once for each value of the 16-bit field at one offset or several, for floods.

    ``checksums`` are the offsets of those that cover the field; they are updated, not computed
    anew (RFC 1624), which costs a hundredth of building the packet.
    """
    fields = [(place, *struct.unpack_from("!H", packet, place)) for place in _offsets(at)]
    sums = [(place, *struct.unpack_from("!H", packet, place)) for place in checksums]
    for value in values:
        changed = bytearray(packet)
        for place, _ in fields:
            struct.pack_into("!H", changed, place, value)
        for place, former in sums:
            total = (~former & 0xFFFF) + sum((~old & 0xFFFF) + value for _, old in fields)
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            struct.pack_into("!H", changed, place, ~total & 0xFFFF)
        yield bytes(changed)


def _offsets(at: int | Sequence[int]) -> Sequence[int]:
    return [at] if isinstance(at, int) else at


def ports_at(address: str) -> tuple[int, int]:
    """Return the offsets of source and destination port in a packet without options."""
    return (20, 22) if version(address) == 4 else (40, 42)


def sum_at(address: str, protocol: int) -> int:
    """Return the offset of the TCP or UDP checksum in a packet without options."""
    return (20 if version(address) == 4 else 40) + (16 if protocol == TCP else 6)
