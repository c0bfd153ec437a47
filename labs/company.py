"""What the hosts of a small company run: servers that speak real protocols, and their clients.

``serve PROTOCOL:PORT...``: ``http`` answers GET, ``sink`` swallows what it is sent (a backup).
``ask WHAT...``: each of http, redis, dns, ping or sink, as ``http:10.0.0.1:80``; prints a JSON
list of true and false, in order.
``knock SECONDS WHAT``: asks again and again, each time anew; prints times and outcomes as JSON.
``hold SECONDS ADDRESS PORT``: one connection to a Redis server, a PING every 20 ms; prints how
many were answered, the longest silence, and when the last answer came.
All take ``--from ADDRESS`` for IPv4 and IPv6 source addresses, may be repeated.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATIENCE = 1.5
STEP = 0.02


def command() -> tuple[str, ...]:
    """How to start this file: isolated and without site packages, since each start counts."""
    return (sys.executable, "-I", "-S", str(Path(__file__)))


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"hello\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the lab asks often."""


class _Http(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def serve(services: list[str]) -> None:
    """Serve for ever."""
    for service in services:
        protocol, _, port = service.partition(":")
        if protocol == "http":
            server = _Http(("::", int(port)), _Page)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        else:
            threading.Thread(target=_sink, args=(int(port),), daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


def _sink(port: int) -> None:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        client, _ = listener.accept()
        with client:
            while client.recv(65536):
                pass


class Asker:
    """Asks from our own addresses, one of each family."""

    def __init__(self, sources: list[str]) -> None:
        self._sources = {":" in source: source for source in sources}

    def ask(self, what: str) -> bool:
        """Return True if a server answers as the protocol requires."""
        protocol, _, rest = what.partition(":")
        address, _, port = rest.rpartition(":")
        try:
            match protocol:
                case "http":
                    request = b"GET / HTTP/1.0\r\n\r\n"
                    return b"200" in self._exchange(address, int(port), request)
                case "redis":
                    return b"PONG" in self._exchange(address, int(port), b"PING\r\n")
                case "sink":
                    with self.connect(address, int(port)) as peer:
                        peer.sendall(b"backup" * 100)
                    return True
                case "dns":
                    return self._resolve(address, int(port))
                case _:
                    return self._ping(address)
        except OSError:
            return False

    def connect(self, address: str, port: int) -> socket.socket:
        """A TCP connection. OSError."""
        source = self._sources.get(":" in address)
        return socket.create_connection((address, port), PATIENCE, (source, 0) if source else None)

    def _exchange(self, address: str, port: int, request: bytes) -> bytes:
        with self.connect(address, port) as peer:
            peer.sendall(request)
            return peer.recv(256)

    def _resolve(self, address: str, port: int) -> bool:
        name = b"\x07printer\x03lab\x00"
        query = struct.pack("!6H", 0x4242, 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE)
            if source := self._sources.get(":" in address):
                peer.bind((source, 0))
            peer.sendto(query, (address, port))
            return peer.recv(512)[:2] == b"\x42\x42"

    def _ping(self, address: str) -> bool:
        source = self._sources.get(":" in address)
        way = ["-I", source] if source else []
        argv = ["ping", "-c1", "-W1", *way, address]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def knock(asker: Asker, seconds: float, what: str) -> list[tuple[float, bool]]:
    """Outcomes with the time (of the monotonic clock) at which each was known."""
    found: list[tuple[float, bool]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answered = asker.ask(what)
        found.append((time.monotonic(), answered))
        time.sleep(STEP)
    return found


def hold(asker: Asker, seconds: float, address: str, port: int) -> dict[str, float]:
    """One connection for so long, or until it is cut."""
    answers = list(_answers(asker, time.monotonic() + seconds, address, port))
    gaps = [after - before for before, after in itertools.pairwise(answers)]
    last = answers[-1] if answers else 0.0
    return {"answers": len(answers), "longest": max(gaps, default=0.0), "last": last}


def _answers(asker: Asker, end: float, address: str, port: int) -> Iterator[float]:
    try:
        with asker.connect(address, port) as peer:
            peer.settimeout(3.0)
            while time.monotonic() < end:
                peer.sendall(b"PING\r\n")
                if b"PONG" not in peer.recv(64):
                    return
                yield time.monotonic()
                time.sleep(STEP)
    except OSError:
        return


def main(words: list[str]) -> int:
    """Run as a program; the exit status."""
    sources: list[str] = []
    while "--from" in words:
        at = words.index("--from")
        sources.append(words[at + 1])
        del words[at : at + 2]
    asker = Asker(sources)
    match words:
        case ["serve", *services]:
            serve(services)
        case ["ask", *whats]:
            print(json.dumps([asker.ask(what) for what in whats]))
        case ["knock", seconds, what]:
            print(json.dumps(knock(asker, float(seconds), what)))
        case ["hold", seconds, address, port]:
            print(json.dumps(hold(asker, float(seconds), address, int(port))))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
