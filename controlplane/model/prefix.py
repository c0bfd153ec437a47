"""IP prefixes and addresses, small and quick to hash: a full VPN table holds a million of them."""

from __future__ import annotations

import enum
import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

IPAddress = IPv4Address | IPv6Address


class Afi(enum.IntEnum):
    """Address family identifiers (IANA; RFC 4760)."""

    IPV4 = 1
    IPV6 = 2

    @property
    def bits(self) -> int:
        """Length of an address in bits."""
        return 32 if self is Afi.IPV4 else 128


class Family(enum.Enum):
    """The AFI/SAFI pairs that Bulkhead speaks; the value is ExaBGP's name for it."""

    IPV4_UNICAST = "ipv4 unicast"
    IPV6_UNICAST = "ipv6 unicast"
    IPV4_VPN = "ipv4 mpls-vpn"
    IPV6_VPN = "ipv6 mpls-vpn"

    def __init__(self, name: str) -> None:
        # Plain attributes, and the hash of identity: these are asked for with every UPDATE.
        #: The address family half.
        self.afi = Afi.IPV4 if name.startswith("ipv4") else Afi.IPV6
        #: True for SAFI 128 (RFC 4364, RFC 4659).
        self.is_vpn = name.endswith("mpls-vpn")

    __hash__ = object.__hash__

    @classmethod
    def of(cls, afi: Afi, *, vpn: bool) -> Family:
        """Return the family of an AFI, as VPN (SAFI 128) or unicast (SAFI 1)."""
        return cls(f"ipv{4 if afi is Afi.IPV4 else 6} {'mpls-vpn' if vpn else 'unicast'}")


class Prefix(msgspec.Struct, frozen=True, order=True, gc=False):
    """A prefix in network byte order, host bits zero: ``packed`` is 4 or 16 bytes long."""

    packed: bytes
    length: int

    @property
    def afi(self) -> Afi:
        """IPv4 or IPv6, by the size of the address."""
        return Afi.IPV4 if len(self.packed) == 4 else Afi.IPV6

    @property
    def is_default(self) -> bool:
        """True for 0.0.0.0/0 and ::/0."""
        return self.length == 0

    def contains(self, other: Prefix) -> bool:
        """Return True if ``other`` is this prefix or lies inside it."""
        if len(self.packed) != len(other.packed) or other.length < self.length:
            return False
        drop = self.afi.bits - self.length
        return int.from_bytes(self.packed) >> drop == int.from_bytes(other.packed) >> drop

    def __str__(self) -> str:
        family = socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6
        return f"{socket.inet_ntop(family, self.packed)}/{self.length}"


def parse_prefix(text: str, *, strict: bool = True) -> Prefix:
    """Read ``10.0.0.0/8`` or ``2001:db8::/32``; an address alone is a host prefix.

    With ``strict`` set host bits raise ValueError; without, they are cleared (as a router does
    with what it receives).
    """
    address, slash, tail = text.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        packed = socket.inet_pton(family, address)
    except OSError:
        raise ValueError(f"'{text}' is not an IPv4 or IPv6 prefix") from None
    bits = len(packed) * 8
    if slash and not (tail.isascii() and tail.isdigit()):
        raise ValueError(f"'{text}' has no prefix length from 0 to {bits}")
    length = int(tail) if slash else bits
    if length > bits:
        raise ValueError(f"'{text}': the prefix length is at most {bits}")
    clean = mask(packed, length)
    if strict and clean != packed:
        raise ValueError(f"'{text}' has host bits set; did you mean {Prefix(clean, length)}?")
    return Prefix(clean, length)


def mask(packed: bytes, length: int) -> bytes:
    """Clear every bit of ``packed`` beyond the first ``length``."""
    drop = len(packed) * 8 - length
    if drop <= 0:
        return packed
    return (int.from_bytes(packed) >> drop << drop).to_bytes(len(packed))


@lru_cache(maxsize=65536)
def parse_address(text: str) -> IPAddress:
    """Read an address; interned, since next hops and peers repeat endlessly. ValueError if bad."""
    return ip_address(text)


def host_prefix(address: IPAddress) -> Prefix:
    """Return the /32 or /128 of an address."""
    return Prefix(address.packed, address.max_prefixlen)


def afi_of(address: IPAddress) -> Afi:
    """Return the address family of an address."""
    return Afi.IPV4 if address.version == 4 else Afi.IPV6
