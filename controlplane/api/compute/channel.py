"""A compute worker as a process, and the connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import subprocess
from dataclasses import dataclass, field

from controlplane.api.compute import frames
from controlplane.api.compute.frames import LENGTH, Reply, encode
from controlplane.api.compute.launch import launch
from controlplane.policy.insight.replica import ReplicaChange

_CHUNK = 1 << 20
MOST_REPLY = 256 << 20
"""Octets of one reply: more is an error of the worker."""


@dataclass(slots=True)
class ProcessChannel:
    """Starts its process when it is made. Raises OSError where that fails."""

    user: str
    _process: subprocess.Popen[bytes] = field(init=False)
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._process, self._socket = launch(self.user)

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the worker has not ended."""
        return self._process.poll() is None

    async def send(self, frame: object) -> None:
        """Write a frame; a large value is encoded in a thread."""
        if isinstance(frame, ReplicaChange) and frame.large:
            body = await asyncio.to_thread(encode, frame)
        else:
            body = encode(frame)
        await asyncio.get_running_loop().sock_sendall(self._socket, body)

    async def receive(self) -> Reply:
        """Read a frame. Raises EOFError, OSError and msgspec.MsgspecError."""
        (length,) = LENGTH.unpack(await self._exactly(LENGTH.size))
        if length > MOST_REPLY:
            raise OSError(errno.EMSGSIZE, f"a reply of {length} octets")
        return frames.reply(await self._exactly(length))

    async def _exactly(self, length: int) -> bytes:
        loop, body = asyncio.get_running_loop(), bytearray(length)
        view, filled = memoryview(body), 0
        while filled < length:
            received = await loop.sock_recv_into(self._socket, view[filled : filled + _CHUNK])
            if not received:
                raise EOFError
            filled += received
        view.release()
        return bytes(body)

    def interrupt(self) -> None:
        """Ask for the end of the running job."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)

    async def kill(self) -> str:
        """End the process and wait for its end."""
        self._socket.close()
        if self.running:
            with contextlib.suppress(PermissionError):  # another user's, and no CAP_KILL
                self._process.kill()
        await asyncio.to_thread(self._wait)
        return f"exit code {self._process.returncode}"

    def _wait(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
