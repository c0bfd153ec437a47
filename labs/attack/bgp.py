"""A BGP speaker for attackers: sends any message, valid or not, and keeps what it receives.

One thread, no timers: hold times in the attack lab are long, and a KEEPALIVE is sent with each
look at what has come.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labs.attack.inside import socket_in
from labs.attack.listen import family

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
TCP_MD5SIG = 14
IPV4, IPV6, VPNV4, VPNV6 = (1, 1), (2, 1), (1, 128), (2, 128)
Family = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an OPEN says. ``asn`` above 65535 goes into its capability (RFC 6793)."""

    asn: int
    router_id: str = "192.0.2.77"
    hold_time: int = 600
    families: tuple[Family, ...] = (IPV4,)
    version: int = 4
    extra: bytes = b""

    def packed(self) -> bytes:
        """The message."""
        capabilities = b"".join(
            struct.pack("!BBHBB", 1, 4, afi, 0, safi) for afi, safi in self.families
        )
        capabilities += struct.pack("!BBI", 65, 4, self.asn) + b"\x02\x00" + self.extra
        parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
        two_octets = self.asn if self.asn < 1 << 16 else 23456
        router_id = ipaddress.IPv4Address(self.router_id).packed
        fixed = struct.pack("!BHH", self.version, two_octets, self.hold_time) + router_id
        return message(OPEN, fixed + bytes([len(parameters)]) + parameters)


@dataclass(slots=True)
class Session:
    """A connection, with all that it received: ``received`` are (type, body)."""

    connection: socket.socket
    received: list[tuple[int, bytes]] = field(default_factory=list)
    closed: bool = False
    _rest: bytes = b""

    def send(self, *messages: bytes) -> None:
        """Send messages; ``listen`` finds out that a peer is gone."""
        with contextlib.suppress(OSError):
            for one in messages:
                self.connection.sendall(one)

    def listen(self, seconds: float, enough: Callable[[], object] = lambda: False) -> None:
        """Receive for so many seconds, or until ``enough`` or the end."""
        deadline = time.monotonic() + seconds
        while not self.closed and not enough() and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self.connection], [], [], left)
            if ready:
                self._read()

    def _read(self) -> None:
        try:
            data = self.connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return
        self._rest += data
        while len(self._rest) >= 19:
            (length,) = struct.unpack_from("!H", self._rest, 16)
            if len(self._rest) < length:
                return
            self.received.append((self._rest[18], self._rest[19:length]))
            self._rest = self._rest[length:]

    def bodies(self, kind: int) -> list[bytes]:
        """The bodies of the messages of a type."""
        return [body for its_kind, body in self.received if its_kind == kind]

    @property
    def notification(self) -> tuple[int, int] | None:
        """Code and subcode that the peer ended the session with."""
        found = self.bodies(NOTIFICATION)
        return (found[0][0], found[0][1]) if found else None

    def ended(self, seconds: float = 10.0) -> tuple[int, int] | None:
        """Wait for the session's end; the notification that came with it."""
        self.listen(seconds)
        return self.notification

    @property
    def alive(self) -> bool:
        """True while neither a NOTIFICATION nor the end of the connection has come."""
        self.listen(0.0)
        with contextlib.suppress(OSError):
            if select.select([self.connection], [], [], 0)[0]:
                self._read()
        return not self.closed and self.notification is None

    def close(self) -> None:
        """End it without a word."""
        self.connection.close()
        self.closed = True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    node: str,
    local: str,
    remote: str,
    *,
    md5: str = "",
    ttl: int = 255,
    seconds: float = 3.0,
) -> Session | None:
    """A connection to a speaker's port 179; None if nothing answers."""
    attempt = socket_in(node, family(remote), socket.SOCK_STREAM)
    try:
        if md5:
            sign(attempt, remote, md5)
        hops(attempt, remote, ttl)
        attempt.bind((local, 0))
        attempt.settimeout(seconds)
        attempt.connect((remote, 179))
    except OSError:
        attempt.close()
        return None
    return Session(attempt)


def hops(connection: socket.socket, remote: str, ttl: int) -> None:
    """Set the TTL or hop limit to send with."""
    if ":" in remote:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
    else:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)


def sign(connection: socket.socket, peer: str, key: str) -> None:
    """TCP MD5 towards a peer (RFC 2385)."""
    address = ipaddress.ip_address(peer).packed
    if len(address) == 4:
        name = struct.pack("=HH4s120x", socket.AF_INET, 0, address)
    else:
        name = struct.pack("=HHI16sI100x", socket.AF_INET6, 0, 0, address, 0)
    value = name + struct.pack("=BBHI80s", 0, 0, len(key), 0, key.encode())
    connection.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, value)


def establish(
    node: str,
    local: str,
    remote: str,
    greeting: Greeting,
    *,
    md5: str = "",
    ttl: int = 255,
    seconds: float = 20.0,
) -> Session:
    """A session that is up; tried again until then. AssertionError if it does not come up."""
    deadline = time.monotonic() + seconds
    last: object = "no connection"
    while time.monotonic() < deadline:
        session = connect(node, local, remote, md5=md5, ttl=ttl)
        if session is None:
            time.sleep(0.2)
            continue
        session.send(greeting.packed())
        session.listen(5.0, lambda s=session: s.bodies(OPEN))  # type: ignore[misc]
        session.send(message(KEEPALIVE))
        session.listen(5.0, lambda s=session: s.bodies(KEEPALIVE))  # type: ignore[misc]
        if session.bodies(KEEPALIVE) and session.alive:
            return session
        last = session.notification
        session.close()
        time.sleep(0.2)
    raise AssertionError(f"{local} -> {remote}: no session: {last}")


