"""BGP messages of the bench's sender, packed (RFC 4271, 4364, 4760)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

from perf import workload
from perf.workload import PREFIX_LENGTH, Workload

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
HEADER_LENGTH = 19
AFI_IPV4, AFI_IPV6, SAFI_VPN = 1, 2, 128
FAMILIES = ((AFI_IPV4, SAFI_VPN), (AFI_IPV6, SAFI_VPN))
NLRI_BITS = 24 + 64 + PREFIX_LENGTH
"""Label, route distinguisher and prefix (RFC 8277 section 2, RFC 4364 section 4.3.4)."""

FLOOD_COMMUNITIES = 960
"""As many as fit into an UPDATE with the other attributes (RFC 1997: four octets each)."""

WITHDRAWN_LABEL = b"\x80\x00\x00"


def message(kind: int, body: bytes = b"") -> bytes:
    """One BGP message with its header."""
    return MARKER + struct.pack("!HB", HEADER_LENGTH + len(body), kind) + body


def open_message(asn: int, router_id: IPv4Address, hold_time: int) -> bytes:
    """An OPEN with four-octet AS numbers and VPNv4 and VPNv6; ``hold_time`` in seconds."""
    capabilities = b"".join(
        struct.pack("!BBHBB", 1, 4, afi, 0, safi) for afi, safi in FAMILIES
    ) + struct.pack("!BBI", 65, 4, asn)
    parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
    two_octets = asn if asn < 1 << 16 else 23456
    fixed = struct.pack("!BHH4sB", 4, two_octets, hold_time, router_id.packed, len(parameters))
    return message(OPEN, fixed + parameters)


def announcements(load: Workload, next_hop: IPv4Address) -> Iterator[bytes]:
    """The UPDATEs that announce every route, the VRFs taking turns."""
    attributes = [_attributes(vrf) for vrf in range(load.vrfs)]
    head = struct.pack("!HBB8s4sB", AFI_IPV4, SAFI_VPN, 12, b"", next_hop.packed, 0)
    for vrf, nlri in _nlri(load, withdrawn=False):
        yield _update(attributes[vrf] + _attribute(14, head + nlri))


def flood(load: Workload, next_hop: IPv4Address, updates: int) -> Iterator[bytes]:
    """UPDATEs that announce the first route of the first VRF, each with ``FLOOD_COMMUNITIES``
    communities that no other has."""
    head = struct.pack("!HBB8s4sB", AFI_IPV4, SAFI_VPN, 12, b"", next_hop.packed, 0)
    _, nlri = next(_nlri(replace(load, per_update=1), withdrawn=False))
    rest = _attribute(14, head + nlri)
    for number in range(updates):
        first = number * FLOOD_COMMUNITIES + 1
        values = struct.pack(f"!{FLOOD_COMMUNITIES}I", *range(first, first + FLOOD_COMMUNITIES))
        yield _update(_attributes(0) + _attribute(8, values, 0xC0) + rest)


def withdrawals(load: Workload) -> Iterator[bytes]:
    """The UPDATEs that withdraw every route, in the order in which they were announced."""
    head = struct.pack("!HB", AFI_IPV4, SAFI_VPN)
    for _, nlri in _nlri(load, withdrawn=True):
        yield _update(_attribute(15, head + nlri))


def end_of_rib() -> bytes:
    """The End-of-RIB of each family (RFC 4724 section 2)."""
    return b"".join(_update(_attribute(15, struct.pack("!HB", *family))) for family in FAMILIES)


def _update(attributes: bytes) -> bytes:
    return message(UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes)


def _attribute(code: int, value: bytes, flags: int = 0x80) -> bytes:
    return struct.pack("!BBH", flags | 0x10, code, len(value)) + value


def _attributes(vrf: int) -> bytes:
    target = struct.pack("!BBHI", 0, 2, workload.ASN, vrf + 1)
    path = struct.pack("!BBI", 2, 1, workload.FIRST_CUSTOMER_AS + vrf)
    return (
        _attribute(1, b"\x00", 0x40)
        + _attribute(2, path, 0x40)
        + _attribute(5, struct.pack("!I", 100), 0x40)
        + _attribute(16, target, 0xC0)
    )


def _nlri(load: Workload, *, withdrawn: bool) -> Iterator[tuple[int, bytes]]:
    heads = []
    for vrf in range(load.vrfs):
        label = (workload.vpn_label(vrf) << 4 | 1).to_bytes(3, "big")
        rd = struct.pack("!HHI", 0, workload.ASN, vrf + 1)
        heads.append(bytes([NLRI_BITS]) + (WITHDRAWN_LABEL if withdrawn else label) + rd)
    prefixes = [
        (workload.FIRST_PREFIX + (index << 8)).to_bytes(4, "big")[:3]
        for index in range(load.per_vrf)
    ]
    for start in range(0, load.per_vrf, load.per_update):
        for vrf, head in enumerate(heads):
            chosen = prefixes[start : start + load.per_update]
            yield vrf, b"".join(head + prefix for prefix in chosen)
