"""What rules of the packet filters compare: fields of headers, and what is known about a packet.

``needs`` is the protocol that has to be there: a rule that compares such a field first finds out
whether it is (``pe.nft.statements``). Offsets are those of the headers (RFC 791, 8200, 826, 9293,
IEEE 802.3 and 802.1Q).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pe.nft import expression as x
from pe.nft.expression import Expression
from pe.nft.types import TYPES, DataType

_PAYLOAD = 7
"""EXPR_PAYLOAD of the nft program."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the packet a field is; ``header`` and ``number`` are what the nft program calls it
    (PROTO_DESC_* and the field's place in its template), for the listing of a set."""

    base: int
    offset: int
    length: int
    header: int = 0
    number: int = 0

    def load(self, words: str, register: int, length: int = 0) -> Expression:
        """Load it, or its first bytes."""
        return x.payload(self.base, words, self.offset, length or self.length, register)


@dataclass(frozen=True, slots=True)
class Field:
    """A field and how it gets into a register. ``mask``: the bits of the loaded bytes that are
    the field's, ``shift`` how far left of the last one they end."""

    words: str
    kind: DataType
    place: Place | None = None
    loaded: Callable[[int], Expression] | None = None
    needs: str = ""
    mask: bytes = b""
    shift: int = 0

    def load(self, register: int, length: int = 0) -> Expression:
        """Load it; of a field of a header its first bytes, if ``length`` is given."""
        if self.place is not None:
            return self.place.load(self.words, register, length)
        assert self.loaded is not None, self.words  # noqa: S101 - one of both, see below
        return self.loaded(register)

    def shifted(self, value: bytes) -> bytes:
        """A value as it lies where it was loaded."""
        if not self.mask:
            return value
        number = int.from_bytes(value, "big") << self.shift
        return number.to_bytes(len(self.mask), "big")


def _meta(words: str, key: str, kind: str) -> Field:
    return Field(words, TYPES[kind], loaded=lambda register: x.meta(key, register))


def _header(
    words: str, kind: str, needs: str, place: Place, mask: bytes = b"", shift: int = 0
) -> Field:
    return Field(words, TYPES[kind], place, needs=needs, mask=mask, shift=shift)


_IP, _IP6, _ARP, _ICMP6 = 12, 13, 15, 14
IIFNAME = _meta("iifname", "iifname", "ifname")
OIFNAME = _meta("oifname", "oifname", "ifname")
SOCKET_UID = _meta("meta skuid", "skuid", "uid")
SDIFNAME = _meta("meta sdifname", "sdifname", "ifname")
NFPROTO = _meta("meta nfproto", "nfproto", "nfproto")
L4_PROTOCOL = _meta("meta l4proto", "l4proto", "inet_proto")
PROTOCOL = _meta("meta protocol", "protocol", "ether_type")
MARK = _meta("meta mark", "mark", "mark")
CT_MARK = Field("ct mark", TYPES["mark"], loaded=lambda register: x.ct("mark", register))
CT_ZONE = Field("ct zone", TYPES["zone"], loaded=lambda register: x.ct("zone", register))
CT_STATE = Field("ct state", TYPES["ct_state"], loaded=lambda register: x.ct("state", register))
SOURCE_TYPE = Field(
    "fib saddr type", TYPES["fib_addrtype"], loaded=lambda r: x.local_source(r, of_device=False)
)
SOURCE_TYPE_AT_OUTPUT = Field("fib saddr . oif type", TYPES["fib_addrtype"], loaded=x.local_source)

ETHER_TYPE = _header("ether type", "ether_type", "ether", Place(x.LINK, 12, 2))
VLAN_ID = _header("vlan id", "vlan_id", "vlan", Place(x.LINK, 14, 2), b"\x0f\xff")
ARP_SOURCE = _header("arp saddr ip", "ipv4_addr", "arp", Place(x.NETWORK, 14, 4, _ARP, 7))
IP_HEADER_LENGTH = _header(
    "ip hdrlength", "integer8", "ip", Place(x.NETWORK, 0, 1, _IP, 2), b"\x0f"
)
IP_FRAGMENT = _header("ip frag-off", "integer16", "ip", Place(x.NETWORK, 6, 2, _IP, 7))
IP_TTL = _header("ip ttl", "integer8", "ip", Place(x.NETWORK, 8, 1, _IP, 8))
IP_SOURCE = _header("ip saddr", "ipv4_addr", "ip", Place(x.NETWORK, 12, 4, _IP, 11))
IP_DESTINATION = _header("ip daddr", "ipv4_addr", "ip", Place(x.NETWORK, 16, 4, _IP, 12))
IP6_NEXT = _header("ip6 nexthdr", "integer8", "ip6", Place(x.NETWORK, 6, 1, _IP6, 6))
IP6_HOPS = _header("ip6 hoplimit", "integer8", "ip6", Place(x.NETWORK, 7, 1, _IP6, 7))
IP6_SOURCE = _header("ip6 saddr", "ipv6_addr", "ip6", Place(x.NETWORK, 8, 16, _IP6, 8))
IP6_DESTINATION = _header("ip6 daddr", "ipv6_addr", "ip6", Place(x.NETWORK, 24, 16, _IP6, 9))
ICMPV6_TYPE = _header("icmpv6 type", "icmpv6_type", "icmpv6", Place(x.TRANSPORT, 0, 1, _ICMP6, 1))
TCP_SOURCE = _header("tcp sport", "inet_service", "tcp", Place(x.TRANSPORT, 0, 2))
TCP_DESTINATION = _header("tcp dport", "inet_service", "tcp", Place(x.TRANSPORT, 2, 2))
TCP_FLAGS = _header("tcp flags", "tcp_flags", "tcp", Place(x.TRANSPORT, 13, 1))
ROUTING_TYPE = Field(
    "rt type", TYPES["integer8"], loaded=lambda r: x.header_extension(43, 2, 1, r), needs="ip6"
)
MPLS_LABEL = _header("@nh,0,20", "integer24", "", Place(x.NETWORK, 0, 3), b"\xff\xff\xf0", 4)
"""The first label; nft knows no name for it."""
