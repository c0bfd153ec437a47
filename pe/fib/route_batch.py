"""The hot path: routes as raw rtnetlink messages, thousands in one send.

A message is the template of its table, length and next hop with the prefix put in: 60 bytes
for IPv4. No acknowledgement is asked for, so the kernel answers for errors only, each with the
sequence number of its message, and has answered when send(2) returns (netlink_rcv_skb).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from controlplane.model.prefix import Prefix
from pe.netlink import codec as nl
from pe.netlink.main_routes import destination
from pe.netlink.ownership import PROTOCOL, ROUTE_METRIC, UNREACHABLE_METRIC

SEND_ROUTES = 2000
"""Routes in one send: enough to make its cost vanish, few enough that the event loop and the
other sessions' keepalives get their turn (about 5 ms)."""

KEPT_TAILS = 4096
"""Next hops whose attribute is kept packed."""

Change: TypeAlias = tuple[Prefix, int]
"""A prefix and the id of the next hop to point it at, 0 to remove it."""

_SCOPE_ANY = 255
_UNICAST = 1
_DST, _PRIORITY, _TABLE, _NH_ID = 1, 6, 15, 30
_PUT = nl.NLM_F_REQUEST | nl.NLM_F_CREATE | nl.NLM_F_REPLACE
_METRIC = nl.u32(_PRIORITY, ROUTE_METRIC)
_RTMSG = struct.Struct("=BBBBBBBBI")
_IPV4 = struct.Struct("=IHHII32s4s8s")
_IPV6 = struct.Struct("=IHHII32s16s8s")
_IPV4_GONE = struct.Struct("=IHHII32s4s")
_IPV6_GONE = struct.Struct("=IHHII32s16s")

_START = struct.Struct("=IHH")
# Header, rtmsg, RTA_TABLE, RTA_DST, RTA_PRIORITY, RTA_NH_ID; IPv6 adds cache info and preference.
_SEEN_4 = struct.Struct("=17xB3xB6x4sI4s4s4s4x4sI")
_SEEN_6 = struct.Struct("=17xB3xB6x4sI4s16s4s4x4sI44x")
_TABLE_HEAD = struct.pack("=HH", 8, _TABLE)
_PRIORITY_HEAD = struct.pack("=HH", 8, _PRIORITY)
_NH_ID_HEAD = struct.pack("=HH", 8, _NH_ID)


def _middle(size: int, length: int, table: int, scope: int) -> bytes:
    """All between the header and the prefix: rtmsg, table, metric, and the prefix's own head."""
    family = socket.AF_INET if size == 4 else socket.AF_INET6
    message = _RTMSG.pack(family, length, 0, 0, 0, PROTOCOL, scope, _UNICAST, 0)
    return message + nl.u32(_TABLE, table) + _METRIC + struct.pack("=HH", 4 + size, _DST)


class RouteEncoder:
    """Packs the changes of one table, keeping the templates that it has used."""

    def __init__(self, table: int) -> None:
        self._put = {size: [_middle(size, n, table, 0) for n in range(129)] for size in (4, 16)}
        self._gone = {
            size: [_middle(size, n, table, _SCOPE_ANY) for n in range(129)] for size in (4, 16)
        }
        self._tails: dict[int, bytes] = {}

    def encode(self, changes: Sequence[Change], seq: int) -> bytes:
        """Return the messages of these changes, numbered from ``seq``."""
        out: list[bytes] = []
        put4, put6, tails = self._put[4], self._put[16], self._tails
        for prefix, next_hop in changes:
            packed = prefix.packed
            if not next_hop:
                out.append(self._removal(prefix, seq))
            else:
                tail = tails.get(next_hop) or self._tail(next_hop)
                if len(packed) == 4:
                    middle = put4[prefix.length]
                    out.append(_IPV4.pack(60, nl.RTM_NEWROUTE, _PUT, seq, 0, middle, packed, tail))
                else:
                    middle = put6[prefix.length]
                    out.append(_IPV6.pack(72, nl.RTM_NEWROUTE, _PUT, seq, 0, middle, packed, tail))
            seq += 1
        return b"".join(out)

    def _tail(self, next_hop: int) -> bytes:
        if len(self._tails) >= KEPT_TAILS:
            self._tails.clear()  # ids are not used twice: those of the past would pile up
        return self._tails.setdefault(next_hop, nl.u32(_NH_ID, next_hop))

    def _removal(self, prefix: Prefix, seq: int) -> bytes:
        # Protocol, metric and type are given, so nothing but a route of ours can match.
        packed, middle = prefix.packed, self._gone[len(prefix.packed)][prefix.length]
        layout = _IPV4_GONE if len(packed) == 4 else _IPV6_GONE
        return layout.pack(layout.size, nl.RTM_DELROUTE, nl.NLM_F_REQUEST, seq, 0, middle, packed)


