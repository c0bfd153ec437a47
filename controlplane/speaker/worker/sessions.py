"""Connections and peers: fewer system calls, a tidy end, a firm answer to a collision."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from collections.abc import Iterator
from typing import Any

from controlplane.speaker import wire
from controlplane.speaker.rate_limit import EventLimit
from controlplane.speaker.worker import surface
from controlplane.speaker.worker.surface import (
    ACTION,
    AFI,
    FSM,
    SAFI,
    Capability,
    Connection,
    LostConnection,
    Message,
    NetworkError,
    NotConnected,
    Notify,
    NotifyError,
    Outgoing,
    Peer,
    set_minimum_ttl,
)

BURST = 64
SILENCE_SECONDS = 15.0
NO_ANSWER = "no answer: is the address right, and does a filter drop TCP port 179?"
NO_ANSWER_MD5 = f"{NO_ANSWER} Or the MD5 keys of the two ends differ."
READ_SIZE = 131072
VPN_IPV4 = (AFI.ipv4, SAFI.mpls_vpn)
RETRY_SECONDS, COURTESY_SECONDS = 1.0, 1.5
PEER_UNCONFIGURED, CONNECTION_REJECTED, COLLISION, OUT_OF_RESOURCES = 3, 5, 7, 8
MOST_CONNECTIONS, CONNECTIONS_PER_SECOND = 30, 1.0


def reader(self: Any) -> Iterator[tuple[int, int, bytes, bytes, Any]]:
    """Yield one message out of what has been read; empty ones while there is none.

    Stands in for ``Connection.reader``, which makes four system calls for each message.
    """
    while True:
        held, start = self.__dict__.get("bulkhead_held", (b"", 0))
        if len(held) - start >= Message.HEADER_LEN:
            header = held[start : start + Message.HEADER_LEN]
            length, kind = int.from_bytes(header[16:18]), header[18]
            fault = header_fault(header, length, kind, self.msg_size)
            if fault is not None:
                yield length, 0, header, b"", fault
                return
            if len(held) - start >= length:
                self.bulkhead_held = (held, start + length)
                yield length, kind, header, held[start + Message.HEADER_LEN : start + length], None
                return
        data = receive(self)
        if data:
            self.bulkhead_held = (held[start:] + data, 0)
        else:
            yield 0, 0, b"", b"", None


def header_fault(header: bytes, length: int, kind: int, most: int) -> Any:
    """Return what is wrong with a message header (RFC 4271 section 6.1), None if nothing is."""
    if not header.startswith(Message.MARKER):
        return NotifyError(1, 1, "The packet received does not contain a BGP marker")
    valid = Message.Length.get(kind, lambda size: size >= Message.HEADER_LEN)
    if not Message.HEADER_LEN <= length <= most or not valid(length):
        return NotifyError(1, 2, f"{Message.CODE.name(kind)} has an invalid length of {length}")
    return None


def receive(connection: Any) -> bytes:
    """Read the socket: nothing if it would block, LostConnection at its end."""
    if not connection.io:
        raise NotConnected("Trying to read on a closed TCP connection")
    try:
        data: bytes = connection.io.recv(READ_SIZE)
    except OSError as exc:
        if exc.errno in surface.socket_errors.block:
            return b""
        connection.close()
        raise LostConnection(f"issue reading on the socket: {exc}") from None
    if not data:
        connection.close()
        raise LostConnection("the TCP connection was closed by the remote end")
    return data


def close(self: Any) -> None:
    """Close the socket; without ExaBGP's two warnings, which say nothing that ``down`` does not."""
    io, self.io = self.io, None
    if io:
        io.close()


