"""A BGP speaker that sends routes faster than any receiver takes them.

Every message is packed before the session is up; then it is large writes, held back by
TCP alone. ``python -m perf.sender --local A --peer B ...`` announces as soon as the session
is established, withdraws when it reads a line ``withdraw``, and announces one prefix with ever
other attributes when it reads ``flood``; end of file ends it. It
prints a line of JSON for each event, ``{"event": NAME, "at": SECONDS}``, the time being
CLOCK_MONOTONIC, which is the same in every process of the machine: ``ready``,
``established``, ``announced``, ``flooded`` and ``withdrawn`` (the last byte is in the socket's
buffer), ``closed`` with a ``reason``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from time import monotonic, sleep

from perf import messages, workload
from perf.workload import Workload

PORT = 179
CHUNK = 1 << 16
"""Bytes in one write at least: whole messages, so that a keepalive fits between two."""

RETRY_SECONDS = 0.5


class PeerGoneError(Exception):
    """The session ended; the message says why."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is sent, packed: chunks of whole messages."""

    announce: Sequence[bytes]
    withdraw: Sequence[bytes]
    flood: Sequence[bytes] = ()


def script(load: Workload, next_hop: IPv4Address, flood: int = 0) -> Script:
    """Pack all that will be sent of a workload."""
    ends = messages.end_of_rib()
    return Script(
        _chunks([*messages.announcements(load, next_hop), ends]),
        _chunks(messages.withdrawals(load)),
        _chunks(messages.flood(load, next_hop, flood)),
    )


def _chunks(packed: Iterable[bytes]) -> list[bytes]:
    chunks: list[bytes] = []
    parts: list[bytes] = []
    size = 0
    for part in packed:
        parts.append(part)
        size += len(part)
        if size >= CHUNK:
            chunks.append(b"".join(parts))
            parts, size = [], 0
    return [*chunks, b"".join(parts)] if parts else chunks


class Session:
    """One session over a connected socket, in any state; ``pump`` does what is due."""

    def __init__(self, connection: socket.socket, greeting: bytes, hold_time: int) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._queue: list[bytes] = []
        self._rest = memoryview(greeting)
        self._received = b""
        self._opened = False
        self.established = False
        self._interval = hold_time / 3
        self._due = monotonic() + self._interval

    def fileno(self) -> int:
        """The socket's descriptor, so that a selector takes the session itself."""
        return self._socket.fileno()

    def send(self, chunks: Sequence[bytes]) -> None:
        """Queue chunks of whole messages."""
        self._queue += chunks

    @property
    def idle(self) -> bool:
        """True if all that was queued has been written."""
        return not self._queue and not self._rest

    @property
    def patience(self) -> float | None:
        """Seconds until a keepalive is due; None while the next turn is the peer's."""
        if not (self.established and self.idle):
            return None
        return max(0.0, self._due - monotonic())

    def write(self) -> None:
        """Write until the socket is full or the queue empty; keepalives go between chunks."""
        try:
            while self._rest or self._next_chunk():
                self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGoneError(str(error)) from error

    def _next_chunk(self) -> bool:
        now = monotonic()
        if self.established and now >= self._due:
            self._queue.insert(0, messages.message(messages.KEEPALIVE))
            self._due = now + self._interval
        if not self._queue:
            return False
        self._rest = memoryview(self._queue.pop(0))
        return True

    def read(self) -> None:
        """Take what has come. Raises PeerGoneError at a NOTIFICATION or the end."""
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            raise PeerGoneError(str(error)) from error
        if not data:
            raise PeerGoneError("the peer closed the connection")
        self._received += data
        while len(self._received) >= messages.HEADER_LENGTH:
            length, kind = struct.unpack_from("!HB", self._received, 16)
            if len(self._received) < length:
                return
            self._take(kind, self._received[messages.HEADER_LENGTH : length])
            self._received = self._received[length:]

    def _take(self, kind: int, body: bytes) -> None:
        if kind == messages.OPEN:
            (hold_time,) = struct.unpack_from("!H", body, 3)
            if hold_time:
                self._interval = min(self._interval, hold_time / 3)
                self._due = min(self._due, monotonic() + self._interval)
            self._queue.insert(0, messages.message(messages.KEEPALIVE))
            self._opened = True
        elif kind == messages.NOTIFICATION:
            raise PeerGoneError(f"NOTIFICATION {body[0]}/{body[1]} {body[2:]!r}")
        elif kind == messages.KEEPALIVE and self._opened:
            self.established = True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def say(event: str, **more: str) -> None:
    """Print one event with the time."""
    line = json.dumps({"event": event, "at": monotonic(), **more})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def accept(local: str, port: int) -> socket.socket:
    """Wait for the peer to connect."""
    with socket.create_server((local, port)) as listener:
        say("ready")
        return listener.accept()[0]


def connect(local: str, peer: str, port: int) -> socket.socket:
    """Connect to the peer, trying again until it listens."""
    say("ready")
    while True:
        with contextlib.suppress(OSError):
            return socket.create_connection((peer, port), 5, source_address=(local, 0))
        sleep(RETRY_SECONDS)


def serve(session: Session, packed: Script) -> None:
    """Announce, and withdraw when told to, until standard input or the session ends."""
    sending, greeted = "", False
    with selectors.DefaultSelector() as ready:
        ready.register(sys.stdin.fileno(), selectors.EVENT_READ)
        ready.register(session, selectors.EVENT_READ)
        while True:
            writing = 0 if session.idle else selectors.EVENT_WRITE
            ready.modify(session, selectors.EVENT_READ | writing)
            for key, mask in ready.select(session.patience):
                if key.fileobj is not session:
                    line = os.read(key.fd, 4096)
                    if not line:
                        return
                    flooding = line == b"flood\n"
                    session.send(packed.flood if flooding else packed.withdraw)
                    sending = "flooded" if flooding else "withdrawn"
                elif mask & selectors.EVENT_READ:
                    session.read()
            if session.established and not greeted:
                greeted, sending = True, "announced"
                say("established")
                session.send(packed.announce)
            session.write()
            if sending and session.idle:
                say(sending)
                sending = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one session; the exit status is 1 if the peer ended it."""
    options = _options().parse_args(argv)
    load = Workload(options.routes, options.vrfs, options.per_update)
    packed = script(load, options.local, options.flood)
    local, peer = str(options.local), str(options.peer)
    connection = (
        accept(local, options.port) if options.accept else connect(local, peer, options.port)
    )
    greeting = messages.open_message(workload.ASN, options.local, options.hold_time)
    session = Session(connection, greeting, options.hold_time)
    try:
        serve(session, packed)
    except PeerGoneError as gone:
        say("closed", reason=str(gone))
        return 1
    finally:
        session.close()
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="perf.sender", description=__doc__)
    parser.add_argument("--local", type=IPv4Address, required=True)
    parser.add_argument("--peer", type=IPv4Address, required=True)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--accept", action="store_true", help="wait for the peer to connect")
    parser.add_argument("--hold-time", type=int, default=90)
    parser.add_argument("--routes", type=int, default=Workload().routes)
    parser.add_argument("--vrfs", type=int, default=Workload().vrfs)
    parser.add_argument("--flood", type=int, default=0, help="UPDATEs of a flood")
    parser.add_argument("--per-update", type=int, default=Workload().per_update)
    return parser


if __name__ == "__main__":
    sys.exit(main())
