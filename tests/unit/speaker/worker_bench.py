"""A pool of real worker processes that the tests of its faults look into."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from controlplane.model.events import Event
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker import SpeakerPool, process
from tests.parts import LonePart
from tests.sessions import by_vrf

OWN = "127.0.9.9"
CLOSED_PORT = 1
"""Nothing listens there: a connection fails, which the worker reports."""


def peer(address: str, vrf: str = "", *, hold_time: int = 90) -> PeerIntent:
    """A session that this end opens, in vain."""
    return PeerIntent(
        peer=PeerId(vrf, ip_address(address)),
        asn=65000,
        local_address=IPv4Address(OWN),
        local_as=65000,
        families=(Family.IPV4_UNICAST,),
        connect_port=CLOSED_PORT,
        hold_time=hold_time,
    )


class Bench:
    """A pool whose events and log lines are kept."""

    def __init__(self, device_of: Callable[[str], str] | None = None) -> None:
        self.events: list[Event] = []
        self.log: list[tuple[str, str, dict[str, str | int]]] = []
        self.part = LonePart()
        self.pool = SpeakerPool(
            part=self.part,
            run_dir=Path("/"),
            user="nobody",
            router_id=IPv4Address("10.0.0.1"),
            emit=self.emit,
            log=lambda level, event, fields: self.log.append((level, event, fields)),
            device_of=device_of,
            listen_port=free_port(),
        )

    def configure(self, *peers: PeerIntent, restart_time: int = 120) -> None:
        """Have exactly these sessions, in all VRFs."""
        self.pool.configure(by_vrf(peers, self.pool), restart_time)

    def emit(self, events: list[Event]) -> None:
        self.events += events

    def logged(self, event: str, vrf: str = "") -> list[dict[str, str | int]]:
        return [fields for _, e, fields in self.log if e == event and fields["vrf"] == vrf]

    def process(self, vrf: str = "") -> process.SpeakerProcess:
        return self.pool._processes[vrf]

    def tried(self, address: str, vrf: str = "") -> bool:
        """True once the worker has reported an attempt to connect: it has that session."""
        return bool(self.process(vrf).sessions[address].last_error)

    async def until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log
            await asyncio.sleep(0.01)


def free_port() -> int:
    import socket

    with socket.socket() as made:
        made.bind((OWN, 0))
        return int(made.getsockname()[1])


@contextlib.asynccontextmanager
async def bench(device_of: Callable[[str], str] | None = None) -> AsyncIterator[Bench]:
    made = Bench(device_of)
    try:
        yield made
    finally:
        await made.pool.stop()
