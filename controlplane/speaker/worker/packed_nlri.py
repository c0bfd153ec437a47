"""Packed NLRI, walked and passed on as they came: no object and no text for each route."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.speaker.worker.surface import AFI, SAFI, Notify

VPN_SAFI = 128
LABEL_AND_RD = 88


class PackedNlri:
    """Routes of one family and one next hop; stands where ExaBGP has a list of NLRI."""

    __slots__ = ("action", "afi", "data", "next_hop", "safi")

    def __init__(self, afi: int, safi: int, action: int, data: bytes, next_hop: str) -> None:
        self.afi, self.safi, self.action = afi, safi, action
        self.data, self.next_hop = data, next_hop


def bounds(afi: int, safi: int) -> tuple[int, int]:
    """The least and the greatest length, in bits, that an NLRI of this family may state."""
    extra = LABEL_AND_RD if safi == VPN_SAFI else 0
    return extra, extra + (32 if afi == 1 else 128)


def check(afi: int, safi: int, data: bytes) -> None:
    """Walk packed NLRI; Notify 3/10 where a length is out of bounds or runs past the end."""
    least, most = bounds(afi, safi)
    position, end = 0, len(data)
    while position < end:
        bits = data[position]
        if not least <= bits <= most:
            raise Notify(3, 10, f"NLRI of {bits} bits in {AFI.create(afi)}/{SAFI.create(safi)}")
        position += 1 + (bits + 7 >> 3)
    if position != end:
        raise Notify(3, 10, "the last NLRI is cut short")


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
