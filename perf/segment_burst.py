"""New flows at a steady pace, from a process of its own: ``python -m perf.segment_burst RATE
SECONDS PORT MAC DPORT...``, run in the sender's namespace.

The packet generator of the kernel would keep the lab kernel's one CPU to itself while it waits.
Prints how many it sent, and in how many seconds.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from time import monotonic, sleep

from perf import segment_world as world
from perf.segment_frames import plain, with_ports

TICK = 0.01


def frames(target: str, dports: Sequence[int], count: int) -> Iterator[bytes]:
    """Every frame another flow between two workloads, to one port after the other."""
    ends = (world.address(0), world.address(1))
    first = plain(target, ends, (0, 0))
    for number in range(count):
        sport = 1024 + number // len(dports) % 60_000
        yield with_ports(first, (sport, dports[number % len(dports)]))


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
    rate, seconds, port, target, *dports = argv
    listed = [*frames(target, [int(dport) for dport in dports], int(rate) * int(seconds))]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    print(len(listed), send(port, listed, int(rate)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
