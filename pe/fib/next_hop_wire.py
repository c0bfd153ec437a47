"""Next-hop objects on the wire (linux/nexthop.h): single ones with labels, and groups.

pyroute2 0.9 knows neither nhmsg nor NHA_* attributes.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from controlplane.model.prefix import Afi, IPAddress
from pe.netlink import codec as nl
from pe.netlink import mpls
from pe.netlink.ownership import FIRST_BLACKHOLE, FIRST_NEXT_HOP, LAST_NEXT_HOP, PROTOCOL

_NHMSG = struct.Struct("=BBBBI")
_MEMBER = struct.Struct("=IBBH")
_ONLINK = 4
_ID, _GROUP, _GROUP_TYPE, _BLACKHOLE, _OIF, _GATEWAY, _ENCAP_TYPE, _ENCAP = 1, 2, 3, 4, 5, 6, 7, 8
_RESILIENT_GROUP, _BUCKETS, _IDLE_TIMER = 12, 1, 2
_RESILIENT = 1


@dataclass(frozen=True, slots=True)
class Member:
    """A single next hop: through ``gateway`` (None: on the link) out of device number ``oif``,
    with ``labels`` pushed, outermost first. ``oif`` 0 is a discard."""

    afi: Afi
    oif: int
    gateway: IPAddress | None = None
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """A multipath group: the id of each member next hop with its weight (1 to 256).

    A ``resilient`` one divides flows by a table of ``BUCKETS`` buckets, so that a member of small
    weight has none; a group cannot change its type.
    """

    members: tuple[tuple[int, int], ...]
    resilient: bool = False


Content = Member | Group

BLACKHOLE_IDS = {FIRST_BLACKHOLE + afi: afi for afi in Afi}
"""The ids of the two blackhole next hops, and their families."""

BUCKETS = 64
"""Buckets of a resilient group: a member of weight 1 beside others of 2 * 64 or more has none
(nh_res_group_rebalance)."""


READ_NEXT_HOPS = 256
"""Objects asked for in one send: their answers fit the socket's buffer."""


def encode(identifier: int, content: Content) -> bytes:
    """Return the body of an RTM_NEWNEXTHOP."""
    head = nl.u32(_ID, identifier)
    if isinstance(content, Group):
        members = b"".join(_MEMBER.pack(i, weight - 1, 0, 0) for i, weight in content.members)
        kind = _resilient() if content.resilient else b""
        return _NHMSG.pack(0, 0, PROTOCOL, 0, 0) + head + nl.attribute(_GROUP, members) + kind
    if not content.oif:
        family = _family(content.afi)
        return _NHMSG.pack(family, 0, PROTOCOL, 0, 0) + head + nl.attribute(_BLACKHOLE, b"")
    return _encode_member(head, content)


def _resilient() -> bytes:
    # With idle timer 0 a change moves the flows of busy buckets at once as well.
    buckets = nl.attribute(_BUCKETS, struct.pack("=H", BUCKETS))
    table = nl.nested(_RESILIENT_GROUP, buckets, nl.u32(_IDLE_TIMER, 0))
    return nl.attribute(_GROUP_TYPE, struct.pack("=H", _RESILIENT)) + table


def _encode_member(head: bytes, member: Member) -> bytes:
    parts = [head, nl.u32(_OIF, member.oif)]
    family, flags = _family(member.afi), 0
    if member.gateway is not None:
        gateway = _as_written(member.afi, member.gateway)
        family, flags = _family(Afi.IPV4 if len(gateway) == 4 else Afi.IPV6), _ONLINK
        parts.append(nl.attribute(_GATEWAY, gateway))
    if member.labels:
        parts += mpls.encap(member.labels, _ENCAP_TYPE, _ENCAP)
    return _NHMSG.pack(family, 0, PROTOCOL, 0, flags) + b"".join(parts)


def _as_written(afi: Afi, gateway: IPAddress) -> bytes:
    """IPv6 routes take no IPv4 next hop; but the kernel sends a labelled packet whose gateway is
    ``::ffff:a.b.c.d`` to the ARP neighbour a.b.c.d (RFC 4798; mpls_xmit in mpls_iptunnel.c)."""
    if afi is Afi.IPV6 and gateway.version == 4:
        return bytes(10) + b"\xff\xff" + gateway.packed
    return gateway.packed


