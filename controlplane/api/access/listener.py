"""Accept connections, note the peer of each, and pass bytes on to gRPC.

gRPC for Python neither reads the credentials of a Unix peer nor binds a listener to a device.
So it listens on a socket in a folder that only this user enters, behind a proxy. Each
connection inwards comes from a socket of its own in that folder, which gRPC reports as the peer:
by its path the proxy's note on the caller is found again. An abstract address would be free to
every user of the machine, who could take the next one and keep root out (MGMT-11).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.api.access.caller import UnixPeer, local_caller
from controlplane.api.access.last_words import refuse
from controlplane.api.access.limits import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_PEER,
    AtOnce,
    TooManyRequests,
)
from controlplane.api.access.person import person_of
from controlplane.model.intent import TcpApiIntent
from controlplane.model.supervision import Part, Task

_CREDENTIALS = struct.Struct("3i")
_CHUNK = 256 << 10
_PREFIX = "unix:"
MOST_REFUSED_IN_WORDS = 16


@dataclass(slots=True)
class AcceptProxy:
    """One listener. ``inner`` is gRPC's own socket."""

    inner: Path
    part: Part
    _server: asyncio.Server | None = None
    _notes: dict[str, UnixPeer | str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _open: AtOnce = field(default_factory=lambda: AtOnce(MAX_CONNECTIONS_PER_PEER, MAX_CONNECTIONS))
    _of_root: AtOnce = field(default_factory=lambda: AtOnce(MAX_CONNECTIONS, MAX_CONNECTIONS))
    _refused: AtOnce = field(
        default_factory=lambda: AtOnce(MOST_REFUSED_IN_WORDS, MOST_REFUSED_IN_WORDS)
    )
    _tasks: set[Task] = field(default_factory=set)

    async def listen(self, listener: socket.socket) -> None:
        """Take connections from a bound socket, which the proxy owns from here on."""
        listener.setblocking(False)
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_CHUNK)

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server:
            self._server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def peer(self, grpc_peer: str) -> UnixPeer | str | None:
        """Return who is behind a connection, by gRPC's name for it: a Unix peer or a remote
        address."""
        return self._notes.get(grpc_peer.removeprefix(_PREFIX))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self.part.spawn(self._serve(reader, writer))
        self._tasks = {each for each in self._tasks if not each.done()} | {task}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        note = _note(writer.get_extra_info("socket"))
        # Apart from the others, so that they cannot keep root out.
        room = self._of_root if _is_root(note) else self._open
        try:
            with room.hold(_key(note)):
                await self._pass_on(note, reader, writer)
        except TooManyRequests:
            await self._refuse(note, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the peer sees its connection end
        finally:
            writer.transport.abort()

    async def _refuse(
        self, note: UnixPeer | str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Say why a connection ends; one that begins with TLS ends without words."""
        if isinstance(note, UnixPeer):
            most = MAX_CONNECTIONS if _is_root(note) else MAX_CONNECTIONS_PER_PEER
            text = f"uid {note.uid} has too many connections: {most} at most"
            with contextlib.suppress(TooManyRequests), self._refused.hold(_key(note)):
                await refuse(reader, writer, f"{text}, {MAX_CONNECTIONS} of all users")

    async def _pass_on(
        self, note: UnixPeer | str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name = str(self.inner.with_suffix(f".{next(self._numbers)}"))
        inward = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inward.setblocking(False)
        self._notes[name] = note
        try:
            inward.bind(name)
            await asyncio.get_running_loop().sock_connect(inward, str(self.inner))
            inner_reader, inner_writer = await asyncio.open_unix_connection(
                sock=inward, limit=_CHUNK
            )
            await _relay(reader, inner_writer, inner_reader, writer)
        finally:
            inward.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108 - at once, in the loop: a name in a folder of tmpfs
            del self._notes[name]


async def _relay(
    reader: asyncio.StreamReader,
    inner_writer: asyncio.StreamWriter,
    inner_reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Relay both ways until either side ends: HTTP/2 has no half-closed connection."""
    try:
        async with asyncio.TaskGroup() as ways:
            inward = ways.create_task(_pump(reader, inner_writer))
            outward = ways.create_task(_pump(inner_reader, writer))
            inward.add_done_callback(lambda _: outward.cancel())
            outward.add_done_callback(lambda _: inward.cancel())
    finally:
        inner_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # this side is gone: the other one is closed as well
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


def _note(connection: socket.socket) -> UnixPeer | str:
    if connection.family == socket.AF_UNIX:
        size = _CREDENTIALS.size
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        return UnixPeer(pid, uid, gid, person_of(pid, uid))
    with contextlib.suppress(OSError):
        return str(connection.getpeername()[0])
    return "gone"


def _is_root(note: UnixPeer | str) -> bool:
    return isinstance(note, UnixPeer) and local_caller(note).unpaced


def _key(note: UnixPeer | str) -> str:
    return f"uid:{note.uid}" if isinstance(note, UnixPeer) else note


def unix_listener(path: Path, mode: int) -> socket.socket:
    """Return a listening Unix socket; one that a former run left behind is replaced. Its name
    appears once it takes connections: between bind and listen a connection would be refused, and
    a client that waits for the name would take that as an answer. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made = path.with_name(path.name + ".new")
    try:
        made.unlink(missing_ok=True)
        listener.bind(str(made))
        made.chmod(mode)
        listener.listen(64)
        made.replace(path)
    except OSError:
        listener.close()
        made.unlink(missing_ok=True)
        raise
    return listener


def tcp_listener(intent: TcpApiIntent) -> socket.socket:
    """Return a bound TCP socket, tied to its device where one is named. Raises OSError."""
    family = socket.AF_INET if intent.address.version == 4 else socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if intent.bind_device:
            name = intent.bind_device.encode() + b"\0"
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        listener.bind((str(intent.address), intent.port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener
