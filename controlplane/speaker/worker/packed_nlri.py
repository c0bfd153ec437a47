"""Packed NLRI, walked and passed on as they came: no object and no text for each route."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.speaker.worker.surface import AFI, SAFI, Notify

VPN_SAFI = 128
LABEL, RD = 24, 64
LABEL_AND_RD = LABEL + RD
KNOWN_RD_TYPES = range(3)
WITHDRAWN_LABEL = b"\x80\x00\x00"


class PackedNlri:
    """Routes of one family and one next hop; stands where ExaBGP has a list of NLRI."""

    __slots__ = ("action", "afi", "data", "next_hop", "safi")

    def __init__(self, afi: int, safi: int, action: int, data: bytes, next_hop: str) -> None:
        self.afi, self.safi, self.action = afi, safi, action
        self.data, self.next_hop = data, next_hop


def bounds(afi: int, safi: int) -> tuple[int, int]:
    """Return the least and the greatest length, in bits, that an NLRI of this family may state."""
    extra = LABEL_AND_RD if safi == VPN_SAFI else 0
    return extra, extra + (32 if afi == 1 else 128)


def check(afi: int, safi: int, data: bytes) -> list[int]:
    """Walk packed NLRI; the positions of those with more labels than one.

    Notify 3/10 where a length is out of bounds or runs past the end (RFC 7606 section 5.3): what
    follows such an NLRI cannot be located.
    """
    least, most = bounds(afi, safi)
    labelled = safi == VPN_SAFI
    stacks: list[int] = []
    position, end = 0, len(data)
    while position < end:
        bits = data[position]
        after = position + 1 + (bits + 7 >> 3)
        if after > end:
            raise Notify(3, 10, "the last NLRI is cut short")
        if bits < least:
            raise out_of_bounds(afi, safi, bits)
        if labelled and not data[position + 3] & 1 and has_stack(data, position, most):
            stacks.append(position)
        elif bits > most:
            raise out_of_bounds(afi, safi, bits)
        position = after
    return stacks


def out_of_bounds(afi: int, safi: int, bits: int) -> Notify:
    """Return the NOTIFICATION for a length that the family does not have."""
    family = f"{AFI.create(afi)}/{SAFI.create(safi)}"
    return Notify(3, 10, f"NLRI of {bits} bits in {family}")


def has_stack(data: bytes, position: int, most: int) -> bool:
    """Return True if a VPN NLRI, whose first label is not marked as the last, has several.

    Without the Multiple Labels capability the mark is to be ignored (RFC 8277 section 2.2), and
    some speakers never set it. So several labels are seen only where one label makes no sense (a
    prefix that is too long, a route distinguisher of no known type) and several do.
    """
    start = position + 1
    if data[position] <= most and is_known_rd(data, start + 3):
        return False
    rest = data[position] - LABEL_AND_RD
    while rest >= LABEL:
        start, rest = start + 3, rest - LABEL
        if data[start + 2] & 1:
            return rest <= most - LABEL_AND_RD and is_known_rd(data, start + 3)
    return False


def is_known_rd(data: bytes, at: int) -> bool:
    """Return True for a route distinguisher of a type that RFC 4364 section 4.2 defines."""
    return int.from_bytes(data[at : at + 2]) in KNOWN_RD_TYPES


def without_stacks(data: bytes, stacks: list[int]) -> tuple[bytes, bytes]:
    """Return part NLRI: those with one label as they are, and those with several as withdrawals."""
    single, several, begin = [], [], 0
    for position in stacks:
        after = position + 1 + (data[position] + 7 >> 3)
        start, bits = position + 1, data[position]
        while not data[start + 2] & 1:
            start, bits = start + 3, bits - LABEL
        single.append(data[begin:position])
        several.append(bytes((bits,)) + WITHDRAWN_LABEL + data[start + 3 : after])
        begin = after
    return b"".join([*single, data[begin:]]), b"".join(several)


def as_withdrawn(safi: int, data: bytes) -> bytes:
    """Return packed NLRI as a withdrawal has them: no label (RFC 8277 section 2.4)."""
    if safi != VPN_SAFI:
        return data
    found, position = [], 0
    while position < len(data):
        after = position + 1 + (data[position] + 7 >> 3)
        found += [data[position : position + 1], WITHDRAWN_LABEL, data[position + 4 : after]]
        position = after
    return b"".join(found)


def pieces(data: bytes, room: int) -> Iterator[bytes]:
    """Cut packed NLRI at route boundaries into pieces of at most ``room`` octets."""
    start = position = 0
    while position < len(data):
        size = 1 + (data[position] + 7 >> 3)
        if position + size - start > room and position > start:
            yield data[start:position]
            start = position
        position += size
    if position > start:
        yield data[start:position]
