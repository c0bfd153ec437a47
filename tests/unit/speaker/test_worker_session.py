"""A real worker and a peer that speaks octets: OPEN, UPDATEs and the end, over loopback."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

import pytest

from controlplane.model.events import RoutesReceived, RoutesWithdrawn, SessionDown, SessionUp
from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker import launch
from labs.attack import bgp
from labs.attack.cases import VPN4, stacked
from tests.unit.speaker.worker_bench import OWN, Bench, peer

PEER = "127.0.8.8"
ODD = b"\x49\x04\x20pe\xff" + b"\x4b\x00" + b"\x45\x03\0\1\1"
"""Capabilities 73, 75 and 69 in forms that ExaBGP refuses."""


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_unprivileged", lambda *_: iter(()))


class Lined(Bench):
    """A pool with one passive VPN session, and the peer's end of it."""

    def start(self) -> None:
        self.configure(
            PeerIntent(
                peer=PeerId("", ip_address(PEER)),
                asn=65000,
                local_address=IPv4Address(OWN),
                local_as=65000,
                families=(Family.IPV4_VPN,),
                passive=True,
            )
        )

    async def connected(self, extra: bytes = b"") -> bgp.Session:
        """A session that is established."""
        found: list[socket.socket] = []

        def tries() -> bool:
            made = socket.socket()
            made.bind((PEER, 0))
            if made.connect_ex((OWN, self.pool._around.listen_port)):
                made.close()
                return False
            found.append(made)
            return True

        await self.until(tries)
        session = bgp.Session(found[0])
        greeting = bgp.Greeting(65000, families=(bgp.VPNV4,), extra=extra)
        session.send(greeting.packed(), bgp.message(bgp.KEEPALIVE))
        await self.until(lambda: any(isinstance(e, SessionUp) for e in self.events))
        return session

    def reported(self) -> Iterator[object]:
        """What became of which route, in order."""
        for event in self.events:
            if isinstance(event, RoutesReceived | RoutesWithdrawn):
                kind = isinstance(event, RoutesReceived)
                yield from ((kind, str(n.prefix)) for n in event.nlri)


def update(nlri: bytes, *more: bytes) -> bytes:
    return bgp.update(VPN4.reach(nlri) + VPN4.basis + b"".join(more))


def test_one_odd_pe_behind_a_reflector() -> None:
    """Its capabilities, its labels and its attributes cost no session and no other route."""

    async def scenario() -> None:
        node = Lined()
        try:
            node.start()
            session = await node.connected(ODD)
            (up,) = [e for e in node.events if isinstance(e, SessionUp)]
            assert up.families == {Family.IPV4_VPN}
            good, other = VPN4.nlri(), VPN4.nlri(VPN4.other)
            communities = b"".join(struct.pack("!HH", 1, n) for n in range(900))
            session.send(
                update(good, bgp.attribute(8, communities)),
                update(stacked(other, 2) + good),
                update(other, bgp.attribute(99, b"x", 0x40)),
                bgp.update(VPN4.reach(b"", empty=True) + VPN4.basis),
                bgp.refresh(1, 128)[:-2] + b"\x07\x80",
                update(other),
            )
            await node.until(lambda: (True, VPN4.other) in node.reported())
            assert list(node.reported()) == [
                (True, VPN4.prefix),
                (False, VPN4.other),
                (True, VPN4.prefix),
                (False, VPN4.other),
                (True, VPN4.other),
            ]
            assert session.alive
            (shown,) = node.pool.snapshot()
            assert shown.malformed == 3
            handled = [f["handling"] for f in node.logged("update_malformed")]
            assert handled == ["treat-as-withdraw", "treat-as-withdraw", "attribute discard"]
            session.close()
        finally:
            await node.pool.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("last", "reason", "graceful"),
    [
        (b"", "connection lost: ", True),
        (
            bgp.notify(6, 2, b"\x12closing connection"),
            "NOTIFICATION received: Cease, Administrative Shutdown (6,2): closing connection",
            False,
        ),
        (
            update(VPN4.nlri()[:-1]),
            "NOTIFICATION sent: UPDATE Message Error, Invalid Network Field (3,10): "
            "the last NLRI is cut short",
            False,
        ),
    ],
    ids=["lost", "received", "sent"],
)
def test_how_a_session_ends(last: bytes, reason: str, graceful: bool) -> None:
    async def scenario() -> None:
        node = Lined()
        try:
            node.start()
            session = await node.connected()
            session.send(last)
            if not last:
                session.close()
            await node.until(lambda: any(isinstance(e, SessionDown) for e in node.events))
            (down,) = [e for e in node.events if isinstance(e, SessionDown)]
            assert down.reason.startswith(reason)
            assert down.graceful is graceful
            session.close()
        finally:
            await node.pool.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("established", [False, True])
def test_a_session_that_goes_and_comes_back_at_once(established: bool) -> None:
    """Two reloads in a moment: the worker took the one that it had removed for present, deleted it
    after that, and answered every later connection of the peer with "peer de-configured"."""

    async def scenario() -> None:
        node = Lined()
        try:
            node.start()
            (lined,) = (s.intent for s in node.process().sessions.values())
            other = peer("127.0.8.9")
            node.configure(lined, other)
            await node.until(lambda: node.tried("127.0.8.9"))
            if established:
                first = await node.connected()
            node.configure(other)
            node.configure(lined, other)
            if established:
                await node.until(lambda: not first.alive)
                first.close()
            node.events.clear()
            again = await node.connected()
            assert again.alive
            again.close()
        finally:
            await node.pool.stop()

    asyncio.run(scenario())
