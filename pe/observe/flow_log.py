"""New flows as the kernel logs them (nflog), with both verdicts, and how many were lost.

A log entry holds one mark. With a revision staged each flow is logged twice, to a group each:
with what is done, then with what would be done; the two are put together by their bytes. What the
kernel could not deliver shows as a gap in the sequence numbers of the first group; what it did
not even log, because there was too much of it, it counts itself.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections import deque
from collections.abc import Callable

import msgspec

from controlplane.model.flow import FlowRecord, OnFlows
from pe.netlink import codec as nl
from pe.nft.text_loader import NETLINK_NETFILTER
from pe.observe.packet import flow
from pe.policy.logging import AWAITED, FLOW_GROUP, SNAP, STAGED_GROUP

_SUBSYSTEM = 4 << 8
_PACKET, _CONFIG = _SUBSYSTEM, _SUBSYSTEM | 1
_MARK, _TIMESTAMP, _PAYLOAD, _PREFIX, _SEQUENCE = 2, 3, 9, 10, 12
_COMMAND, _MODE, _ROOM, _TIMEOUT, _FLAGS = 1, 2, 3, 4, 6
_BIND, _COPY_PACKET, _NUMBERED = 1, 2, 1
_STAMP = struct.Struct(">QQ")
ROOM = 16 << 20
"""Bytes that may wait for us in the socket: a second or two of ten thousand flows each."""
KERNEL_ROOM = 128 << 10
FLUSH_TICKS = 5
"""Hundredths of a second that an entry may wait in the kernel for others."""
PATIENCE_SECONDS = 1.0
"""How long a flow waits for its staged verdict; then it is told without."""
READS = 64
"""Buffers read in one go before others get their turn."""


class FlowLog:
    """Reads the log and tells. ``vrf_of`` gives the VRF of a conntrack zone; ``room`` is how many
    bytes may wait in the socket."""

    def __init__(self, vrf_of: Callable[[int], str | None], room: int = ROOM) -> None:
        self._vrf_of, self._room = vrf_of, room
        self._socket: nl.NetlinkSocket | None = None
        self._tell: OnFlows | None = None
        self._expected: int | None = None
        self._lost = 0
        self._halves: dict[bytes, deque[tuple[float, FlowRecord | int]]] = {}
        self._next_sweep = 0.0

    def watch(self, on_flows: OnFlows) -> None:
        """Tell of flows from now on, in the running loop. Raises OSError."""
        self._tell = on_flows
        if self._socket is None:
            self._socket = _open(self._room)
            asyncio.get_running_loop().add_reader(self._socket.socket.fileno(), self._on_readable)

    def close(self) -> None:
        """Stop telling."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.socket.fileno())
            self._socket.close()
            self._socket = None

    def add_lost(self, flows: int) -> None:
        """Count flows that the kernel did not log."""
        self._lost += flows

    def flush(self) -> None:
        """Tell what waits: flows whose staged verdict did not come, and losses."""
        self._deliver(self._overdue(time.monotonic()))

    def _on_readable(self) -> None:
        found: list[FlowRecord] = []
        for _ in range(READS):
            data = self._receive()
            if data is None:
                break
            for message in nl.messages(memoryview(data)):
                if message.type == _PACKET:
                    self._take(message.body, found)
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + PATIENCE_SECONDS
            found += self._overdue(now)
        self._deliver(found)

    def _receive(self) -> bytes | None:
        assert self._socket  # noqa: S101 - the reader goes with the socket
        while True:
            try:
                return self._socket.socket.recv(1 << 18)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Something was lost: the sequence numbers will tell how much.

    def _take(self, body: memoryview, found: list[FlowRecord]) -> None:
        entry = nl.attributes(body[4:])
        group = int.from_bytes(body[2:4], "big")
        if group == FLOW_GROUP:
            self._number(int.from_bytes(entry[_SEQUENCE], "big"))
        prefix = nl.text(entry[_PREFIX])
        zone = int(prefix.rstrip(AWAITED))
        word = int.from_bytes(entry[_MARK], "big") if _MARK in entry else 0
        if group == STAGED_GROUP:
            self._pair(_key(zone, entry[_PAYLOAD]), word, found)
            return
        record = self._record(zone, word, entry)
        if record is None:
            self._lost += 1
        elif prefix.endswith(AWAITED):
            self._pair(_key(zone, entry[_PAYLOAD]), record, found)
        else:
            found.append(record)

    def _pair(self, key: bytes, half: FlowRecord | int, found: list[FlowRecord]) -> None:
        """Put a record and a staged word together; either may come first, since the kernel empties
        its two buffers as they fill."""
        waiting = self._halves.get(key)
        if not waiting or isinstance(waiting[0][1], int) == isinstance(half, int):
            self._halves.setdefault(key, deque()).append((time.monotonic(), half))
            return
        other = waiting.popleft()[1]
        if not waiting:
            del self._halves[key]
        if isinstance(half, FlowRecord):
            half, other = other, half
        if isinstance(other, FlowRecord) and isinstance(half, int):
            found.append(msgspec.structs.replace(other, staged=half))

    def _number(self, sequence: int) -> None:
        if self._expected is not None and sequence != self._expected:
            self._lost += (sequence - self._expected) & 0xFFFFFFFF
        self._expected = (sequence + 1) & 0xFFFFFFFF

    def _record(self, zone: int, word: int, entry: dict[int, memoryview]) -> FlowRecord | None:
        vrf, parts = self._vrf_of(zone), flow(entry[_PAYLOAD])
        if vrf is None or parts is None:
            return None
        return FlowRecord(_when(entry), vrf, *parts, word, None)

    def _overdue(self, now: float) -> list[FlowRecord]:
        """Records whose staged word was lost; a word whose record was lost goes as well."""
        found: list[FlowRecord] = []
        for key, waiting in [*self._halves.items()]:
            while waiting and waiting[0][0] <= now - PATIENCE_SECONDS:
                half = waiting.popleft()[1]
                if isinstance(half, FlowRecord):
                    found.append(half)
            if not waiting:
                del self._halves[key]
        return found

    def _deliver(self, found: list[FlowRecord]) -> None:
        lost, self._lost = self._lost, 0
        if self._tell and (found or lost):
            self._tell(found, lost)


def _key(zone: int, payload: memoryview) -> bytes:
    return zone.to_bytes(2) + payload.tobytes()


def _when(entry: dict[int, memoryview]) -> float:
    if _TIMESTAMP not in entry:
        return time.time()
    seconds, micros = _STAMP.unpack(entry[_TIMESTAMP])
    return int(seconds) + int(micros) / 1e6


def _open(room: int) -> nl.NetlinkSocket:
    opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    opened.resize(socket.SO_RCVBUF, nl.SO_RCVBUFFORCE, room)
    for group in (FLOW_GROUP, STAGED_GROUP):
        command = nl.attribute(_COMMAND, bytes((_BIND,)))
        _configure(opened, group, command)
        _configure(
            opened,
            group,
            nl.attribute(_MODE, struct.pack(">IBx", SNAP, _COPY_PACKET))
            + nl.attribute(_ROOM, struct.pack(">I", KERNEL_ROOM))
            + nl.attribute(_TIMEOUT, struct.pack(">I", FLUSH_TICKS))
            + nl.attribute(_FLAGS, struct.pack(">H", _NUMBERED)),
        )
    return opened


def _configure(opened: nl.NetlinkSocket, group: int, attributes: bytes) -> None:
    opened.request(_CONFIG, 0, struct.pack(">BBH", 0, 0, group) + attributes)
