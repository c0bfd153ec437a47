"""Messages of routes and rules as the kernel writes them (fib_dump_info, fib_nl_fill_rule)."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address, ip_network

from pe.netlink import codec as nl

TABLE = 1001
STATIC, BOOT = 4, 3
UNICAST, BLACKHOLE = 1, 6


def route_body(
    prefix: str, *, table: int = TABLE, protocol: int = STATIC, kind: int = UNICAST, tos: int = 0,
    metric: int = 0, device: int = 7, via: tuple[str, ...] = (), source: str = "",
    next_hop: int = 0, sources: str = "",
) -> memoryview:  # fmt: skip
    """A route; ``via`` are its gateways, all by ``device``, ``sources`` the packets' sources."""
    net = ip_network(prefix)
    family = socket.AF_INET if net.version == 4 else socket.AF_INET6
    some = ip_network(sources) if sources else None
    lengths = net.prefixlen, some.prefixlen if some else 0
    body = struct.pack("=BBBBBBBBI", family, *lengths, tos, 0, protocol, 0, kind, 0)
    body += nl.attribute(2, some.network_address.packed) if some else b""
    body += nl.u32(15, table) + nl.attribute(1, net.network_address.packed)
    if metric:
        body += nl.u32(6, metric)
    if source:
        body += nl.attribute(7, ip_address(source).packed)
    if next_hop:
        body += nl.u32(30, next_hop)
    elif len(via) > 1:
        body += nl.attribute(9, b"".join(_member(device, gateway) for gateway in via))
    elif kind == UNICAST:
        body += nl.u32(4, device)
        body += b"".join(nl.attribute(5, ip_address(gateway).packed) for gateway in via)
    return memoryview(body)


def _member(device: int, gateway: str) -> bytes:
    attribute = nl.attribute(5, ip_address(gateway).packed)
    return struct.pack("=HBBi", 8 + len(attribute), 0, 0, device) + attribute


def message(kind: int, body: memoryview, flags: int = 0) -> nl.Message:
    return nl.Message(kind, flags, 0, 0, body)


def rule_body(
    *attributes: bytes, preference: int = 0, table: int = 255, family: int = socket.AF_INET,
    destination: int = 0, source: int = 0, tos: int = 0, action: int = 1, flags: int = 0,
) -> memoryview:  # fmt: skip
    """A rule, with what the kernel always writes: table, protocol, and that nothing is ignored."""
    head = struct.pack("=BBBBBBBBI", family, destination, source, tos, 0, 0, 0, action, flags)
    made = nl.attribute(21, b"\x02")
    always = nl.u32(15, table) + nl.u32(14, 0xFFFFFFFF) + made
    place = nl.u32(6, preference) if preference else b""
    return memoryview(head + always + place + b"".join(attributes))


def dump_buffers(bodies: list[memoryview], size: int = 32 << 10) -> list[memoryview]:
    """What recv returns one after the other for a dump, with its end."""
    buffers, buffer = [], b""
    for body in bodies:
        if len(buffer) + 16 + len(body) > size:
            buffers.append(memoryview(buffer))
            buffer = b""
        buffer += nl.HEADER.pack(16 + len(body), nl.RTM_NEWROUTE, 2, 1, 0) + body
    end = nl.HEADER.pack(20, nl.NLMSG_DONE, 2, 1, 0) + struct.pack("=i", 0)
    return [*buffers, memoryview(buffer + end)]
