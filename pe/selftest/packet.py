"""IP packets as testers need them, right to the last checksum. ``labs.attack.ip`` has its own
makers on purpose: two that agree are worth more than one that everybody shares."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FRAGMENT = 44
SYN = 0x02
HOPS = 64


@dataclass(frozen=True, slots=True)
class Form:
    """What an IP header says beyond addresses and protocol. ``options`` are IPv4 options (padded),
    ``extensions`` IPv6 extension headers as (number, bytes without the next-header byte)."""

    ttl: int = HOPS
    tos: int = 0
    flow: int = 0
    fragment: int = 0
    """The 16 bits of flags and offset in IPv4, offset and M in IPv6; 0: no fragment."""
    options: bytes = b""
    extensions: tuple[tuple[int, bytes], ...] = ()


PLAIN = Form()


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def packet(source: str, target: str, protocol: int, body: bytes, form: Form = PLAIN) -> bytes:
    """Return a packet of the family of its addresses (RFC 791, RFC 8200)."""
    src, dst = ip_address(source).packed, ip_address(target).packed
    return (_ipv4 if len(src) == 4 else _ipv6)(src + dst, protocol, body, form)


def _ipv4(addresses: bytes, protocol: int, body: bytes, form: Form) -> bytes:
    options = form.options + b"\0" * (-len(form.options) % 4)
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBB", 0x40 | words, form.tos, words * 4 + len(body), 0x5E1F, form.fragment,
        form.ttl, protocol,
    )  # fmt: skip
    total = checksum(head + b"\0\0" + addresses + options)
    return head + struct.pack("!H", total) + addresses + options + body


def _ipv6(addresses: bytes, protocol: int, body: bytes, form: Form) -> bytes:
    extensions = list(form.extensions)
    if form.fragment:
        extensions.append((FRAGMENT, struct.pack("!BHI", 0, form.fragment, 0x5E1F)))
    following = protocol
    for number, rest in reversed(extensions):
        body = bytes([following]) + rest + body
        following = number
    first = 6 << 28 | form.tos << 20 | form.flow
    return struct.pack("!IHBB", first, len(body), following, form.ttl) + addresses + body


def _summed(source: str, target: str, protocol: int, body: bytes, at: int) -> bytes:
    """Return ``body`` with its checksum at this offset, pseudo header included."""
    src, dst = ip_address(source).packed, ip_address(target).packed
    # RFC 8200 section 8.1. RFC 9293's pseudo header of IPv4 adds up to the same.
    total = checksum(src + dst + struct.pack("!II", len(body), protocol) + body)
    if protocol == UDP:
        total = total or 0xFFFF
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]


def udp(
    source: str, target: str, port: int, payload: bytes, form: Form = PLAIN, sport: int = 40000
) -> bytes:
    """Return a datagram."""
    body = struct.pack("!HHHH", sport, port, 8 + len(payload), 0) + payload
    return packet(source, target, UDP, _summed(source, target, UDP, body, 6), form)


def syn(source: str, target: str, port: int, sport: int, form: Form = PLAIN) -> bytes:
    """Return the first segment of a connection."""
    body = struct.pack("!HHIIBBHHH", sport, port, 1000, 0, 5 << 4, SYN, 8192, 0, 0)
    return packet(source, target, TCP, _summed(source, target, TCP, body, 16), form)


def echo(source: str, target: str, payload: bytes, form: Form = PLAIN) -> bytes:
    """Return an echo request of either family."""
    if ":" in source:
        return icmp6(source, target, 128, b"\0\1\0\1" + payload, form)
    bare = b"\x08\0\0\0\0\1\0\1" + payload
    body = bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:]
    return packet(source, target, ICMP, body, form)


def icmp6(source: str, target: str, kind: int, rest: bytes, form: Form = PLAIN) -> bytes:
    """Return an ICMPv6 message; ``rest`` follows its checksum."""
    body = struct.pack("!BBH", kind, 0, 0) + rest
    return packet(source, target, ICMP6, _summed(source, target, ICMP6, body, 2), form)
