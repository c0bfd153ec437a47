"""Probe packets that show since when a PE applies a workload's new tag.

In every round two are sent from each asker, each of a new flow: to the port that only the old tag
allows, and to the one that only the new tag allows. Those of ``near`` are caught as they reach the
workload, those of ``far`` as the remote PE sends them into the core, with a label.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from labs.lab import RunningLab
from labs.namespaces import inside
from perf import segment_world as world
from perf.fleet_lab import ASKERS, CE_PORTS, CROWD, FAR, NEAR
from perf.probes import SO_TIMESTAMPNS, now
from perf.segment_frames import plain

MAGIC = b"bulktag"
_NUMBER = struct.Struct("!BI")
OLD, NEW = 0, 1
SOURCE_PORTS = 50_000
PES = {NEAR: "pe1", FAR: "pe2"}
CATCHES = {NEAR: (CROWD, "eth0"), FAR: ("p", "pe2")}


@dataclass(slots=True)
class Side:
    """What one asker sent and what of it was let through: number -> time."""

    sent: tuple[dict[int, float], dict[int, float]] = field(default_factory=lambda: ({}, {}))
    seen: tuple[dict[int, float], dict[int, float]] = field(default_factory=lambda: ({}, {}))

    def enforced(self) -> float | None:
        """When both was so, and has been since: the new one let through, the old one not.

        At the latest: what the old tag allowed counts as stopped from the next probe on.
        """
        if not self.seen[NEW]:
            return None
        last_old = max(self.seen[OLD], default=-1)
        stopped = [at for number, at in self.sent[OLD].items() if number > last_old]
        return max(min(self.seen[NEW].values()), min(stopped)) if stopped else None

    def rounds_since(self, moment: float) -> int:
        """Rounds that were sent after a moment."""
        return sum(at > moment for at in self.sent[OLD].values())

    def contradictions(self, until: float) -> int:
        """New ones that were stopped after the first had come, of those sent before ``until``."""
        first = min(self.seen[NEW], default=1 << 62)
        numbers = (n for n, at in self.sent[NEW].items() if n > first and at < until)
        return sum(number not in self.seen[NEW] for number in numbers)


class TagProbes:
    """Raw sockets at the askers and where the packets are caught."""

    def __init__(self, lab: RunningLab) -> None:
        self._out: dict[str, socket.socket] = {}
        self._in: dict[str, socket.socket] = {}
        self._macs: dict[str, str] = {}
        for asker, node in PES.items():
            place = f"/sys/class/net/{CE_PORTS[asker]}/address"
            self._macs[asker] = lab.run(node, "cat", place).stdout.strip()
            self._out[asker] = _packet_socket(asker, "eth0", 0)
            self._in[asker] = _packet_socket(*CATCHES[asker], 3)
        self._number = 0
        self.sides = {asker: Side() for asker in PES}

    def aim(self, workload: int, ports: tuple[int, int]) -> None:
        """Ask another workload, on the ports of its old and its new tag, and begin anew."""
        self.take()
        self.sides = {asker: Side() for asker in PES}
        target = world.address(workload * world.ADDRESSES)
        self._frames = {
            asker: tuple(
                plain(self._macs[asker], (ASKERS[asker], target), (0, port), _payload(kind))
                for kind, port in enumerate(ports)
            )
            for asker in PES
        }

    def round(self) -> None:
        """One of each kind from each asker, and take what has come."""
        self._number += 1
        sport = (1024 + self._number % SOURCE_PORTS).to_bytes(2, "big")
        number = self._number.to_bytes(4, "big")
        for asker, side in self.sides.items():
            for kind in (OLD, NEW):
                frame = self._frames[asker][kind]
                frame = frame[:34] + sport + frame[36 : 42 + len(MAGIC) + 1] + number
                side.sent[kind][self._number] = now()
                self._out[asker].send(frame)
        self.take()

    def take(self) -> None:
        """Note what has come."""
        for asker, side in self.sides.items():
            for kind, number, at in _arrived(self._in[asker], ASKERS[asker]):
                if number in side.sent[kind]:
                    side.seen[kind][number] = at

    def close(self) -> None:
        """Close all sockets."""
        for opened in (*self._out.values(), *self._in.values()):
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _payload(kind: int) -> bytes:
    return MAGIC + _NUMBER.pack(kind, 0)


def _packet_socket(node: str, port: str, protocol: int) -> socket.socket:
    with inside(node):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        opened.bind((port, protocol))
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened.setblocking(False)
    return opened


def _arrived(receiving: socket.socket, source: str) -> Iterator[tuple[int, int, float]]:
    sent_from = socket.inet_aton(source)
    while True:
        try:
            data, ancillary, _, address = receiving.recvmsg(256, 64)
        except BlockingIOError:
            return
        at = data.find(MAGIC)
        if at < 0 or address[2] == socket.PACKET_OUTGOING or sent_from not in data[:at]:
            continue
        seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
        kind, number = _NUMBER.unpack_from(data, at + len(MAGIC))
        yield kind, number, seconds + nanoseconds / 1e9