class BackoffOutgoing(Outgoing):  # type: ignore[misc]
    """Connect once a second (ExaBGP: at every turn of its loop), and report why it failed."""

    report: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Two that call each other at the same moment lose both calls: the lower address waits.
        first = lower(self.local, self.peer)
        self._next = time.monotonic() + (COURTESY_SECONDS if first else 0)
        self._reported = ""

    def establish(self) -> Iterator[bool]:
        """Try until there is a connection; say so once if nothing answers for a while.

        Where the keys of TCP MD5 differ, both ends drop each other's segments without a word.
        """
        begun = time.monotonic()
        for connected in super().establish():
            if not connected and not self._reported and time.monotonic() - begun > SILENCE_SECONDS:
                self._reported = NO_ANSWER_MD5 if self.md5 else NO_ANSWER
                self.report(wire.ConnectFailed(self.peer, self._reported))
            yield connected

    def _setup(self) -> Any:
        try:
            return super()._setup()
        except AttributeError:
            # ExaBGP closes a socket that it could not make: the device does not exist yet.
            return NotConnected(f"can not bind to device {self.interface}")

    def _connect(self) -> Any:
        now = time.monotonic()
        if now < self._next:
            return NotConnected("waiting to try again")
        self._next = now + RETRY_SECONDS
        issue = super()._connect()
        if issue is not None and str(issue) != self._reported:
            self._reported = str(issue)
            self.report(wire.ConnectFailed(self.peer, self._reported))
        return issue


def lower(local: Any, remote: Any) -> bool:
    """Return True if the local address is the lower one."""
    ours, theirs = (ipaddress.ip_address(str(address)) for address in (local, remote))
    return ours.packed < theirs.packed


def hung_up(connection: Any) -> bool:
    """Return True if the other end has closed this connection already."""
    try:
        return not connection.io.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return True


def refused(connection: Any, subcode: int, reason: str) -> bool:
    """Send Cease with this subcode (RFC 4486) and close; always True.

    ExaBGP returns a generator for that and does not run it: the peer would get nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        connection.io.send(Notify(6, subcode, reason).message())
    connection.close()
    return True


class BoundPeer(Peer):  # type: ignore[misc]
    """A peer that handles bursts and ends with a NOTIFICATION."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._admission = EventLimit(MOST_CONNECTIONS, CONNECTIONS_PER_SECOND, time.monotonic)

    def run(self) -> Any:
        """Handle messages while there are some, up to a bound: others wait for their turn."""
        now = time.monotonic()
        if self.fsm == FSM.ESTABLISHED:
            self.reactor.processes.refresh(self.neighbor, now)
            stuck = self.neighbor.rib.outgoing.stuck(now)
            if stuck:
                self.give_up(stuck)
        for _ in range(BURST):
            action = super().run()
            if action != ACTION.NOW:
                break
        return action

    def teardown(self, code: int, restart: bool = True) -> None:
        """End the session with Cease/``code``.

        ExaBGP closes in silence where graceful restart was offered, and the peer would keep our
        routes; what it looks at is the OPEN that it sent.
        """
        if self.proto and self.proto.negotiated.sent_open:
            self.proto.negotiated.sent_open.capabilities.pop(Capability.CODE.GRACEFUL_RESTART, None)
        super().teardown(code, restart)

    def reestablish(self, restart_neighbor: Any = None) -> None:
        """Start over with a neighbour's new definition.

        ExaBGP would first wait for an OPEN or a KEEPALIVE that may never come.
        """
        super().reestablish(restart_neighbor)
        if self.fsm != FSM.ESTABLISHED:
            self._reset("reconfigured")

    def _close(self, message: str = "", error: Any = "") -> None:
        """End the connection; what raised decides what the node makes of it, not the message."""
        with self.reactor.processes.ending(error):
            super()._close(message, error)

    def remove(self) -> None:
        """End a session that is no longer configured: Cease 6/3, as far as the socket takes it.

        A teardown that was not sent yet is the reason, and is sent instead.
        """
        code = self._teardown or PEER_UNCONFIGURED
        if self.fsm == FSM.ESTABLISHED and self.proto and self.proto.connection:
            self._send_cease(code)
        super().remove()

    @property
    def is_removed(self) -> bool:
        """Return True once ``remove`` has ended the session for good."""
        return self.generator is None and self._teardown is not None and not self._restart

    def give_up(self, reason: str) -> None:
        """End a session whose peer does not take what we have to say: a NOTIFICATION would wait
        behind the rest, so the connection is closed as well (RFC 9687 section 3)."""
        self._send_cease(OUT_OF_RESOURCES)
        self._reset(reason, Notify(6, OUT_OF_RESOURCES, reason))

    def _send_cease(self, code: int) -> None:
        """Send Cease as far as the socket takes it."""
        try:
            self.proto.connection.io.send(Notify(6, code).message())
        except (OSError, AttributeError):
            self.reactor.processes.flush()

    def handle_connection(self, connection: Any) -> Any:
        """Refuse an incoming connection, which is then True, or take it and return None."""
        if self.fsm == FSM.ESTABLISHED and not self._graceful():
            return refused(connection, COLLISION, "the session is established")
        if not self._admission.admits():
            # Each session costs a table to advertise and one to withdraw (RFC 4271 section 8.1.1,
            # DampPeerOscillations): a peer that bounces has to wait.
            return refused(connection, CONNECTION_REJECTED, "too many connections")
        minimum = self.neighbor["incoming-ttl"]
        if minimum and connection.io is not None:
            try:
                set_minimum_ttl(connection.io, connection.afi, connection.peer, minimum)
            except NetworkError:
                return refused(connection, CONNECTION_REJECTED, "no GTSM on this socket")
        if self.proto and self.fsm != FSM.ESTABLISHED and hung_up(connection):
            return refused(connection, COLLISION, "collision: this one is closed already")
        if self.fsm == FSM.OPENSENT and self._ours_wins():
            return refused(connection, COLLISION, "collision: our connection goes on")
        if self.fsm == FSM.ESTABLISHED:
            # RFC 4724 section 4.2: a new connection means that the peer has restarted.
            self._close("peer restarted", LostConnection("the peer has opened a new connection"))
            self.neighbor.reset_rib()
        if super().handle_connection(connection):
            return refused(connection, COLLISION, "collision: another connection goes on")
        return None

    def _ours_wins(self) -> bool:
        """Decide which of two connections that cross stays: that of the higher address.

        RFC 4271 section 6.8 compares identifiers, which are not known before the peer's OPEN;
        two nodes that both give way would lose both connections.
        """
        ours = self.proto is not None and isinstance(self.proto.connection, Outgoing)
        return ours and not lower(self.neighbor["local-address"], self.neighbor["peer-address"])

    def _graceful(self) -> bool:
        opened = self.proto.negotiated.received_open if self.proto else None
        code = Capability.CODE.GRACEFUL_RESTART
        return opened is not None and opened.capabilities.announced(code)


