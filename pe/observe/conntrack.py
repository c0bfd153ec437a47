"""Count the connections of each zone in the kernel's table, over ctnetlink.

The kernel exports one number for the whole table (``nf_conntrack_count``); that of a VRF is inside
a rule's expression (``ct count``), which no dump has. So the table is walked, in a thread, and not
more often than every few seconds.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Mapping

from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from pe.process import sysctl

_GET = 1 << 8 | 1
_ZONE = 18
_ATTRIBUTE = struct.Struct("=HH")
KEPT_SECONDS = 5.0
_COUNT, _MAX = "netfilter/nf_conntrack_count", "netfilter/nf_conntrack_max"


def table_use() -> tuple[int, int]:
    """Entries and room of this network namespace's table; zeroes where there is no tracking."""
    found = sysctl.read((_COUNT, _MAX))
    return int(found[_COUNT] or 0), int(found[_MAX] or 0)


class ConntrackCensus:
    """Counts by zone, kept for some seconds."""

    def __init__(self) -> None:
        self._counted: Mapping[int, int] = {}
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def by_zone(self) -> Mapping[int, int]:
        """Zone to connections; zone 0 is what belongs to no VRF. Raises OSError."""
        async with self._turn:
            now = time.monotonic()
            if now >= self._until:
                entries, _ = table_use()
                self._counted = await asyncio.to_thread(count) if entries else {}
                self._until = time.monotonic() + KEPT_SECONDS
            return self._counted


def count() -> Mapping[int, int]:
    """Walk the table. Blocks; raises OSError."""
    found: Counter[int] = Counter()

    def take(message: nl.Message) -> None:
        found[zone_of(message.body)] += 1

    opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    try:
        opened.each(_GET, bytes(4), take)
    finally:
        opened.close()
    return found


def zone_of(body: memoryview) -> int:
    """Return the zone of an entry; only this attribute is looked for: there may be very many."""
    at, end = 4, len(body)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind & nl.NLA_TYPE_MASK == _ZONE:
            return int.from_bytes(body[at + 4 : at + 6], "big")
        if length < 4:
            break
        at += (length + 3) & ~3
    return 0
