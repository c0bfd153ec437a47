"""A node's port, raw: frames out as they are, and what comes in, by the token it carries."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import select
import socket
import struct
import time
from collections.abc import Iterable
from functools import cached_property

from labs.attack.burst import Ring
from labs.attack.inside import socket_in

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SIOCGIFHWADDR = 0x8927
SO_RCVBUFFORCE = 33
BUFFER = 8 << 20
_numbers = itertools.count(1)


def token() -> bytes:
    """Twelve bytes that no other packet of this run carries."""
    return b"token%07d" % next(_numbers)


class Tap:
    """Frames that came in on a port since the tap was opened, oldest first."""

    def __init__(self, node: str, name: str) -> None:
        self._socket = socket_in(node, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.bind((name, ETH_P_ALL))
        self._socket.setblocking(False)
        self._seen: list[bytes] = []

    def frames(self) -> list[bytes]:
        """All frames so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, address = self._socket.recvfrom(65536)
                if address[2] != PACKET_OUTGOING:
                    self._seen.append(frame)
        return self._seen

    def count(self, mark: bytes) -> int:
        """How many frames carry a mark."""
        return sum(mark in frame for frame in self.frames())

    def wait(self, mark: bytes, seconds: float, most: int = 1) -> int:
        """Wait until so many frames carry a mark, or for so long; gives their number."""
        deadline = time.monotonic() + seconds
        while (found := self.count(mark)) < most and (left := deadline - time.monotonic()) > 0:
            select.select([self._socket], [], [], left)
        return found

    def clear(self) -> None:
        """Forget all frames so far."""
        self.frames()
        self._seen = []

    def close(self) -> None:
        """No more."""
        self._socket.close()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Port:
    """A device of a node, by name."""

    def __init__(self, node: str, name: str) -> None:
        self.node, self.name = node, name

    def __repr__(self) -> str:
        return f"{self.node}:{self.name}"

    @cached_property
    def mac(self) -> bytes:
        """Its six bytes."""
        with socket_in(self.node, socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            request = struct.pack("256s", self.name.encode())
            return fcntl.ioctl(any_socket, SIOCGIFHWADDR, request)[18:24]

    @cached_property
    def _out(self) -> socket.socket:
        out = socket_in(self.node, socket.AF_PACKET, socket.SOCK_RAW)
        out.bind((self.name, 0))
        return out

    def send(self, *frames: bytes) -> None:
        """Put frames on the wire."""
        for frame in frames:
            self._out.send(frame)

    def flood(self, frames: Iterable[bytes], *, scattered: bool = False) -> int:
        """Put very many frames on the wire, as fast as it goes; gives their number."""
        with socket_in(self.node, socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind((self.name, 0))
            ring = Ring(out, scattered=scattered)
            try:
                return ring.send(frames)
            finally:
                ring.close()

    def forget(self) -> None:
        """The device has been made anew: its address and its socket are others now."""
        self.__del__()
        self.__dict__.pop("mac", None)
        self.__dict__.pop("_out", None)

    def __del__(self) -> None:
        if "_out" in self.__dict__:
            self._out.close()

    def tap(self) -> Tap:
        """Listen from now on; to be closed."""
        return Tap(self.node, self.name)
