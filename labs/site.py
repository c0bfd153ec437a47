"""A customer site in one small program: says who it is, swallows a transfer, and asks others.

``serve NAME``: TCP on every address, port 7000. A client that sends ``who`` gets the name; one
that sends ``put`` is read to its end and gets the count of bytes.
``who ADDRESS [SOURCE]`` and ``put ADDRESS BYTES [SOURCE]`` are the clients; they print the answer
and end with 0, or with 1 and the reason.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

PORT = 7000
PATIENCE = 20.0
BLOCK = bytes(65536)


def command() -> tuple[str, ...]:
    """How to start this file: isolated and without site packages, since each start counts."""
    return (sys.executable, "-I", "-S", str(Path(__file__)))


def serve(name: str) -> None:
    """Answer for ever; one thread a client."""
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    print(f"{name} listens on port {PORT}", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_answer, args=(client, name), daemon=True).start()


def _answer(client: socket.socket, name: str) -> None:
    with client:
        client.settimeout(PATIENCE)
        if client.recv(4, socket.MSG_WAITALL) == b"who\n":
            client.sendall(name.encode())
            return
        count = 0
        while block := client.recv(len(BLOCK)):
            count += len(block)
        client.sendall(str(count).encode())


def who(address: str, source: str = "") -> str:
    """The name of the site that answers at an address. OSError if none does."""
    with _connect(address, source) as peer:
        peer.sendall(b"who\n")
        return peer.recv(256).decode()


def put(address: str, size: int, source: str = "") -> str:
    """Send ``size`` bytes; gives the receiver's count and the segment size that was used."""
    with _connect(address, source) as peer:
        peer.sendall(b"put\n")
        left = size
        while left:
            left -= peer.send(BLOCK[: min(left, len(BLOCK))])
        segment = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        peer.shutdown(socket.SHUT_WR)
        return f"{peer.recv(64).decode()} bytes, segments of {segment}"


def _connect(address: str, source: str) -> socket.socket:
    return socket.create_connection((address, PORT), PATIENCE, (source, 0) if source else None)


def main(words: list[str]) -> int:
    """Run as a program; the exit status."""
    try:
        match words:
            case ["serve", name]:
                serve(name)
            case ["who", address, *source]:
                print(who(address, *source))
            case ["put", address, size, *source]:
                print(put(address, int(size), *source))
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except OSError as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
