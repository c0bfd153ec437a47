"""New flows at a steady pace, from a process of its own: ``python -m perf.segment_burst RATE
SECONDS MAC DPORT...``, run in the sender's namespace.

The packet generator of the kernel would keep the lab kernel's one CPU to itself while it waits.
Prints how many it sent, and in how many seconds.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from time import monotonic, sleep

from labs.packets import ETH_IP, ethernet, mac, udp
from perf import segment_world as world

TICK = 0.01
PORT_AT = 34
"""Of the source port in a frame."""


def frames(target: bytes, dports: Sequence[int], count: int) -> Iterator[bytes]:
    """Every frame another flow between two workloads, to one port after the other. The checksum
    of each is that of the first: whoever runs this has switched the check off."""
    ends = (str(IPv4Address(world.FIRST)), str(IPv4Address(world.FIRST + world.ADDRESSES)))
    plain = {
        port: ethernet(target, b"\x02" + bytes(5), ETH_IP, udp(*ends, port)) for port in dports
    }
    for number in range(count):
        frame = plain[dports[number % len(dports)]]
        sport = (1024 + number // len(dports) % 60_000).to_bytes(2, "big")
        yield frame[:PORT_AT] + sport + frame[PORT_AT + 2 :]


def send(port: str, listed: Sequence[bytes], rate: int) -> float:
    """Send them, so many a second; how many seconds that took."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((port, 0))
        start, sent = monotonic(), 0
        while sent < len(listed):
            due = min(len(listed), int((monotonic() - start + TICK) * rate))
            for frame in listed[sent:due]:
                raw.send(frame)
            sent = max(sent, due)
            sleep(max(0.0, start + sent / rate - monotonic()))
        return monotonic() - start


def main(argv: Sequence[str]) -> int:
    """Send."""
    rate, seconds, target, *dports = argv
    listed = [*frames(mac(target), [int(port) for port in dports], int(rate) * int(seconds))]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    print(len(listed), send("up0", listed, int(rate)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
