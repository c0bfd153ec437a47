"""Open a synchronous rtnetlink socket, and split messages and attributes.

pyroute2 writes links, addresses, rules and label routes. This socket exists for what it does
not do: next-hop objects (no support in 0.9), routes by the hundred thousand (64 us each there),
and events that must be filtered before they are parsed. The kernel handles a request within
sendmsg(2), so an answer is there when send returns: nothing here waits.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_NEWNETCONF, RTM_DELNETCONF = 80, 81
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106

SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 1, 10, 11, 12
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_S32 = struct.Struct("=i")

LAST_SEQ = 0xFFFFFFFF
_ABSENT = frozenset({
    errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.ENETUNREACH, errno.EHOSTUNREACH,
})  # fmt: skip
"""The refusals of a request for one object that mean that there is none."""

DUMPS = 5
"""How often a dump is repeated at most if the kernel changed during it."""

BUFFER = 1 << 20
"""Room for answers, in bytes: errors of a whole send fit, dumps come in pieces of 32 KB."""


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one netlink message: ``body`` starts after the header, ``pid`` is the requester's."""

    type: int
    flags: int
    seq: int
    pid: int
    body: memoryview


class KernelRefusedError(OSError):
    """Carry the kernel's error for a request, with its extended acknowledgement if it has one."""


