"""Read the routes of the main table, of every routing protocol, with their labels."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from controlplane.model.prefix import IPAddress, Prefix
from pe.netlink import codec as nl
from pe.netlink.mpls import parse_encap
from pe.netlink.ownership import PROTOCOL

MAIN = 254
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTNH = struct.Struct("=HBBi")
_DST, _OIF, _GATEWAY, _PRIORITY, _MULTIPATH = 1, 4, 5, 6, 9
_TABLE, _VIA, _ENCAP_TYPE, _ENCAP, _NH_ID = 15, 18, 21, 22, 30
_CLONED = 0x200
_UNICAST = 1
_DEAD = 0x1


@dataclass(frozen=True, slots=True)
class RawPath:
    """Describe a path as in the kernel's message: the device by number; ``labels`` None for
    another kind of encapsulation, which no VPN route can use."""

    oif: int
    gateway: IPAddress | None
    labels: tuple[int, ...] | None
    weight: int = 1
    dead: bool = False


@dataclass(frozen=True, slots=True)
class MainRoute:
    """Describe a unicast route of the main table; ``next_hop`` is an object's id, 0 if none."""

    prefix: Prefix
    tos: int
    metric: int
    paths: tuple[RawPath, ...]
    next_hop: int = 0


def dump(sock: nl.NetlinkSocket, device: int = 0) -> Iterator[MainRoute]:
    """Yield every route of the main table, both families, or those that use one device (by number);
    the kernel filters. A device that is gone has none."""
    only = nl.u32(_OIF, device) if device else b""
    for family in (socket.AF_INET, socket.AF_INET6):
        # The header's table field has room for main (254): no RTA_TABLE is needed.
        body = _RTMSG.pack(family, 0, 0, 0, MAIN, 0, 0, 0, 0) + only
        try:
            answer = sock.dump(nl.RTM_GETROUTE, body)
        except OSError as error:
            if device and error.errno == errno.ENODEV:
                continue
            raise
        for message in answer:
            route = parse(message.body)
            if route:
                yield route


def parse(body: memoryview) -> MainRoute | None:
    """Read a route message; None if it is not of the main table, not unicast, or ours."""
    family, length, _, tos, short_table, protocol, _, kind, flags = _RTMSG.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6) or flags & _CLONED or kind != _UNICAST:
        return None
    found = nl.attributes(body[12:])
    table = nl.number(found[_TABLE]) if _TABLE in found else short_table
    if table != MAIN or protocol == PROTOCOL:
        return None
    metric = nl.number(found[_PRIORITY]) if _PRIORITY in found else 0
    next_hop = nl.number(found[_NH_ID]) if _NH_ID in found else 0
    ways = () if next_hop else tuple(paths(found, flags))
    return MainRoute(destination(family, length, found), tos, metric, ways, next_hop)


def destination(family: int, length: int, found: dict[int, memoryview]) -> Prefix:
    """Return the prefix of a route message; that of length 0 comes without an address."""
    size = 4 if family == socket.AF_INET else 16
    return Prefix(bytes(found[_DST]) if _DST in found else bytes(size), length)


def paths(found: dict[int, memoryview], flags: int) -> Iterator[RawPath]:
    """Yield the paths of a route message; one without device and gateway if it has none."""
    if _MULTIPATH not in found:
        yield _path(found, nl.number(found[_OIF]) if _OIF in found else 0, 1, flags)
        return
    members = found[_MULTIPATH]
    at = 0
    while at + 8 <= len(members):
        size, member_flags, hops, oif = _RTNH.unpack_from(members, at)
        if size < 8:
            return
        yield _path(nl.attributes(members[at + 8 : at + size]), oif, hops + 1, member_flags)
        at += (size + 3) & ~3


def _path(found: dict[int, memoryview], oif: int, weight: int, flags: int) -> RawPath:
    labels = parse_encap(found, _ENCAP_TYPE, _ENCAP)
    return RawPath(oif, gateway(found), labels, weight, bool(flags & _DEAD))


def gateway(found: dict[int, memoryview]) -> IPAddress | None:
    """Return the gateway of a route or path; None on the link."""
    if _GATEWAY in found:
        return ip_address(bytes(found[_GATEWAY]))
    if _VIA in found:  # an IPv4 route by an IPv6 gateway (RFC 5549): family, then address
        return ip_address(bytes(found[_VIA][2:]))
    return None