def install(link: Any) -> None:
    """Put these in the place of ExaBGP's."""
    surface.replace(Connection, "reader", reader)
    surface.replace(Connection, "close", close)
    BackoffOutgoing.report = staticmethod(link.report)
    surface.replace(surface.protocol_module, "Outgoing", BackoffOutgoing)
    surface.replace(surface.loop_module, "Peer", BoundPeer)
    surface.replace(surface.listener_module, "Peer", BoundPeer)
    surface.replace(surface.Capabilities, "_hostname", lambda *_: None)
    surface.replace(surface.Capabilities, "_refresh", offer_refresh)
    surface.replace(surface.Capabilities, "_nexthop", offer_ipv6_next_hops)


def offer_refresh(self: Any, neighbor: Any) -> None:
    """Offer plain route refresh: the enhanced one (RFC 7313) would need marks around the answer."""
    if neighbor["capability"]["route-refresh"]:
        self[Capability.CODE.ROUTE_REFRESH] = surface.RefreshCapability()


def offer_ipv6_next_hops(self: Any, neighbor: Any) -> None:
    """Offer IPv6 next hops of VPN-IPv4 routes (RFC 8950 section 4).

    ExaBGP would offer them only beside a family of IPv6.
    """
    if VPN_IPV4 in neighbor.families():
        offered = [(*VPN_IPV4, AFI.ipv6)]
        self[Capability.CODE.NEXTHOP] = surface.NextHopCapability(offered)