class RouteWriter:
    """Sends route changes over a socket of its own: its port id marks a notification as ours."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket()
        self._encoders: dict[int, RouteEncoder] = {}

    @property
    def pid(self) -> int:
        """The port id that the kernel's notifications of our own changes carry."""
        return self._socket.pid

    def write(self, table: int, changes: Sequence[Change]) -> dict[Prefix, OSError]:
        """Put or remove up to SEND_ROUTES routes; return those that the kernel refused."""
        encoder = self._encoders.get(table)
        if encoder is None:
            encoder = self._encoders[table] = RouteEncoder(table)
        first = self._socket.take_seqs(len(changes))
        self._socket.send(encoder.encode(changes, first))
        refused: dict[Prefix, OSError] = {}
        for message in self._socket.receive():
            error = nl.refusal(message) if message.type == nl.NLMSG_ERROR else None
            if error and 0 <= message.seq - first < len(changes):
                refused[changes[message.seq - first][0]] = error
        return refused

    def dump(self, table: int = 0) -> list[tuple[int, Prefix, int]]:
        """Return our routes of a table (0: of all) as (table, prefix, next-hop id).

        Raises OSError, also where the kernel broke the dump off: the routes that it left out would
        count as lost.
        """
        for _ in range(nl.DUMPS):
            found = OwnRoutes()
            self._dump(table, found)
            if found.is_whole:
                break
        return found.routes

    def _dump(self, table: int, found: OwnRoutes) -> None:
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _RTMSG.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
            body += nl.u32(_TABLE, table) if table else b""
            try:
                self._socket.stream(nl.RTM_GETROUTE, body, found.cut)
            except OSError as error:
                if not table or error.errno != errno.ENOENT:  # a table without any route
                    raise

    def forget(self, table: int) -> None:
        """The table is no longer used: drop its templates."""
        self._encoders.pop(table, None)

    def close(self) -> None:
        """Close the socket; the routes stay."""
        self._socket.close()


class OwnRoutes:
    """Our routes in a dump, as (table, prefix, next-hop id).

    Messages that look as the kernel writes ours (fib_dump_info, rt6_fill_node) are read with
    one unpack each, others attribute by attribute. ``is_whole`` is False if the kernel changed
    meanwhile.
    """

    def __init__(self) -> None:
        self.routes: list[tuple[int, Prefix, int]] = []
        self.is_whole = True

    def cut(self, data: memoryview) -> nl.Message | None:
        """Take in one buffer; returns the end of the dump, if it is in it."""
        at, end, interrupted = 0, len(data), 0
        done = None
        while at + 16 <= end and done is None:
            total, kind, flags = _START.unpack_from(data, at)
            if total < 16:
                break
            interrupted |= flags & nl.NLM_F_DUMP_INTR
            if kind == nl.RTM_NEWROUTE:
                body = data[at + 16 : at + total]
                if route := _read_as_written(data, at, total) or parse_own_route(body):
                    self.routes.append(route)
            elif kind == nl.NLMSG_DONE:
                done = next(nl.messages(data[at:]))
            at += (total + 3) & ~3
        self.is_whole = self.is_whole and not interrupted
        return done


def _read_as_written(data: memoryview, at: int, total: int) -> tuple[int, Prefix, int] | None:
    layout = _SEEN_4 if total == _SEEN_4.size else _SEEN_6 if total == _SEEN_6.size else None
    if layout is None:
        return None
    length, protocol, t_head, table, d_head, packed, p_head, nh_head, next_hop = layout.unpack_from(
        data, at
    )
    as_expected = (
        t_head == _TABLE_HEAD
        and p_head == _PRIORITY_HEAD
        and nh_head == _NH_ID_HEAD
        and d_head[2] == _DST
        and protocol == PROTOCOL
    )
    return (table, Prefix(packed, length), next_hop) if as_expected else None


def parse_own_route(body: memoryview) -> tuple[int, Prefix, int] | None:
    """Read (table, prefix, next-hop id), None if it is not one of our VPN routes."""
    family, length, protocol = body[0], body[1], body[5]
    found = nl.attributes(body[12:])
    next_hop = found.get(_NH_ID)
    if protocol != PROTOCOL or next_hop is None or _TABLE not in found:
        return None
    return nl.number(found[_TABLE]), destination(family, length, found), nl.number(next_hop)


class Conflict(NamedTuple):
    """A route of another program that may be in the place of one of ours, for it has its metric."""

    table: int
    prefix: Prefix
    metric: int


def parse_conflict(body: memoryview) -> Conflict | None:
    """Read another program's route that has the metric of our VPN routes, or is a default route
    with that of a table's last resort. None for any other."""
    family, length, protocol = body[0], body[1], body[5]
    if family not in (socket.AF_INET, socket.AF_INET6) or protocol == PROTOCOL:
        return None
    found = nl.attributes(body[12:])
    metric = nl.number(found[_PRIORITY]) if _PRIORITY in found else 0
    if metric != ROUTE_METRIC and (length or metric != UNREACHABLE_METRIC):
        return None
    return Conflict(nl.number(found[_TABLE]), destination(family, length, found), metric)
