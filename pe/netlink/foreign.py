"""Read, and remove, the routes that other programs put into the VRFs' tables."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import NamedTuple

from controlplane.model.prefix import Prefix
from pe.netlink import codec as nl
from pe.netlink.main_routes import RawPath, destination, paths
from pe.netlink.ownership import PROTOCOL

_RTMSG = struct.Struct("=BBBBBBBBI")
_START = struct.Struct("=IHH")
_HEADER, _MAKER = 16, 5
"""Length of a message's header, and where in the message behind it its maker is."""
_DST, _SRC, _PRIORITY, _SOURCE, _METRICS, _FLOW = 1, 2, 6, 7, 8, 11
_TABLE, _PREFERENCE, _ENCAP, _NH_ID = 15, 20, 22, 30
_REST = (_METRICS, _FLOW, _PREFERENCE, _ENCAP)
_CLONED = 0x200
_ANY_SCOPE = 255
_NOT_FOREIGN = frozenset({PROTOCOL, 1, 2})
"""Ours, RTPROT_REDIRECT and RTPROT_KERNEL: redirects are not accepted, and the kernel's routes
follow from devices and addresses."""


@dataclass(frozen=True, slots=True)
class RouteKey:
    """Hold the kernel's key of a route within its table: in IPv4 prefix, TOS and metric
    (fib_find_alias), in IPv6 prefix, source prefix and metric (fib6_add_rt2node)."""

    prefix: Prefix
    metric: int
    tos: int = 0
    source: Prefix | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """Say who made a route and where it leads: ``kind`` is the type of the route (RTN_*),
    ``next_hop`` the id of an object, 0 for none; ``source`` is the address that packets of this
    machine get, ``rest`` the other attributes by which two routes of one key differ."""

    protocol: int
    kind: int
    hops: tuple[RawPath, ...] = ()
    next_hop: int = 0
    source: bytes = b""
    rest: bytes = b""

    @property
    def is_foreign(self) -> bool:
        """True if another program made it."""
        return self.protocol not in _NOT_FOREIGN


class ForeignRoute(NamedTuple):
    """A route in a VRF's table: one way of one key."""

    table: int
    key: RouteKey
    way: Way


def parse_route(body: memoryview, tables: Collection[int]) -> ForeignRoute | None:
    """Read a route message, of any maker; None if it is in none of these tables."""
    family, length, source_length, tos, table, maker, scope, kind, flags = _RTMSG.unpack_from(body)
    if family not in (socket.AF_INET, socket.AF_INET6) or flags & _CLONED:
        return None
    found = nl.attributes(body[12:])
    table = nl.number(found[_TABLE]) if _TABLE in found else table
    if table not in tables:
        return None
    metric = nl.number(found[_PRIORITY]) if _PRIORITY in found else 0
    source = Prefix(bytes(found[_SRC]), source_length) if _SRC in found else None
    key = RouteKey(destination(family, length, found), metric, tos, source)
    next_hop = nl.number(found[_NH_ID]) if _NH_ID in found else 0
    # Whether a path is dead is no part of it: that changes without a notification.
    hops = () if next_hop else tuple(replace(path, dead=False) for path in paths(found, flags))
    if family == socket.AF_INET6:  # an event has them in another order than a dump
        hops = tuple(sorted(hops, key=lambda hop: (hop.oif, hop.gateway is None, hop.gateway)))
    preferred = bytes(found[_SOURCE]) if _SOURCE in found else b""
    rest = bytes([scope, *(byte for a in _REST if a in found for byte in (a, *found[a]))])
    return ForeignRoute(table, key, Way(maker, kind, hops, next_hop, preferred, rest))


def dump_routes(
    sock: nl.NetlinkSocket, table: int, most: int
) -> tuple[list[ForeignRoute], int, bool]:
    """Read the foreign routes of a table, up to so many, in the kernel's order. Returns them, how
    many more there are, and False if the kernel changed the table meanwhile. Raises OSError.

    For a thread. The table may have a million routes of ours: they are passed over by one byte
    each, in portions of a receive buffer, between which other threads go on. (200,000 messages in
    one list held the interpreter for 80 ms when the list was freed.)
    """
    portions = _Portions(table, most)
    for family in (socket.AF_INET, socket.AF_INET6):
        body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + nl.u32(_TABLE, table)
        try:
            sock.stream(nl.RTM_GETROUTE, body, portions.cut)
        except OSError as error:
            if error.errno != errno.ENOENT:  # a table without any route of the family
                raise
    return portions.routes, portions.more, portions.is_whole


class _Portions:
    def __init__(self, table: int, most: int) -> None:
        self.routes: list[ForeignRoute] = []
        self.more, self.is_whole = 0, True
        self._tables, self._most = (table,), most

    def cut(self, data: memoryview) -> nl.Message | None:
        """Take in one buffer; returns the end of the dump, if it is in it."""
        at, end = 0, len(data)
        while at + _HEADER <= end:
            length, kind, flags = _START.unpack_from(data, at)
            if length < _HEADER:
                break
            self.is_whole = self.is_whole and not flags & nl.NLM_F_DUMP_INTR
            if kind == nl.NLMSG_DONE:
                return next(nl.messages(data[at:]))
            if data[at + _HEADER + _MAKER] not in _NOT_FOREIGN:
                self._keep(data[at + _HEADER : at + length])
            at += (length + 3) & ~3
        return None

    def _keep(self, body: memoryview) -> None:
        if len(self.routes) >= self._most:
            self.more += 1
        elif route := parse_route(body, self._tables):
            self.routes.append(route)


def delete_route(sock: nl.NetlinkSocket, route: ForeignRoute) -> None:
    """Remove a route. Raises OSError: ESRCH if the kernel has none of this key and maker."""
    key, way = route.key, route.way
    if not way.protocol:
        # The kernel takes 0 for any maker (fib_table_delete), so for one of ours or its own too.
        raise OSError(errno.EOPNOTSUPP, "a route without a maker (proto 0) is removed by hand only")
    family = socket.AF_INET if len(key.prefix.packed) == 4 else socket.AF_INET6
    source = key.source.length if key.source else 0
    # One by a blackhole object is shown as a blackhole route, and kept as a unicast route.
    kind = 0 if way.next_hop else way.kind
    head = _RTMSG.pack(
        family, key.prefix.length, source, key.tos, 0, way.protocol, _ANY_SCOPE, kind, 0
    )
    body = head + nl.u32(_TABLE, route.table) + nl.u32(_PRIORITY, key.metric)
    if key.prefix.length:
        body += nl.attribute(_DST, key.prefix.packed)
    if key.source:
        body += nl.attribute(_SRC, key.source.packed)
    if way.next_hop:
        body += nl.u32(_NH_ID, way.next_hop)
    sock.request(nl.RTM_DELROUTE, 0, body)
