"""Keeps a guest running in the background, so that a lab stays up between commands.

``start`` forks off a process that boots a guest and listens on a Unix socket; ``run`` has
it run a command and brings back output and status; ``stop`` ends it. One request is one
line of JSON on a connection, the answers are the frames of ``frames.py``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from labs.kernel import build, frames
from labs.kernel.guest import BOOT_SECONDS, Guest, GuestDiedError, Sink, to_stream
from labs.waiting import until


def start(name: str, *, mem: str = "4G") -> None:
    """Have a guest called ``name`` running when this returns; GuestDiedError otherwise."""
    if running(name):
        return
    build.kernel()  # here, where its progress is seen
    log = _socket(name).with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, name, mem],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until(lambda: running(name) or process.poll() is not None, BOOT_SECONDS)
    if not running(name):
        raise GuestDiedError(log.read_text(errors="replace").strip() or "the guest did not come up")
    process.returncode = 0  # it goes on without us


def running(name: str) -> bool:
    """Return whether a guest of that name is up."""
    with contextlib.suppress(OSError), _connected(name):
        return True
    return False


def run(name: str, argv: Sequence[str]) -> int:
    """Run a command in the guest called ``name``, as ``Guest.run`` does; GuestDiedError."""
    request = {"argv": [*argv], "cwd": str(Path.cwd()), "env": dict(os.environ)}
    sinks = {frames.STDOUT: to_stream(1), frames.STDERR: to_stream(2)}
    decoder = frames.Decoder()
    with _connected(name) as channel:
        channel.sendall(json.dumps(request).encode() + b"\n")
        while data := channel.recv(1 << 16):
            for kind, _, payload in decoder.feed(data):
                if kind == frames.EXITED:
                    return int(payload)
                sinks[kind](payload)
    raise GuestDiedError(f"the guest of {name} stopped; `pe lab down {name}` and start again")


def stop(name: str) -> bool:
    """Stop the guest called ``name`` and return whether there was one."""
    try:
        with _connected(name) as channel:
            channel.sendall(b"{}\n")
            channel.settimeout(15)
            channel.recv(1)
    except OSError:
        return False
    _socket(name).with_suffix(".log").unlink(missing_ok=True)
    return True


def _socket(name: str) -> Path:
    place = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    directory = place / f"bulkhead-guests-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    # In a directory that anyone may write to, someone else may have made it.
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    return directory / f"{name}.socket"


@contextlib.contextmanager
def _connected(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(_socket(name)))
        yield channel


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    guest: Guest


class _Request(socketserver.StreamRequestHandler):
    """One connection: a command to run, or the empty request, which means stop."""

    def handle(self) -> None:
        server = cast("_Server", self.server)
        line = self.rfile.readline()
        if not line:
            return  # someone asked whether we are there
        request = json.loads(line)
        if not request:
            server.shutdown()
            return
        lock, hung_up = threading.Lock(), threading.Event()
        threading.Thread(target=self._listen, args=(hung_up,), daemon=True).start()
        status = server.guest.run(
            request["argv"],
            cwd=Path(request["cwd"]),
            env=request["env"],
            stdout=self._sink(frames.STDOUT, lock),
            stderr=self._sink(frames.STDERR, lock),
            hung_up=hung_up,
        )
        with contextlib.suppress(OSError):
            self._sink(frames.EXITED, lock)(str(status).encode())

    def _listen(self, hung_up: threading.Event) -> None:
        """Nothing more is said on this connection: only its end is received."""
        with contextlib.suppress(OSError, ValueError):
            self.rfile.read(1)
        hung_up.set()

    def _sink(self, kind: int, lock: threading.Lock) -> Sink:
        def send(payload: bytes) -> None:
            with lock:
                self.request.sendall(frames.encode(kind, 0, payload))

        return send


def main(name: str, mem: str) -> None:
    """Boot, serve until told to stop, power off."""
    path = _socket(name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Guest(mem=mem) as guest:
        path.unlink(missing_ok=True)
        with _Server(str(path), _Request) as server:
            server.guest = guest
            try:
                server.serve_forever(poll_interval=0.1)
            finally:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
