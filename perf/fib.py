"""Looks into the kernel's tables of one namespace without keeping its CPU from the router.

A look-up (RTM_GETROUTE) costs some tens of microseconds. A whole table is read once, when
the look-ups say that it is complete.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Self

from labs.namespaces import inside

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWROUTE, _RTM_GETROUTE, _RTM_GETNEXTHOP = 24, 26, 106
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_RTA_ENCAP_TYPE, _RTA_ENCAP, _RTA_NH_ID = 21, 22, 30
_MAIN, _PROTO_BOOT, _UNICAST = 254, 3, 1
_ENCAP_MPLS, _MPLS_IPTUNNEL_DST = 1, 1
_NHA_ID, _NHA_GROUP, _NHA_OIF = 1, 2, 5
_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12

_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NHMSG_LENGTH = 8
_NLA_TYPE = 0x3FFF


class Fib:
    """The IPv4 tables of a namespace, asked over one netlink socket."""

    def __init__(self, namespace: str) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._indices = {name: index for index, name in socket.if_nameindex()}
        # Without it a dump is of all tables, regardless of the request.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.settimeout(10)
        self._names: dict[int, str] = {index: name for name, index in self._indices.items()}
        self._namespace = namespace

    def port_towards(self, vrf: str, address: str) -> str | None:
        """The port that a packet to ``address`` leaves by in a VRF; None if it cannot."""
        oif = _attribute(_RTA_OIF, struct.pack("=I", self._index(vrf)))
        body = _RTMSG.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
        self._send(
            _RTM_GETROUTE, _REQUEST, body + _attribute(_RTA_DST, socket.inet_aton(address)) + oif
        )
        for kind, reply in _messages(self._socket.recv(65536)):
            if kind == _RTM_NEWROUTE:
                found = dict(_attributes(reply[_RTMSG.size :]))
                return self._names.get(_number(found[_RTA_OIF])) if _RTA_OIF in found else None
        return None

    def ports_of_table(self, table: int, length: int) -> Counter[str]:
        """How many routes with prefixes of ``length`` bits a table has over each port."""
        ports = {ident: self._names.get(index, "") for ident, index in self._next_hops().items()}
        counted: Counter[str] = Counter()
        body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        self._send(
            _RTM_GETROUTE, _REQUEST | _DUMP, body + _attribute(_RTA_TABLE, struct.pack("=I", table))
        )
        for reply in self._dumped():
            if reply[1] == length:
                found = dict(_attributes(reply[_RTMSG.size :]))
                if _RTA_NH_ID in found:
                    counted[ports.get(_number(found[_RTA_NH_ID]), "")] += 1
                else:
                    port = self._names.get(_number(found[_RTA_OIF])) if _RTA_OIF in found else ""
                    counted[port or ""] += 1
        return counted

    def replace_labelled(self, address: str, label: int, gateway: str, port: str) -> None:
        """Lead a host route of the main table over another path, as ``ip route replace`` does.

        Raises OSError when the kernel refuses.
        """
        entry = struct.pack("!I", label << 12 | 1 << 8)
        body = _RTMSG.pack(socket.AF_INET, 32, 0, 0, _MAIN, _PROTO_BOOT, 0, _UNICAST, 0)
        body += _attribute(_RTA_DST, socket.inet_aton(address))
        body += _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
        body += _attribute(_RTA_OIF, struct.pack("=I", self._index(port)))
        body += _attribute(_RTA_ENCAP_TYPE, struct.pack("=H", _ENCAP_MPLS))
        body += _attribute(_RTA_ENCAP, _attribute(_MPLS_IPTUNNEL_DST, entry))
        self._send(_RTM_NEWROUTE, _REQUEST | _ACK | _REPLACE | _CREATE, body)
        ((_, reply),) = _messages(self._socket.recv(65536))
        if number := -int(struct.unpack_from("=i", reply)[0]):
            raise OSError(number, f"main-table route over {port} refused")

    def _next_hops(self) -> dict[int, int]:
        """Next-hop object -> device number, for a group that of its first member."""
        ports: dict[int, int] = {}
        first: dict[int, int] = {}
        self._send(_RTM_GETNEXTHOP, _REQUEST | _DUMP, bytes(_NHMSG_LENGTH))
        for reply in self._dumped():
            found = dict(_attributes(reply[_NHMSG_LENGTH:]))
            if _NHA_OIF in found:
                ports[_number(found[_NHA_ID])] = _number(found[_NHA_OIF])
            elif _NHA_GROUP in found:  # a way in reserve, if there is one, comes last
                first[_number(found[_NHA_ID])] = _number(found[_NHA_GROUP][:4])
        return ports | {group: ports.get(member, 0) for group, member in first.items()}

    def _index(self, port: str) -> int:
        if port not in self._indices:  # a VRF device that the router has made since
            with inside(self._namespace):
                self._indices = {name: index for index, name in socket.if_nameindex()}
            self._names = {index: name for name, index in self._indices.items()}
        return self._indices[port]

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body)

    def _dumped(self) -> Iterator[bytes]:
        while True:
            for kind, body in _messages(self._socket.recv(1 << 20)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -int(struct.unpack_from("=i", body)[0])
                    raise OSError(number, "netlink dump refused")
                yield body

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += length + 3 & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        yield kind & _NLA_TYPE, data[offset + 4 : offset + length]
        offset += max(length, 4) + 3 & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")
