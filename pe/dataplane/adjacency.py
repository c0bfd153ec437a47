"""Find out whether a remote PE is the router at the other end of a link.

The kernel's main table does not say so: a route without labels looks the same whether its next
hop is the PE itself (penultimate hop popping, RFC 3031 section 3.16) or a router on the way whose
label distribution has failed. An echo request (RFC 792, RFC 4443) with a TTL of 1 distinguishes
the two: only the router at the other end of the link can answer it for itself; any other one drops
it, and mostly sends "time exceeded".
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping

from controlplane.model.desired import Adjacency, Node
from controlplane.model.events import AdjacencyChanged, Event
from controlplane.model.log import Log
from controlplane.model.prefix import IPAddress
from controlplane.model.supervision import Part, Task
from pe.process import sysctl

Ask = Callable[[Adjacency, IPAddress], Awaitable[bool]]

ANSWER_SECONDS = 1.0
TRIES = 3
"""So many requests in a row without an answer mean no; "time exceeded" does at once."""
AGAIN_SECONDS = 10.0
"""How long an answer holds: an address that moves to another router changes no route here."""

_IP_UNICAST_IF, _IPV6_UNICAST_IF = 50, 76
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_ECHO = struct.Struct("!BBHHH8s")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


class AdjacencyProber:
    """Keeps asking about each wanted adjacency, and reports each answer that is news."""

    def __init__(
        self, emit: Callable[[list[Event]], None], log: Log, part: Part, ask: Ask | None = None
    ) -> None:
        self._emit, self._log, self._part = emit, log, part
        self._ask = ask or echo
        self._sources: dict[int, IPAddress] = {}
        self._tasks: dict[Adjacency, Task] = {}

    def change(self, node: Node | None, wanted: Mapping[Adjacency, Adjacency | None]) -> None:
        """Begin and end probes; requests are sent from the node's loopbacks."""
        if node is not None:
            self._sources = {address.version: address for address in node.loopbacks}
        for adjacency, still in wanted.items():
            task = self._tasks.pop(adjacency, None)
            if task is not None:
                task.cancel()
            if still is not None:
                self._tasks[adjacency] = self._part.spawn(self._follow(adjacency))

    def stop(self) -> None:
        """End all probes."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _follow(self, adjacency: Adjacency) -> None:
        known: str | None = None
        while True:
            try:
                found = await self._objection(adjacency)
            except Exception as error:  # the probe of this link ended for good once it raised
                await asyncio.sleep(self._part.failed(error, f"adjacency {adjacency}"))
                continue
            if known is None or bool(found) != bool(known):
                known = found
                self._report(adjacency, found)
            await asyncio.sleep(AGAIN_SECONDS)

    def _report(self, adjacency: Adjacency, objection: str) -> None:
        fields: dict[str, str | int] = {
            "pe": str(adjacency.address), "port": adjacency.device,
            "gateway": str(adjacency.gateway),
        }  # fmt: skip
        if objection:
            self._log("warning", "path_without_label", {**fields, "reason": objection})
        else:
            self._log("info", "pe_adjacent", fields)
        self._emit([AdjacencyChanged(adjacency, not objection)])

    async def _objection(self, adjacency: Adjacency) -> str:
        """Return why the PE is not taken to be at the other end of the link, "" if it is."""
        if self._is_ambiguous(adjacency):
            return "two gateways on one link"
        source = self._sources.get(adjacency.address.version)
        if source is None:
            return f"the node has no IPv{adjacency.address.version} loopback"
        why = ""
        for _ in range(TRIES):
            try:
                return "" if await self._ask(adjacency, source) else "another router answers"
            except TimeoutError:
                why = "no answer to an echo request"
            except OSError as error:  # no route for a moment; or no right to send, which lasts
                why = f"no echo request can be sent: {error.strerror or error}"
                await asyncio.sleep(ANSWER_SECONDS)
        return why

    def _is_ambiguous(self, adjacency: Adjacency) -> bool:
        """Of two gateways on one link the kernel asks the first, whichever is meant."""
        return any(
            other.address == adjacency.address and other.device == adjacency.device
            for other in self._tasks
            if other != adjacency
        )


async def echo(adjacency: Adjacency, source: IPAddress) -> bool:
    """Send one echo request by the link with a TTL of 1, and wait for what comes back.

    Returns False where a router on the way says "time exceeded". Raises TimeoutError after
    ``ANSWER_SECONDS``, OSError as the socket does.
    """
    version, token = adjacency.address.version, os.urandom(8)
    with _socket(version) as sock:
        sock.setblocking(False)
        index = socket.htonl(socket.if_nametoindex(adjacency.device))
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, index)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_UNICAST_IF, index)
        # Only the way out is tied to the link: the answer may take another (ECMP).
        sock.bind((str(source), 0))
        request = _ECHO.pack(_REQUEST[version], 0, 0, 0, 1, token)  # the kernel sets id, checksum
        sock.sendto(request, (str(adjacency.address), 0))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await _answered(sock, adjacency.address, token)
        except OSError as error:
            if error.errno == errno.EHOSTUNREACH:  # time exceeded, or the link's neighbour is gone
                return False
            raise


async def _answered(sock: socket.socket, address: IPAddress, token: bytes) -> bool:
    loop = asyncio.get_running_loop()
    while True:
        data, sender = await loop.sock_recvfrom(sock, 256)
        is_reply = len(data) >= _ECHO.size and data[0] == _REPLY[address.version]
        if is_reply and data[8:16] == token and sender[0] == str(address):
            return True


def _socket(version: int) -> socket.socket:
    """Open a ping socket, which needs no right to raw packets (ping_init_sock); our own group is
    allowed to where nothing else says so."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        sysctl.write("ipv4/ping_group_range", f"{os.getgid()} {os.getgid()}")
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
