"""The pipes to the node, where ExaBGP has its helper processes.

Lines are gathered and written in large pieces: a system call for each UPDATE would cost more than
the rest of the work on it. The write blocks when the node does not keep up, and through TCP the
peer is slowed down in turn.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import select
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from controlplane.speaker import wire
from controlplane.speaker.worker.notifications import down_report
from controlplane.speaker.worker.refreshes import Refreshes
from controlplane.speaker.worker.surface import (
    AFI,
    EOR,
    REFRESH,
    SAFI,
    Action,
    Capability,
    Message,
)
from controlplane.speaker.worker.updates import is_packed

FLUSH_AT = 65536
READ_SIZE = 262144
SERVICE = "node"
ANNOUNCE = Action.ANNOUNCE
encode = msgspec.json.Encoder().encode


class Link:
    """Has the methods that ExaBGP calls on its ``Processes``; reports go to the node as lines."""

    terminate_on_error = True

    def __init__(self, commands: int, reports: int) -> None:
        self.fds = [commands]
        self._commands, self._reports = commands, reports
        self._out: list[bytes] = []
        self._waiting = 0
        self._partial = b""
        self._open = True
        self.sessions: dict[str, int] = {}
        self._negotiated: dict[str, Any] = {}
        self._error: Any = None
        self.refreshes = Refreshes()
        os.set_blocking(commands, False)

    # Lines out

    def put(self, line: bytes) -> None:
        """Queue a line without its end."""
        self._out.append(line)
        self._waiting += len(line)
        if self._waiting > FLUSH_AT:
            self.flush()

    def report(self, report: wire.Report) -> None:
        """Queue a report, and send at once what waits."""
        self.put(encode(report))
        self.flush()

    def flush(self) -> None:
        """Write all that waits; blocks while the pipe is full."""
        if not self._out:
            return
        self._out.append(b"")
        view = memoryview(b"\n".join(self._out))
        self._out, self._waiting = [], 0
        while view and self._open:
            try:
                view = view[os.write(self._reports, view) :]
            except BrokenPipeError:
                self._open = False

    # Lines in

    def first(self) -> bytes:
        """Wait for the first line, which is the configuration."""
        while b"\n" not in self._partial:
            select.select([self._commands], [], [])
            self._partial += self._read()
        line, _, self._partial = self._partial.partition(b"\n")
        return line

    def received(self) -> Iterator[tuple[str, bytes]]:
        """Yield the commands that have arrived; ends the process when the node is gone."""
        self.flush()
        *lines, self._partial = (self._partial + self._read()).split(b"\n")
        for line in lines:
            yield SERVICE, line

    def _read(self) -> bytes:
        try:
            data = os.read(self._commands, READ_SIZE)
        except BlockingIOError:
            return b""
        if not data:
            raise SystemExit("the node is gone")
        return data

    # Events of ExaBGP

    def up(self, neighbor: Any) -> None:
        """Number a session that is established: from here on commands must quote the number."""
        name = neighbor.name()
        self.sessions[name] = self.sessions.get(name, 0) + 1
        neighbor.rib.reset()
        neighbor.eor.clear()
        self.report(up_report(neighbor, self._negotiated[name], self.sessions[name]))

    def negotiated(self, neighbor: Any, negotiated: Any) -> None:
        """Keep what both OPENs agree on."""
        capabilities = negotiated.received_open.capabilities
        if not capabilities.announced(Capability.CODE.MULTIPROTOCOL):
            # RFC 4760 section 8: without the capability a peer speaks IPv4 unicast.
            native = (AFI.ipv4, SAFI.unicast)
            negotiated.families = [native] if native in neighbor.families() else []
        self._negotiated[neighbor.name()] = negotiated

    @contextlib.contextmanager
    def ending(self, error: Any) -> Iterator[None]:
        """Note the exception that ends the connection of which ``down`` is called meanwhile."""
        self._error = error
        try:
            yield
        finally:
            self._error = None

    def down(self, neighbor: Any, reason: str) -> None:
        """Report the end of a connection; ExaBGP's ``reason`` is a text, which decides nothing."""
        self.refreshes.forget(neighbor)
        self.report(down_report(str(neighbor["peer-address"]), self._error, reason))

    def refresh(self, neighbor: Any, now: float) -> None:
        """Report what a peer has asked for again, if it is time; ``now`` in seconds."""
        for afi, safi in self.refreshes.due(neighbor, now):
            self.report(wire.RefreshReport(str(neighbor["peer-address"]), family_name(afi, safi)))

    def message(self, kind: int, neighbor: Any, direction: str, message: Any, *_: object) -> None:
        """Report a message that was received."""
        if direction != "receive":
            return
        peer = str(neighbor["peer-address"])
        if kind == Message.CODE.UPDATE:
            self._update(peer, message)
        elif kind == Message.CODE.ROUTE_REFRESH and message.reserved == 0:
            self.refreshes.ask(neighbor, (int(message.afi), int(message.safi)))

    def _update(self, peer: str, message: Any) -> None:
        if isinstance(message, EOR):
            nlri = message.nlris[0]
            self.put(encode(wire.EndOfRibReport(peer, family_name(nlri.afi, nlri.safi))))
            return
        announce, withdraw = list[str](), list[str]()
        for nlri in message.nlris:
            (announce if nlri.action == ANNOUNCE else withdraw).append(route(nlri))
        line = f'{{"t":"update","peer":"{peer}"'
        if announce:
            attributes = message.attributes.text
            line += f',"attributes":{attributes},"announce":[{",".join(announce)}]'
        if withdraw:
            line += f',"withdraw":[{",".join(withdraw)}]'
        if announce or withdraw:
            self.put(f"{line}}}".encode())

    def connected(self, neighbor: Any) -> None:
        """Report nothing of a TCP connection that is there: OPEN follows."""

    fsm = signal = packets = notification = answer_error = answer_done = connected

    # The rest of what ExaBGP asks of its processes

    def start(self, configuration: object, restart: bool = False) -> None:
        """Start nothing: the node has started this process."""

    def broken(self, neighbor: object) -> bool:  # noqa: ARG002
        """Return True once the node has closed its end."""
        return not self._open

    def terminate(self) -> None:
        """Write what waits."""
        self.flush()