def _family(afi: Afi) -> int:
    return socket.AF_INET if afi is Afi.IPV4 else socket.AF_INET6


def parse(body: memoryview) -> tuple[int, int, Content | None]:
    """Read (id, protocol, content) of any next hop; content is None for types we do not use."""
    family, _, protocol, _, _ = _NHMSG.unpack_from(body)
    found = nl.attributes(body[8:])
    identifier = nl.number(found[_ID])
    if _GROUP in found:
        entries = _MEMBER.iter_unpack(found[_GROUP])
        resilient = _GROUP_TYPE in found and nl.number(found[_GROUP_TYPE]) == _RESILIENT
        members = tuple((i, low + 1) for i, low, _, _ in entries)
        return identifier, protocol, Group(members, resilient)
    return identifier, protocol, _parse_member(family, found)


def _parse_member(family: int, found: dict[int, memoryview]) -> Member | None:
    afi = Afi.IPV4 if family == socket.AF_INET else Afi.IPV6
    labels = mpls.parse_encap(found, _ENCAP_TYPE, _ENCAP)
    if labels is None:
        return None
    if _BLACKHOLE in found:
        return Member(afi, 0)
    gateway = ip_address(bytes(found[_GATEWAY])) if _GATEWAY in found else None
    if isinstance(gateway, IPv6Address) and gateway.ipv4_mapped:
        gateway = gateway.ipv4_mapped
    return Member(afi, nl.number(found[_OIF]) if _OIF in found else 0, gateway, labels)


class NextHopWriter:
    """Creates, replaces and removes next hops, over a socket of its own."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket()

    @property
    def pid(self) -> int:
        """The port id that the kernel's notifications of our own changes carry."""
        return self._socket.pid

    def create(self, identifier: int, content: Content) -> None:
        """Create an object; OSError EEXIST if the id is in use."""
        flags = nl.NLM_F_CREATE | nl.NLM_F_EXCL
        self._socket.request(nl.RTM_NEWNEXTHOP, flags, encode(identifier, content))

    def replace(self, identifier: int, content: Content) -> None:
        """Replace an object in place: its routes use it at once. OSError ENOENT if it is absent."""
        self._socket.request(nl.RTM_NEWNEXTHOP, nl.NLM_F_REPLACE, encode(identifier, content))

    def remove(self, identifier: int) -> None:
        """Remove it, and with it every route that still uses it. Raises OSError."""
        body = _NHMSG.pack(0, 0, 0, 0, 0) + nl.u32(_ID, identifier)
        self._socket.request(nl.RTM_DELNEXTHOP, 0, body)

    def read(self, identifiers: Collection[int]) -> dict[int, tuple[int, Content | None]]:
        """Return those of the objects that exist: id -> (protocol, content). Raises OSError."""
        found: dict[int, tuple[int, Content | None]] = {}
        asked = list(identifiers)
        for at in range(0, len(asked), READ_NEXT_HOPS):
            part = asked[at : at + READ_NEXT_HOPS]
            bodies = [_NHMSG.pack(0, 0, 0, 0, 0) + nl.u32(_ID, i) for i in part]
            for answer in self._socket.ask_all(nl.RTM_GETNEXTHOP, bodies):
                if isinstance(answer, nl.Message):
                    identifier, protocol, content = parse(answer.body)
                    found[identifier] = protocol, content
                elif answer.errno != errno.ENOENT:
                    raise answer
        return found

    def dump(self) -> dict[int, tuple[int, Content | None]]:
        """Every next hop of the namespace: id -> (protocol, content)."""
        found: dict[int, tuple[int, Content | None]] = {}
        for message in self._socket.dump(nl.RTM_GETNEXTHOP, _NHMSG.pack(0, 0, 0, 0, 0)):
            identifier, protocol, content = parse(message.body)
            found[identifier] = protocol, content
        return found

    def close(self) -> None:
        """Close the socket; the next hops stay."""
        self._socket.close()


def in_our_range(identifier: int) -> bool:
    """True for an id that this program may use."""
    return FIRST_NEXT_HOP <= identifier <= LAST_NEXT_HOP or identifier in BLACKHOLE_IDS


def is_ours(identifier: int, protocol: int) -> bool:
    """True for a next hop that this program made, in this run or a former one."""
    return protocol == PROTOCOL and in_our_range(identifier)
