"""Make a port whose far end is a file descriptor of the node (drivers/net/tun.c)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator

DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_TAP, _NO_HEADER, _EXCLUSIVE = 0x0002, 0x1000, 0x8000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFHWADDR = 0x8913, 0x8914, 0x8927
_UP = 1
_LARGEST = 65536


class Tap:
    """Own one TAP port; it is down until it is set up, and removed when it is closed."""

    def __init__(self, name: str) -> None:
        """Create it. Raises OSError if there is no /dev/net/tun, or a device of that name."""
        self.name = name
        self.descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            flags = _TAP | _NO_HEADER | _EXCLUSIVE
            fcntl.ioctl(self.descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
            self.mac = self._ask(_SIOCGIFHWADDR)[18:24]
        except OSError:
            os.close(self.descriptor)
            raise

    def _ask(self, request: int, value: bytes = b"") -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            return fcntl.ioctl(
                any_socket, request, struct.pack("16s24s", self.name.encode(), value)
            )

    def set_up(self) -> None:
        """Set it up, for a port that no manager sets up. Raises OSError."""
        (flags,) = struct.unpack_from("=H", self._ask(_SIOCGIFFLAGS), 16)
        self._ask(_SIOCSIFFLAGS, struct.pack("=H", flags | _UP))

    def send(self, frame: bytes) -> None:
        """Have a frame received on the port; it is lost if the port is down."""
        try:
            os.write(self.descriptor, frame)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN, errno.EINVAL):
                raise  # a frame cut short is refused by the driver already

    def frames(self) -> Iterator[bytes]:
        """Return the frames that have left by the port since the last call."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                yield os.read(self.descriptor, _LARGEST)

    def close(self) -> None:
        """Remove the port."""
        os.close(self.descriptor)