def message(kind: int, body: bytes = b"") -> bytes:
    """One message with its header."""
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def refresh(afi: int, safi: int) -> bytes:
    """A ROUTE-REFRESH (RFC 2918)."""
    return message(REFRESH, struct.pack("!HBB", afi, 0, safi))


def notify(code: int, subcode: int, data: bytes = b"") -> bytes:
    """A NOTIFICATION."""
    return message(NOTIFICATION, bytes([code, subcode]) + data)


def attribute(code: int, value: bytes, flags: int | None = None) -> bytes:
    """A path attribute with the flags that it should have, unless told otherwise."""
    if flags is None:
        flags = {1: 0x40, 2: 0x40, 3: 0x40, 5: 0x40, 6: 0x40, 7: 0xC0, 8: 0xC0, 16: 0xC0,
                 32: 0xC0}.get(code, 0x80)  # fmt: skip
    if len(value) > 255 or flags & 0x10:
        return struct.pack("!BBH", flags | 0x10, code, len(value)) + value
    return struct.pack("!BBB", flags, code, len(value)) + value


def as_path(*asns: int, kind: int = 2) -> bytes:
    """The value of AS_PATH, four octets each."""
    return bytes([kind, len(asns)]) + b"".join(a.to_bytes(4, "big") for a in asns) if asns else b""


def prefixes(*texts: str) -> bytes:
    """NLRI of unicast families."""
    return b"".join(map(_prefix, texts))


def _prefix(text: str) -> bytes:
    network = ipaddress.ip_network(text)
    octets = (network.prefixlen + 7) // 8
    return bytes([network.prefixlen]) + network.network_address.packed[:octets]


def vpn_prefix(text: str, rd: tuple[int, int], label: int) -> bytes:
    """NLRI of a VPN family: label with bottom of stack, type 0 RD, prefix (RFC 4364 4.3.4)."""
    network = ipaddress.ip_network(text)
    octets = (network.prefixlen + 7) // 8
    head = (label << 4 | 1).to_bytes(3, "big") + struct.pack("!HHI", 0, *rd)
    return bytes([88 + network.prefixlen]) + head + network.network_address.packed[:octets]


def target(asn: int, number: int) -> bytes:
    """A route target as an extended community (RFC 4360)."""
    return struct.pack("!BBHI", 0, 2, asn, number)


def site_of_origin(asn: int, number: int) -> bytes:
    """A site of origin."""
    return struct.pack("!BBHI", 0, 3, asn, number)


def mp_reach(fam: Family, next_hop: bytes, nlri: bytes) -> bytes:
    """MP_REACH_NLRI (RFC 4760)."""
    head = struct.pack("!HBB", *fam, len(next_hop)) + next_hop + b"\0"
    return attribute(14, head + nlri)


def mp_unreach(fam: Family, nlri: bytes) -> bytes:
    """MP_UNREACH_NLRI."""
    return attribute(15, struct.pack("!HB", *fam) + nlri)


def update(attributes: bytes = b"", nlri: bytes = b"", withdrawn: bytes = b"") -> bytes:
    """An UPDATE."""
    body = struct.pack("!H", len(withdrawn)) + withdrawn
    return message(UPDATE, body + struct.pack("!H", len(attributes)) + attributes + nlri)


def path(asn: int, next_hop: str = "", *more: bytes, asns: Sequence[int] | None = None) -> bytes:
    """ORIGIN, AS_PATH, NEXT_HOP (if given) and more attributes."""
    attributes = attribute(1, b"\0") + attribute(2, as_path(*(asns or (asn,))))
    if next_hop:
        attributes += attribute(3, ipaddress.IPv4Address(next_hop).packed)
    return attributes + b"".join(more)


def packed_next_hop(address: str, *, vpn: bool) -> bytes:
    """A next hop as MP_REACH has it; an IPv4 one in VPNv6 is mapped (RFC 4659)."""
    return (bytes(8) if vpn else b"") + ipaddress.ip_address(address).packed


def announced(session: Session) -> list[str]:
    """Unicast prefixes that a peer has announced so far, both families, in order."""
    found: list[str] = []
    for body in session.bodies(UPDATE):
        (gone,) = struct.unpack_from("!H", body)
        (size,) = struct.unpack_from("!H", body, 2 + gone)
        attributes = body[4 + gone : 4 + gone + size]
        found += _read_prefixes(body[4 + gone + size :], 4)
        for code, value in attributes_of(attributes):
            if code == 14 and value[:3] == b"\0\x02\x01":
                found += _read_prefixes(value[5 + value[3] :], 6)
    return found


def attributes_of(octets: bytes) -> list[tuple[int, bytes]]:
    """Code and value of each path attribute."""
    found, at = [], 0
    while at < len(octets):
        flags, code = octets[at], octets[at + 1]
        head = 4 if flags & 0x10 else 3
        size = int.from_bytes(octets[at + 2 : at + head], "big")
        found.append((code, octets[at + head : at + head + size]))
        at += head + size
    return found


def _read_prefixes(octets: bytes, version: int) -> list[str]:
    found, at = [], 0
    width = 4 if version == 4 else 16
    while at < len(octets):
        length = octets[at]
        size = (length + 7) // 8
        packed = octets[at + 1 : at + 1 + size].ljust(width, b"\0")
        found.append(f"{ipaddress.ip_address(packed)}/{length}")
        at += 1 + size
    return found
