"""Packed NLRI <-> ``Nlri`` (RFC 4271 section 4.3, RFC 8277 section 2.2, RFC 4364 section 4.3.4)."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from controlplane.model.attributes import Nlri
from controlplane.model.prefix import Family, Prefix
from controlplane.model.rd import AdminKind, RouteDistinguisher

WITHDRAWN_LABEL = b"\x80\x00\x00"
LABEL_BITS, RD_BITS = 24, 64
VPN_BITS = LABEL_BITS + RD_BITS
MOST_KNOWN = 65536

_BY_ASN2, _BY_ADMIN4 = Struct("!HHI"), Struct("!HIH")
_known_rd: dict[bytes, RouteDistinguisher] = {}

SAFI_UNICAST, SAFI_VPN = 1, 128


def family_numbers(family: Family) -> tuple[int, int]:
    """Return AFI and SAFI of a family."""
    return int(family.afi), SAFI_VPN if family.is_vpn else SAFI_UNICAST


def unpack_rd(data: bytes) -> RouteDistinguisher:
    """Read eight octets; those of a type that RFC 4364 does not define are kept apart as well."""
    known = _known_rd.get(data)
    if known is not None:
        return known
    kind = int.from_bytes(data[:2])
    _, admin, number = (_BY_ASN2 if kind == AdminKind.AS2 else _BY_ADMIN4).unpack(data)
    if len(_known_rd) >= MOST_KNOWN:
        _known_rd.clear()
    made = _known_rd[data] = RouteDistinguisher(kind, admin, number)
    return made


def pack_rd(rd: RouteDistinguisher) -> bytes:
    """Return the eight octets of a route distinguisher."""
    layout = _BY_ASN2 if rd.kind == AdminKind.AS2 else _BY_ADMIN4
    return layout.pack(rd.kind, rd.admin, rd.number)


def unpack_nlri(family: Family, data: bytes, *, withdraw: bool = False) -> list[Nlri]:
    """Return the routes of packed NLRI; ValueError if one is out of bounds or cut short.

    A VPN route has one label, with its bottom-of-stack bit set or not: several would have to be
    negotiated (RFC 8277 section 2.1). A withdrawn one has none: that field is ignored.
    """
    width = 4 if family.afi == 1 else 16
    if family.is_vpn:
        return _unpack_vpn(data, width, withdraw)
    return _unpack_unicast(data, width)


def _unpack_unicast(data: bytes, width: int) -> list[Nlri]:
    found, position, end = [], 0, len(data)
    while position < end:
        length = data[position]
        after = position + 1 + (length + 7 >> 3)
        if after > end:
            raise ValueError("the last route is cut short")
        found.append(Nlri(_prefix(data[position + 1 : after], length, width)))
        position = after
    return found


def _unpack_vpn(data: bytes, width: int, withdraw: bool) -> list[Nlri]:
    found, position, end, known = [], 0, len(data), _known_rd
    while position < end:
        bits = data[position]
        after = position + 1 + (bits + 7 >> 3)
        if bits < VPN_BITS or after > end:
            raise ValueError(f"VPN route of {bits} bits")
        labels = () if withdraw else (int.from_bytes(data[position + 1 : position + 4]) >> 4,)
        distinguisher = data[position + 4 : position + 12]
        rd = known.get(distinguisher) or unpack_rd(distinguisher)
        prefix = _prefix(data[position + 12 : after], bits - VPN_BITS, width)
        found.append(Nlri(prefix, rd, labels))
        position = after
    return found


def _prefix(address: bytes, length: int, width: int) -> Prefix:
    if length & 7:
        # RFC 4271 section 4.3: trailing bits are of no account.
        keep = 0xFF00 >> (length & 7) & 0xFF
        address = address[:-1] + bytes((address[-1] & keep,))
    if length > width * 8:
        raise ValueError(f"prefix of {length} bits")
    return Prefix(address.ljust(width, b"\0"), length)


def pack_nlri(family: Family, routes: Iterable[Nlri], *, withdraw: bool = False) -> bytes:
    """Pack these routes; ValueError if one lacks what the family demands."""
    if not family.is_vpn:
        return b"".join(_packed(route.prefix, b"") for route in routes)
    return b"".join(_packed(route.prefix, _vpn_head(route, withdraw)) for route in routes)


def _vpn_head(route: Nlri, withdraw: bool) -> bytes:
    if route.rd is None:
        raise ValueError(f"{route.prefix} has no route distinguisher")
    if withdraw:
        return WITHDRAWN_LABEL + pack_rd(route.rd)
    if len(route.labels) != 1:
        raise ValueError(f"{route.prefix} has {len(route.labels)} labels instead of one")
    return (route.labels[0] << 4 | 1).to_bytes(3) + pack_rd(route.rd)


def _packed(prefix: Prefix, head: bytes) -> bytes:
    bits = len(head) * 8 + prefix.length
    return bytes((bits,)) + head + prefix.packed[: prefix.length + 7 >> 3]
