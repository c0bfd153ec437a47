"""Very many frames from one port, laid out in memory that is shared with the kernel
(PACKET_TX_RING, packet(7)), so that a system call sends thousands. On the lab kernel a call
costs as much as fifty frames."""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterable
from itertools import islice

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, PACKET_LOSS = 263, 10, 13, 14
TPACKET_V2 = 1
SEND_REQUEST = 1
SLOT, SLOTS = 256, 8192
DATA = 32
"""Where a frame begins in its slot: behind ``struct tpacket2_hdr``."""

LARGEST = SLOT - DATA


class Ring:
    """Frames of up to 224 bytes, sent in order. For one ``send``: the kernel goes on in the ring
    where it stopped, and a last, partial round leaves it in the middle."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        bound.setsockopt(SOL_PACKET, PACKET_VERSION, struct.pack("=i", TPACKET_V2))
        bound.setsockopt(SOL_PACKET, PACKET_LOSS, struct.pack("=i", 1))
        size = SLOT * SLOTS
        request = struct.pack("=IIII", 4096, size // 4096, SLOT, SLOTS)
        bound.setsockopt(SOL_PACKET, PACKET_TX_RING, request)
        self._memory = mmap.mmap(bound.fileno(), size)

    def send(self, frames: Iterable[bytes]) -> int:
        """Send frames; gives their number. Raises OSError."""
        source, memory, total = iter(frames), self._memory, 0
        header = struct.Struct("=III")
        while batch := list(islice(source, SLOTS)):
            for number, frame in enumerate(batch):
                at = number * SLOT
                memory[at + DATA : at + DATA + len(frame)] = frame
                header.pack_into(memory, at, SEND_REQUEST, len(frame), len(frame))
            self._socket.send(b"")
            total += len(batch)
        return total

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
