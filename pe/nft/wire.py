"""nftables over netlink: whole batches in, names, elements and rules out.

The kernel has dealt with a batch when send returns (nfnetlink_rcv_batch), so nothing here waits
for more than the batch itself.
"""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence

from pe.netlink import codec as nl
from pe.nft.diff import INET, SUBSYSTEM, Names, batch
from pe.nft.model import Map
from pe.nft.text_loader import NETLINK_NETFILTER
from pe.policy.program import TABLE

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS, _GET_GENERATION, _GET_OBJECT = (
    SUBSYSTEM << 8 | kind for kind in (1, 4, 7, 10, 13, 16, 19)
)
_HEAD = bytes((INET, 0, 0, 0))
_OURS = nl.attribute(1, TABLE.encode() + b"\0")
_BE64 = struct.Struct(">Q")


class GenerationMovedError(OSError):
    """Somebody changed the ruleset since it was read; nothing was done."""


class BatchRefusedError(OSError):
    """The kernel would not take a batch; all is as before."""


class SegmentSocket:
    """One socket for our table."""

    def __init__(self) -> None:
        self._socket = nl.NetlinkSocket(NETLINK_NETFILTER)
        self._room = nl.BUFFER

    def generation(self) -> int:
        """The number of the ruleset's last change, by whomever."""
        seq = self._socket.next_seq()
        head = nl.HEADER.pack(20, _GET_GENERATION, nl.NLM_F_REQUEST, seq, 0)
        self._socket.send(head + _HEAD)
        for message in self._socket.receive():
            if message.seq == seq and message.type != nl.NLMSG_ERROR:
                return int.from_bytes(nl.attributes(message.body[4:])[1], "big")
        raise OSError(errno.EPROTO, "nftables does not tell its generation")

    def apply(self, messages: Sequence[bytes], generation: int | None = None) -> None:
        """Send one transaction. Raises GenerationMovedError if the ruleset is not of this
        generation, BatchRefusedError with the first refusal."""
        data = batch(messages, generation)
        if len(data) > self._room // 2:
            self._room = 4 * len(data)
            self._socket.resize(socket.SO_SNDBUF, nl.SO_SNDBUFFORCE, self._room)
        self._drain()
        try:
            self._socket.send(data)
        except OSError as error:
            # ERESTART is answered by an error about the batch's first message, or comes from send.
            raise BatchRefusedError(error.errno, error.strerror) from error
        self._judge(messages)

    def _drain(self) -> None:
        self._socket.receive()

    def _judge(self, messages: Sequence[bytes]) -> None:
        acknowledged = False
        for answer in self._socket.receive():
            if answer.type != nl.NLMSG_ERROR:
                continue
            refused = nl.refusal(answer)
            if refused is None:
                acknowledged = acknowledged or answer.seq == len(messages)
                continue
            if refused.errno == errno.ERESTART:
                raise GenerationMovedError(errno.ERESTART, "the ruleset changed meanwhile")
            kind = messages[answer.seq - 1][4] if 0 < answer.seq <= len(messages) else -1
            what = f"{refused.strerror} (message {answer.seq} of {len(messages)}, kind {kind})"
            raise BatchRefusedError(refused.errno, what)
        if messages and not acknowledged:
            raise BatchRefusedError(errno.EPROTO, "a batch was not acknowledged")

    def names(self) -> Names | None:
        """What our table holds; None if it is not there."""
        tables = (nl.attributes(m.body[4:]) for m in self._socket.dump(_GET_TABLE, _HEAD))
        if not any(nl.text(found[1]) == TABLE for found in tables):
            return None
        return Names(
            chains=frozenset(self._named(_GET_CHAIN, 3)),
            maps=frozenset(self._named(_GET_SET, 2)),
            counters=frozenset(self._named(_GET_OBJECT, 2)),
        )

    def _named(self, kind: int, attribute: int) -> Iterator[str]:
        for found in self._dump(kind):
            yield nl.text(found[attribute])

    def _dump(self, kind: int, more: bytes = b"") -> Iterator[dict[int, memoryview]]:
        """Attributes of whatever of a kind is in our table."""
        try:
            answer = self._socket.dump(kind, _HEAD + _OURS + more)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        for message in answer:
            found = nl.attributes(message.body[4:])
            if nl.text(found[1]) == TABLE:
                yield found

    def fingerprint(self) -> str:
        """A digest of chains, maps (not their elements) and rules, as the kernel has them."""
        digest = hashlib.sha256()
        kinds = {_GET_CHAIN: {2, 6}, _GET_SET: {16}, _GET_RULE: {3, 6}}
        for kind, left_out in kinds.items():
            for found in self._dump(kind):
                # Handles and places are new with each making, uses change with elements.
                parts = (bytes(v) for k, v in sorted(found.items()) if k not in left_out)
                digest.update(b"".join(parts))
        return digest.hexdigest()

    def counters(self) -> dict[str, int]:
        """Packets of each named counter."""
        return {nl.text(found[2]): _packets(found[4]) for found in self._dump(_GET_OBJECT)}

    def elements(self, maps: Mapping[str, Map]) -> dict[str, dict[bytes, bytes]]:
        """All elements of these maps, as ``pe.policy.elements`` has them."""
        return {name: self._elements(name, kind) for name, kind in maps.items()}

    def _elements(self, name: str, kind: Map) -> dict[bytes, bytes]:
        held: dict[bytes, bytes] = {}
        set_name = nl.attribute(2, name.encode() + b"\0")
        for found in self._dump(_GET_ELEMENTS, set_name):
            if 3 in found:
                held.update(_pairs(kind, found[3]))
        return held

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _packets(data: memoryview) -> int:
    (packets,) = _BE64.unpack(nl.attributes(data)[2])
    return int(packets)


def _pairs(kind: Map, listed: memoryview) -> Iterator[tuple[bytes, bytes]]:
    size, at, end = kind.key_length, 0, len(listed)
    while at + 4 <= end:
        length = int.from_bytes(listed[at : at + 2], sys.byteorder)
        found = nl.attributes(listed[at + 4 : at + length])
        key = bytes(nl.attributes(found[1])[1])[:size]
        if kind.interval:
            key += bytes(nl.attributes(found[10])[1])[:size]
        yield key, _value(nl.attributes(found[2]))
        at += length + 3 & ~3


def _value(data: Mapping[int, memoryview]) -> bytes:
    if 1 in data:
        return bytes(data[1])
    return nl.text(nl.attributes(data[2])[2]).encode()
