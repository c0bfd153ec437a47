"""Read links, addresses and label routes: the same parsers for dumps and for events."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface

from controlplane.model.prefix import Afi
from pe.model.state import LastResort, Link, PortAddress
from pe.netlink import codec as nl
from pe.netlink.ownership import PROTOCOL, UNREACHABLE_METRIC

AF_MPLS = 28
AFIS = {int(socket.AF_INET): Afi.IPV4, int(socket.AF_INET6): Afi.IPV6}
FAMILIES = {afi: family for family, afi in AFIS.items()}
RTN_UNREACHABLE = 7
_LOOPBACK = 1
"""The number of the loopback device (LOOPBACK_IFINDEX)."""

_LINK = struct.Struct("=BBHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_IFLA_MTU, _IFLA_LINK, _IFLA_NAME, _IFLA_MASTER = 4, 5, 3, 10
_IFLA_LINKINFO, _IFLA_ALIAS, _IFLA_EXT_MASK = 18, 20, 29
_SKIP_STATISTICS = 1 << 3
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_RTA_DST, _RTA_OIF, _RTA_TABLE = 1, 4, 15
_RTM_F_FIB_MATCH = 0x2000
_REMOTE = {"gre": 7, "ip6gre": 7, "ipip": 3, "sit": 3, "ip6tnl": 3, "bareudp": -1}
"""Where the attributes of a tunnel's kind have the remote address (IFLA_GRE_REMOTE,
IFLA_IPTUN_REMOTE): it is zero or missing in one of any number of ends, as bareudp always is."""


class RawLink:
    """Hold a link message as it is: masters and parents are still indexes."""

    __slots__ = ("found", "hardware_type", "index", "linkinfo", "name", "running", "up")

    def __init__(self, body: memoryview) -> None:
        _, _, self.hardware_type, self.index, flags, _ = _LINK.unpack_from(body)
        self.found = nl.attributes(body[16:])
        self.name = nl.text(self.found[_IFLA_NAME]) if _IFLA_NAME in self.found else ""
        self.up = bool(flags & _IFF_UP)
        self.running = bool(flags & _IFF_RUNNING)
        info = self.found.get(_IFLA_LINKINFO)
        self.linkinfo = nl.attributes(info) if info is not None else {}

    def number(self, kind: int) -> int:
        """Return a number attribute, 0 if it is missing."""
        value = self.found.get(kind)
        return nl.number(value) if value is not None else 0

    def data(self, kind: int) -> int:
        """Return a number among the attributes of the link's kind, 0 if it is missing."""
        value = self._data(kind)
        return nl.number(value) if value is not None else 0

    def _data(self, kind: int) -> memoryview | None:
        data = self.linkinfo.get(2)  # IFLA_INFO_DATA
        return nl.attributes(data).get(kind) if data is not None else None

    @property
    def has_no_remote(self) -> bool:
        """Return True for an IP tunnel without the address of its other end."""
        attribute = _REMOTE.get(self.kind)
        return attribute is not None and not any(self._data(attribute) or b"")

    @property
    def kind(self) -> str:
        """Return the driver's name (vrf, vlan, veth), "" for most hardware."""
        value = self.linkinfo.get(1)  # IFLA_INFO_KIND
        return nl.text(value) if value is not None else ""


def links(sock: nl.NetlinkSocket) -> dict[str, Link]:
    """Return every device of the namespace by name."""
    body = _LINK.pack(0, 0, 0, 0, 0, 0) + nl.u32(_IFLA_EXT_MASK, _SKIP_STATISTICS)
    raw = [RawLink(m.body) for m in sock.dump(nl.RTM_GETLINK, body)]
    names = {link.index: link.name for link in raw}
    return {link.name: _link(link, lambda index: names.get(index, "")) for link in raw}


def link(sock: nl.NetlinkSocket, name: str, names: Callable[[int], str]) -> Link | None:
    """Return one device, None if there is none of that name. ``names`` maps numbers to names."""
    body = _LINK.pack(0, 0, 0, 0, 0, 0) + nl.u32(_IFLA_EXT_MASK, _SKIP_STATISTICS)
    body += nl.attribute(_IFLA_NAME, name.encode() + b"\0")
    answer = sock.get(nl.RTM_GETLINK, body)
    return _link(RawLink(answer.body), names) if answer else None


def wait_for_changes(sock: nl.NetlinkSocket) -> None:
    """Return after all changes of links, addresses and next-hop objects of which the kernel has
    notified. It notifies of some first and flushes their routes then, under the lock that a request
    for a link takes too (rtnl_lock); a dump of IPv4 routes takes none."""
    sock.get(nl.RTM_GETLINK, _LINK.pack(0, 0, 0, _LOOPBACK, 0, 0))


def _link(raw: RawLink, names: Callable[[int], str]) -> Link:
    alias = raw.found.get(_IFLA_ALIAS)
    kind = raw.kind
    # A parent in another namespace has an index of that one: a VLAN device's never has.
    parent = _named(names, raw.number(_IFLA_LINK)) if kind == "vlan" else ""
    return Link(
        index=raw.index,
        name=raw.name,
        kind=kind,
        up=raw.up,
        carrier=raw.running,
        master=_named(names, raw.number(_IFLA_MASTER)),
        parent=parent,
        alias=nl.text(alias) if alias is not None else "",
        mtu=raw.number(_IFLA_MTU),
        table=raw.data(1) if kind == "vrf" else 0,
        vlan=raw.data(1) if kind == "vlan" else 0,
        hardware_type=raw.hardware_type,
        has_no_remote=raw.has_no_remote,
    )