def route(nlri: Any) -> str:
    """Return packed routes, or one of ExaBGP's own NLRI, as a JSON array."""
    if is_packed(nlri):
        data, hop = nlri.data, nlri.next_hop
    else:
        data, hop = nlri.cidr.pack_nlri(), str(nlri.nexthop)
    packed = binascii.b2a_base64(data, newline=False).decode("ascii")
    family = family_name(nlri.afi, nlri.safi)
    if nlri.action == ANNOUNCE:
        return f'["{family}","{hop}","{packed}"]'
    return f'["{family}","{packed}"]'


NAMES = {(1, 1): "ipv4 unicast", (2, 1): "ipv6 unicast"}
NAMES |= {(1, 128): "ipv4 mpls-vpn", (2, 128): "ipv6 mpls-vpn"}


def family_name(afi: int, safi: int) -> str:
    """Return the family as the model writes it; another one as numbers."""
    return NAMES.get((afi, safi)) or f"{int(afi)} {int(safi)}"


def family_names(families: Iterable[tuple[int, int]]) -> list[str]:
    """Return several of them."""
    return [family_name(afi, safi) for afi, safi in families]


def up_report(neighbor: Any, negotiated: Any, session: int) -> wire.Up:
    """Return what the two OPENs agree on."""
    opened = negotiated.received_open
    graceful = opened.capabilities.get(Capability.CODE.GRACEFUL_RESTART)
    restarting = list(graceful) if graceful is not None else []
    kept = [f for f, flags in graceful.items() if flags & 0x80] if graceful is not None else []
    return wire.Up(
        peer=str(neighbor["peer-address"]),
        session=session,
        families=family_names(negotiated.families),
        router_id=str(opened.router_id),
        hold_time=int(negotiated.holdtime),
        restart_time=graceful.restart_time if graceful is not None else 0,
        restart_families=family_names(restarting),
        forwarding=family_names(kept),
        route_refresh=negotiated.refresh != REFRESH.ABSENT,
        ipv6_next_hops=family_names((a, s) for a, s, hop in negotiated.nexthop if hop == AFI.ipv6),
    )
