"""The part of a logged packet that makes a flow: addresses, protocol, ports or ICMP type. Pure."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from controlplane.model.prefix import IPAddress
from controlplane.model.protocols import ICMP, ICMP6, PORT_PROTOCOLS

_PORTS = struct.Struct(">HH")
# What the kernel skips to find the protocol (ipv6_ext_hdr): hop-by-hop, routing and destination
# options (RFC 8200 section 4); then fragment and authentication, with lengths of their own. So
# with IPv6 what is behind an authentication header is judged, and with IPv4 the header is.
_EXTENSIONS, _FRAGMENT, _AUTHENTICATION = frozenset({0, 43, 60}), 44, 51

_REQUESTS = {(ICMP, 0): 8, (ICMP, 14): 13, (ICMP, 16): 15, (ICMP, 18): 17,
             (ICMP6, 129): 128, (ICMP6, 140): 139}  # fmt: skip
"""Which type of ICMP asks for which answer (RFC 792, RFC 950, RFC 4443 section 4, RFC 4620)."""

Flow = tuple[IPAddress, IPAddress, int, int, int, int]
"""Source, destination, protocol, source port, destination port, ICMP type (-1: none)."""


def flow(packet: memoryview) -> Flow | None:
    """The flow that a packet opens; None if it is no whole IP header."""
    if len(packet) < 20:
        return None
    if packet[0] >> 4 == 4:
        source: IPAddress = IPv4Address(bytes(packet[12:16]))
        destination: IPAddress = IPv4Address(bytes(packet[16:20]))
        start, protocol = (packet[0] & 15) * 4, packet[9]
    elif packet[0] >> 4 != 6 or len(packet) < 40:
        return None
    else:
        source, destination = IPv6Address(bytes(packet[8:24])), IPv6Address(bytes(packet[24:40]))
        start, protocol = _after_extensions(packet)
    return source, destination, protocol, *_ports(packet, start, protocol)


def turned(it: Flow) -> Flow:
    """The flow to which a packet belongs that goes against its direction."""
    source, destination, protocol, sport, dport, kind = it
    return destination, source, protocol, dport, sport, _REQUESTS.get((protocol, kind), kind)


def _after_extensions(packet: memoryview) -> tuple[int, int]:
    protocol, at = packet[6], 40
    while at + 8 <= len(packet):
        if protocol in _EXTENSIONS:
            length = 8 * (packet[at + 1] + 1)
        elif protocol == _FRAGMENT:
            length = 8
        elif protocol == _AUTHENTICATION:
            length = 4 * (packet[at + 1] + 2)
        else:
            break
        protocol, at = packet[at], at + length
    return at, protocol


def _ports(packet: memoryview, start: int, protocol: int) -> tuple[int, int, int]:
    if protocol in PORT_PROTOCOLS and start + 4 <= len(packet):
        source, destination = _PORTS.unpack_from(packet, start)
        return source, destination, -1
    if protocol in (ICMP, ICMP6) and start < len(packet):
        return 0, 0, packet[start]
    return 0, 0, -1
