"""Delete the connections of conntrack zones, over ctnetlink.

A flush that names a zone deletes every zone's connections on kernels before 6.8, which ignore the
attribute (``ctnetlink_flush_conntrack``): so the table is walked, and each connection deleted by
its tuple.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Sequence

from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from pe.observe.conntrack import table_use, zone_of

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE, _ZONE = 1, 18
BATCH = 512
"""Deletions in one send: their answers fit the socket's buffer."""
PASSES = 4
"""A walk may miss connections while the kernel resizes its table."""


def flush(zones: Collection[int], used: Collection[int] = ()) -> int:
    """Delete all connections of these zones; return how many there were. Blocks.

    Raises OSError, also (EAGAIN) where connections keep coming: a port still has the zone. In those
    that are ``used``, by another VRF now, they may.
    """
    if not zones or not table_use()[0]:
        return 0
    opened, deleted = nl.NetlinkSocket(NETLINK_NETFILTER), 0
    try:
        for _ in range(PASSES):
            found = _find(opened, zones)
            if not found:
                return deleted
            for at in range(0, len(found), BATCH):
                deleted += _delete(opened, found[at : at + BATCH])
        if not _find(opened, set(zones).difference(used)):
            return deleted
    finally:
        opened.close()
    raise OSError(errno.EAGAIN, "connections of a released zone keep coming")


def _find(opened: nl.NetlinkSocket, zones: Collection[int]) -> list[bytes]:
    """Return the bodies of the messages that delete the zones' connections."""
    found: list[bytes] = []

    def take(message: nl.Message) -> None:
        if (zone := zone_of(message.body)) in zones:
            original = nl.attributes(message.body[4:])[_TUPLE]
            family = bytes((message.body[0], 0, 0, 0))
            nested = nl.attribute(_TUPLE | nl.NLA_F_NESTED, bytes(original))
            found.append(family + nested + nl.attribute(_ZONE, zone.to_bytes(2, "big")))

    opened.each(_GET, bytes(4), take)
    return found


def _delete(opened: nl.NetlinkSocket, bodies: Sequence[bytes]) -> int:
    flags, messages = nl.NLM_F_REQUEST | nl.NLM_F_ACK, bytearray()
    for seq, body in enumerate(bodies, opened.take_seqs(len(bodies))):
        messages += nl.HEADER.pack(16 + len(body), _DELETE, flags, seq, 0) + body
    opened.send(messages)
    errors = [nl.refusal(answer) for answer in opened.receive()]
    for error in errors:
        if error is not None and error.errno != errno.ENOENT:  # it ended by itself meanwhile
            raise error
    return errors.count(None)