def _named(names: Callable[[int], str], index: int) -> str:
    return names(index) if index else ""


def addresses(sock: nl.NetlinkSocket, names: dict[int, str]) -> dict[str, frozenset[PortAddress]]:
    """Return every address of global scope on the devices in ``names`` (by index), by port."""
    found: dict[str, set[PortAddress]] = {}
    for message in sock.dump(nl.RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
        address = _address(message.body, names)
        if address:
            found.setdefault(address.port, set()).add(address)
    return {port: frozenset(here) for port, here in found.items()}


def addresses_of(sock: nl.NetlinkSocket, link: Link) -> frozenset[PortAddress]:
    """Return the addresses of one device; the kernel filters by it."""
    found: set[PortAddress] = set()
    names = {link.index: link.name}
    for family in AFIS:
        # A family at a time: a device without IPv4 ends a dump of both with ENODEV.
        try:
            answer = sock.dump(nl.RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, link.index))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            continue
        found.update(a for message in answer if (a := _address(message.body, names)))
    return frozenset(found)


def address_index(body: memoryview) -> int:
    """Return the number of the device that an address message is about."""
    return int(_ADDRESS.unpack_from(body)[4])


def _address(body: memoryview, names: dict[int, str]) -> PortAddress | None:
    family, length, _, scope, index = _ADDRESS.unpack_from(body)
    if family not in AFIS or scope == 253 or index not in names:  # RT_SCOPE_LINK
        return None
    attributes = nl.attributes(body[8:])
    packed = attributes.get(2, attributes.get(1))  # IFA_LOCAL, IFA_ADDRESS
    if packed is None:
        return None
    mark = attributes.get(11)  # IFA_PROTO
    ours = mark is not None and nl.number(mark) == PROTOCOL
    return PortAddress(names[index], ip_interface((bytes(packed), length)), ours)


def netconf_index(body: memoryview) -> int:
    """Return the device number of a netconf message, negative for all or default."""
    found = nl.attributes(body[4:])
    return int.from_bytes(found[1], sys.byteorder, signed=True) if 1 in found else -1


@dataclass(frozen=True, slots=True)
class LabelOwner:
    """Whose an incoming label is: ours with the name of the outgoing device, or another's."""

    ours: bool
    device: str = ""


def labels(sock: nl.NetlinkSocket, names: dict[int, str]) -> dict[int, LabelOwner]:
    """Return all label routes by label."""
    found: dict[int, LabelOwner] = {}
    body = _ROUTE.pack(AF_MPLS, 0, 0, 0, 0, 0, 0, 0, 0)
    for message in sock.dump(nl.RTM_GETROUTE, body):
        if message.body[0] == AF_MPLS:  # a kernel without MPLS answers with every family's routes
            found[label_of(message.body)] = _owner(message.body, lambda n: names.get(n, ""))
    return found


def _owner(body: memoryview, name: Callable[[int], str]) -> LabelOwner:
    ours = body[5] == PROTOCOL
    return LabelOwner(ours, name(_label_device(body)) if ours else "")


def label_of(body: memoryview) -> int:
    """Return the incoming label that a label route is about."""
    return int.from_bytes(nl.attributes(body[12:])[_RTA_DST], "big") >> 12


def _label_device(body: memoryview) -> int:
    attributes = nl.attributes(body[12:])
    return nl.number(attributes[_RTA_OIF]) if _RTA_OIF in attributes else 0


def label(sock: nl.NetlinkSocket, number: int, names: Callable[[int], str]) -> LabelOwner | None:
    """Return whose a label is; None if there is no route of it."""
    body = _ROUTE.pack(AF_MPLS, 20, 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    body += nl.attribute(_RTA_DST, (number << 12 | 0x100).to_bytes(4, "big"))
    answer = sock.get(nl.RTM_GETROUTE, body)
    if answer is None or label_of(answer.body) != number:
        return None
    return _owner(answer.body, lambda index: _named(names, index))


def dump_table(sock: nl.NetlinkSocket, body: bytes) -> list[nl.Message]:
    """Return the routes of a table; none where there is no such table."""
    try:
        return sock.dump(nl.RTM_GETROUTE, body)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return []


def last_resorts(sock: nl.NetlinkSocket, table: int = 0) -> set[LastResort]:
    """Read our ``unreachable`` default routes, of one table or of all. The kernel filters by
    protocol, type and table, so the answer stays small with any number of routes
    (fib_dump_filter)."""
    found: set[LastResort] = set()
    only = nl.u32(_RTA_TABLE, table) if table else b""
    for family, afi in AFIS.items():
        body = _ROUTE.pack(family, 0, 0, 0, 0, PROTOCOL, 0, RTN_UNREACHABLE, 0) + only
        for message in dump_table(sock, body):
            attributes = nl.attributes(message.body[12:])
            metric = nl.number(attributes[6]) if 6 in attributes else 0  # RTA_PRIORITY
            if message.body[1] == 0 and metric == UNREACHABLE_METRIC:
                found.add(LastResort(afi, nl.number(attributes[_RTA_TABLE])))
    return found


def route_table(body: memoryview) -> int:
    """Return the table that a route message is about."""
    found = nl.attributes(body[12:])
    return nl.number(found[_RTA_TABLE]) if _RTA_TABLE in found else body[4]
