"""Sockets of a node that wait for attackers, and attempts to reach one."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Iterator

from labs.attack.inside import socket_in
from labs.attack.net import PROBE_PORT


def family(address: str) -> socket.AddressFamily:
    """That of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@contextlib.contextmanager
def listener(node: str, address: str, port: int = PROBE_PORT) -> Iterator[Callable[[bytes], bool]]:
    """A UDP socket of a node; the function it gives says whether a token has come."""
    with socket_in(node, family(address), socket.SOCK_DGRAM) as bound:
        bound.bind((address, port))
        bound.setblocking(False)
        said: list[bytes] = []

        def came(mark: bytes) -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(bound.recv(65536))
            return any(mark in data for data in said)

        yield came


@contextlib.contextmanager
def server(node: str, address: str, port: int) -> Iterator[socket.socket]:
    """A listening TCP socket of a node, in its default VRF."""
    with socket_in(node, family(address), socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(8)
        yield listening


def connects(
    node: str, address: str, port: int, *, source: str = "", ttl: int = 64, seconds: float = 1.0
) -> str:
    """What becomes of a TCP connection from a node: ``open``, ``refused`` or ``silent``.

    An ICMP error counts as silence of the port: the PE's own refusal says nothing about it.
    """
    with socket_in(node, family(address), socket.SOCK_STREAM) as attempt:
        if ":" in address:
            attempt.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        else:
            attempt.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        if source:
            attempt.bind((source, 0))
        attempt.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            attempt.connect((address, port))
        _, writable, _ = select.select([], [attempt], [], seconds)
        if not writable:
            return "silent"
        error = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return {0: "open", 111: "refused"}.get(error, "silent")
