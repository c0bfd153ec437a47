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
from controlplane.model.log import Log
from controlplane.model.supervision import Part
from pe.model.mark_code import ANY_BOOT, MarkCode
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from pe.observe import log_entry
from pe.observe.log_entry import FLOW_GROUP, SNAP, STAGED_GROUP, LogEntry
from pe.observe.packet import flow, turned

_SUBSYSTEM = 4 << 8
_PACKET, _CONFIG = _SUBSYSTEM, _SUBSYSTEM | 1
_COMMAND, _MODE, _ROOM, _TIMEOUT, _FLAGS = 1, 2, 3, 4, 6
_BIND, _COPY_PACKET, _NUMBERED = 1, 2, 1
ROOM = 16 << 20
"""Bytes that may wait for us in the socket: a second or two of ten thousand flows each."""
KERNEL_ROOM = 128 << 10
FLUSH_TICKS = 5
"""Hundredths of a second that an entry may wait in the kernel for others."""
PATIENCE_SECONDS = 1.0
"""How long a flow waits for its staged verdict; then it is handed on without."""
READS = 64
"""Buffers read in one callback, so that other work of the loop gets its turn."""
READ_SECONDS = 0.01
"""The longest that reading may hold the loop: a buffer has some 500 flows, and 64 took 0.4 s."""
RETRY_SECONDS = 5.0
"""Between attempts to have the groups, while another process has one of them."""
FOREIGN_LOG_SECONDS = 60.0
"""At most one log line about foreign entries in this time."""


class FlowLog:
    """Read the log and hand flows on. ``vrf_of`` gives the VRF of a conntrack zone; ``room`` is how
    many bytes may wait in the socket.

    The groups belong to the machine: while another process has one of them (ulogd), the node works
    without flow records, says why in ``problem``, and tries again. An entry that another rule of
    the machine logs into our group is counted in ``foreign`` and otherwise ignored.
    """

    def __init__(
        self,
        vrf_of: Callable[[int], str | None],
        log: Log,
        part: Part,
        room: int = ROOM,
        code: MarkCode = ANY_BOOT,
    ) -> None:
        self._code = code
        self._vrf_of, self._log, self._part, self._room = vrf_of, log, part, room
        self._socket: nl.NetlinkSocket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._on_flows: OnFlows | None = None
        self._expected: int | None = None
        self._lost = 0
        self._halves: dict[bytes, deque[tuple[float, FlowRecord | int]]] = {}
        self._next_sweep = 0.0
        self._foreign_logged, self._foreign_log_due = 0, 0.0
        self.foreign = 0
        """Entries that no rule of ours made."""
        self.failures = 0
        """Attempts to have the groups that failed, and reads that did."""
        self.problem = ""
        """Why there are no flow records now, "" while the groups are read."""

    def watch(self, on_flows: OnFlows) -> None:
        """Hand flows to ``on_flows`` from now on, in the running loop."""
        self._on_flows = on_flows
        if self._socket is None and self._retry is None:
            self._open()

    def _open(self) -> None:
        """Have the groups, or try again later."""
        self._retry = None
        try:
            self._socket = _bound(self._room)
        except OSError as error:
            self._fail(error)
            self._retry_later()
            return
        if self.problem:
            self.problem = ""
            self._log("info", "flow_log_restored", {"group": FLOW_GROUP})
        self._expected = None  # the kernel counts anew for each owner of a group
        reader = self._part.guard(self._on_readable, self._count_unread)
        asyncio.get_running_loop().add_reader(self._socket.socket.fileno(), reader)

    def _retry_later(self) -> None:
        opener = self._part.guard(self._open, self._retry_later)
        self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, opener)

    def _fail(self, error: OSError) -> None:
        self.failures += 1
        reason = error.strerror or str(error)
        if reason != self.problem:
            self.problem = reason
            cure = f"free nflog groups {FLOW_GROUP} and {STAGED_GROUP}: ulogd or another process"
            self._log(
                "warning", "flow_log_unavailable",
                {"group": FLOW_GROUP, "reason": reason, "cure": f"{cure} may have them"},
            )  # fmt: skip

    def close(self) -> None:
        """Stop reading."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._release()

    def _release(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.socket.fileno())
            self._socket.close()
            self._socket = None

    def add_lost(self, flows: int) -> None:
        """Count flows that the kernel did not log."""
        self._lost += flows

    def flush(self) -> None:
        """Hand on what waits: flows whose staged verdict did not come, and losses."""
        self._deliver(self._overdue(time.monotonic()))

    def _on_readable(self) -> None:
        found: list[FlowRecord] = []
        until = time.monotonic() + READ_SECONDS
        for _ in range(READS):
            if time.monotonic() >= until:
                break  # what waits is read in the loop's next iteration
            data = self._receive() if self._socket is not None else None
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

    def _count_unread(self) -> None:
        """Count what one read held and was not handled, as one: how many is not known."""
        self._lost += 1

    def _receive(self) -> bytes | None:
        assert self._socket  # noqa: S101 - the reader goes with the socket
        while True:
            try:
                return self._socket.socket.recv(1 << 18)
            except BlockingIOError:
                return None
            except OSError as error:
                # ENOBUFS: entries were lost, and the sequence numbers show how many.
                if error.errno != errno.ENOBUFS:
                    self._release()
                    self._fail(error)
                    self._retry_later()
                    return None

    def _take(self, body: memoryview, found: list[FlowRecord]) -> None:
        group, attributes = log_entry.group_of(body), nl.attributes(body[4:])
        sequence = log_entry.sequence_of(attributes)
        if group == FLOW_GROUP and sequence is not None:
            self._number(sequence)
        entry = log_entry.read(group, attributes, self._code)
        if entry is None:
            self._count_foreign(group)
            return
        if entry.is_staged:
            self._pair(_key(entry), entry.word, found)
            return
        record = self._record(entry)
        if record is None:
            self._lost += 1
        elif entry.is_awaited:
            self._pair(_key(entry), record, found)
        else:
            found.append(record)

    def _count_foreign(self, group: int) -> None:
        self.foreign += 1
        now = time.monotonic()
        if now >= self._foreign_log_due:
            self._foreign_log_due = now + FOREIGN_LOG_SECONDS
            entries, self._foreign_logged = self.foreign - self._foreign_logged, self.foreign
            cure = "a log rule that is not Bulkhead's names this group: give it another one"
            self._log(
                "warning", "flow_log_foreign", {"group": group, "entries": entries, "cure": cure}
            )

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

    def _record(self, entry: LogEntry) -> FlowRecord | None:
        vrf, parts = self._vrf_of(entry.zone), flow(entry.payload)
        if vrf is None or parts is None:
            return None
        at = time.time() if entry.at is None else entry.at
        if entry.is_backwards:
            parts = turned(parts)
        return FlowRecord(at, vrf, *parts, entry.word, None, entry.is_older)

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
        if self._on_flows and (found or lost):
            self._on_flows(found, lost)


def _key(entry: LogEntry) -> bytes:
    return entry.zone.to_bytes(2) + entry.payload.tobytes()


def _bound(room: int) -> nl.NetlinkSocket:
    """Return a socket that has both groups. Raises OSError where another process has one."""
    opened = nl.NetlinkSocket(NETLINK_NETFILTER)
    try:
        _bind(opened, room)
    except OSError:
        opened.close()
        raise
    return opened


def _bind(opened: nl.NetlinkSocket, room: int) -> None:
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


def _configure(opened: nl.NetlinkSocket, group: int, attributes: bytes) -> None:
    opened.request(_CONFIG, 0, struct.pack(">BBH", 0, 0, group) + attributes)
