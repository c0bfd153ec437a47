"""Very many frames from one port, laid out in memory that is shared with the kernel
(PACKET_TX_RING, packet(7)), so that a system call sends thousands. On the lab kernel a call
costs as much as fifty frames."""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterable
from itertools import islice

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_LOSS, PACKET_VNET_HDR = 263, 10, 13, 14, 15
TPACKET_V2 = 1
SEND_REQUEST = 1
SLOT, SLOTS = 256, 8192
VIRTIO = 10
DATA = 32 + VIRTIO
"""Where a frame begins in its slot: behind ``tpacket2_hdr`` and ``virtio_net_hdr``."""

LARGEST = SLOT - DATA
_TPACKET = struct.Struct("=III")
_VIRTIO = struct.Struct("=BBHHHH")


class Ring:
    """Frames of up to 214 bytes, sent in order. For one ``send``: the kernel goes on in the ring
    where it stopped, and a last, partial round leaves it in the middle.

    With ``scattered`` only the Ethernet header of a frame lies in the packet's first piece of
    memory, the rest in a page of its own: what a filter sees that forgets to look there.
    """

    def __init__(self, bound: socket.socket, *, scattered: bool = False) -> None:
        self._socket, self._scattered = bound, scattered
        bound.setsockopt(SOL_PACKET, PACKET_VERSION, struct.pack("=i", TPACKET_V2))
        bound.setsockopt(SOL_PACKET, PACKET_LOSS, struct.pack("=i", 1))
        bound.setsockopt(SOL_PACKET, PACKET_VNET_HDR, struct.pack("=i", 1))
        size = SLOT * SLOTS
        request = struct.pack("=IIII", 4096, size // 4096, SLOT, SLOTS)
        bound.setsockopt(SOL_PACKET, PACKET_TX_RING, request)
        self._memory = mmap.mmap(bound.fileno(), size)

    def send(self, frames: Iterable[bytes]) -> int:
        """Send frames; gives their number. Raises OSError."""
        source, memory, total = iter(frames), self._memory, 0
        while batch := list(islice(source, SLOTS)):
            for number, frame in enumerate(batch):
                at = number * SLOT
                memory[at + DATA : at + DATA + len(frame)] = frame
                length = len(frame) + VIRTIO
                _VIRTIO.pack_into(memory, at + 32, 0, 0, self._first_piece(frame), 0, 0, 0)
                _TPACKET.pack_into(memory, at, SEND_REQUEST, length, length)
            self._socket.send(b"")
            total += len(batch)
        return total

    def _first_piece(self, frame: bytes) -> int:
        return 14 if self._scattered else len(frame)

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