def attribute(kind: int, payload: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def u32(kind: int, value: int) -> bytes:
    """Return an attribute that is a number in host order."""
    return struct.pack("=HHI", 8, kind, value)


def attributes(data: memoryview) -> dict[int, memoryview]:
    """Cut a run of attributes by type; of a type that repeats, the last. Bad lengths end it."""
    found: dict[int, memoryview] = {}
    at, end = 0, len(data)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > end:
            break
        found[kind & NLA_TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def messages(data: memoryview) -> Iterator[Message]:
    """Cut what one recv returned into messages."""
    at, end = 0, len(data)
    while at + 16 <= end:
        length, kind, flags, seq, pid = HEADER.unpack_from(data, at)
        if length < 16 or at + length > end:
            return
        yield Message(kind, flags, seq, pid, data[at + 16 : at + length])
        at += (length + 3) & ~3


def number(value: memoryview) -> int:
    """Return a number attribute in host order, of any width."""
    return int.from_bytes(value, sys.byteorder)


def text(value: memoryview) -> str:
    """Return a string attribute without its NUL."""
    return bytes(value).rstrip(b"\0").decode(errors="replace")


def refusal(message: Message) -> KernelRefusedError | None:
    """Return the error in an NLMSG_ERROR, None if it is an acknowledgement."""
    code = -_S32.unpack_from(message.body)[0]
    if code == 0:
        return None
    return KernelRefusedError(code, _extended_ack(message) or os.strerror(code))


def _extended_ack(message: Message) -> str:
    capped = message.flags & 0x100  # NLM_F_CAPPED: the request is not repeated
    if not message.flags & 0x200:  # NLM_F_ACK_TLVS
        return ""
    (request_length,) = struct.unpack_from("=I", message.body, 4)
    start = 4 + 16 if capped else 4 + ((request_length + 3) & ~3)
    found = attributes(message.body[start:]).get(1)  # NLMSGERR_ATTR_MSG
    return text(found) if found is not None else ""


def _check_end(done: Message) -> None:
    """Raise the error that a dump reports in its last message (netlink_dump_done)."""
    if len(done.body) >= 4 and (code := -_S32.unpack_from(done.body)[0]) > 0:
        raise KernelRefusedError(code, os.strerror(code))


class NetlinkSocket:
    """Own a netlink socket (rtnetlink by default), bound to a port id of its own."""

    def __init__(self, family: int = socket.NETLINK_ROUTE, *, groups: tuple[int, ...] = ()) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        if family == socket.NETLINK_ROUTE:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self.resize(socket.SO_SNDBUF, SO_SNDBUFFORCE, BUFFER)
        self.resize(socket.SO_RCVBUF, SO_RCVBUFFORCE, BUFFER)
        self.socket.bind((0, 0))
        self.socket.setblocking(False)
        self.pid: int = self.socket.getsockname()[0]
        for group in groups:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self._seq = 0

    def resize(self, option: int, forced: int, size: int) -> None:
        """Set a buffer's size in bytes, past the system's limit where we may."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, forced, size)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, option, size)

    def next_seq(self) -> int:
        """Return the next sequence number."""
        return self.take_seqs(1)

    def take_seqs(self, count: int) -> int:
        """Reserve ``count`` sequence numbers in a row; return the first.

        They have 32 bits, and a row never wraps: the answers to one send stay in order. Without
        that the route writer died after 4.29 billion messages.
        """
        if self._seq + count > LAST_SEQ:
            self._seq = 0  # which is the number of notifications
        first = self._seq + 1
        self._seq += count
        return first

    def send(self, data: bytes | bytearray) -> None:
        """Send one buffer of messages; the kernel has dealt with all of them on return."""
        self.socket.send(data)

    def receive(self) -> list[Message]:
        """Return all waiting messages, none if there are none. ENOBUFS is raised as it is."""
        waiting: list[Message] = []
        while True:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                return waiting
            waiting.extend(messages(memoryview(data)))

    def request(self, kind: int, flags: int, body: bytes) -> None:
        """Request one thing. Raises KernelRefusedError."""
        seq = self.next_seq()
        head = HEADER.pack(16 + len(body), kind, flags | NLM_F_REQUEST | NLM_F_ACK, seq, 0)
        self.send(head + body)
        for message in self.receive():
            if message.seq == seq and message.type == NLMSG_ERROR:
                if error := refusal(message):
                    raise error
                return
        raise KernelRefusedError(errno.EPROTO, "a request was not answered")

    def ask_all(self, kind: int, bodies: Sequence[bytes]) -> list[Message | KernelRefusedError]:
        """Request one object per body, in one send; return the answers in the same order.

        Raises OSError where an answer is missing, as when they overrun the socket's buffer.
        """
        first = self.take_seqs(len(bodies))
        numbered = enumerate(bodies, first)
        head = HEADER.pack
        self.send(b"".join(head(16 + len(b), kind, NLM_F_REQUEST, n, 0) + b for n, b in numbered))
        answers: dict[int, Message | KernelRefusedError] = {}
        for message in self.receive():
            error = refusal(message) if message.type == NLMSG_ERROR else None
            answers[message.seq] = error or message
        try:
            return [answers[first + n] for n in range(len(bodies))]
        except KeyError:
            raise KernelRefusedError(errno.EPROTO, "a request was not answered") from None

    def get(self, kind: int, body: bytes) -> Message | None:
        """Request one object; None if there is none. Raises KernelRefusedError for the rest."""
        seq = self.next_seq()
        self.send(HEADER.pack(16 + len(body), kind, NLM_F_REQUEST, seq, 0) + body)
        answer = None
        for message in self.receive():
            if message.seq != seq:
                continue
            error = refusal(message) if message.type == NLMSG_ERROR else None
            if error is None:
                answer = message
            elif error.errno not in _ABSENT:
                raise error
        return answer

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Return all objects of a kind; repeats the dump if the kernel changed during it."""
        for _ in range(DUMPS):
            answer, whole = self.dump_once(kind, body)
            if whole:
                return answer
        return answer

    def dump_once(self, kind: int, body: bytes) -> tuple[list[Message], bool]:
        """Return all objects of a kind, and False if the kernel changed during the dump."""
        answer: list[Message] = []
        whole = True

        def cut(data: memoryview) -> Message | None:
            nonlocal whole
            for message in messages(data):
                whole = whole and not message.flags & NLM_F_DUMP_INTR
                if message.type == NLMSG_DONE:
                    return message
                answer.append(message)
            return None

        self.stream(kind, body, cut)
        return answer, whole

    def each(self, kind: int, body: bytes, take: Callable[[Message], None]) -> None:
        """Dump without keeping: ``take`` gets each object's message. Raises OSError as ``stream``
        does."""

        def cut(data: memoryview) -> Message | None:
            for message in messages(data):
                if message.type == NLMSG_DONE:
                    return message
                take(message)
            return None

        self.stream(kind, body, cut)

    def stream(self, kind: int, body: bytes, cut: Callable[[memoryview], Message | None]) -> None:
        """Dump without keeping: ``cut`` gets each buffer, and returns the NLMSG_DONE in it, if any.

        Raises OSError where the kernel refuses the dump, or broke it off (netlink_dump_done).
        """
        seq = self.next_seq()
        self.send(HEADER.pack(16 + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, seq, 0) + body)
        done: Message | None = None
        while done is None:
            data = memoryview(self.socket.recv(1 << 18))
            _, first, _, whose, _ = HEADER.unpack_from(data)
            if whose != seq:
                continue
            if first == NLMSG_ERROR:
                error = refusal(next(messages(data)))
                raise error or KernelRefusedError(errno.EPROTO, "a dump without an end")
            done = cut(data)
        _check_end(done)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
