"""One worker per VRF: two customers with the same addresses, each way of connecting, real keys."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from controlplane.model.events import SessionDown, SessionUp, SpeakerLost
from labs.namespaces import inside
from tests.lab.speakers import Speaker, alive, arguments, eventually, ip, run, session, status

PE, CES = "spkpe", {"red": "spkred", "blue": "spkblue"}
OURS, THEIRS = "10.0.0.1", "10.0.0.2"
KEYS = {"red": "red's key", "blue": 'blue "key" \\ too'}
PE_TO_CE, CE_TO_PE = (65000, 65001), (65001, 65000)
CAP_NET_BIND_SERVICE = f"{1 << 10:016x}"


@pytest.fixture(scope="module", autouse=True)
def _wires() -> Iterator[None]:
    namespaces = [PE, *CES.values()]
    for name in namespaces:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    for table, (vrf, ce) in enumerate(CES.items(), 10):
        ip("-n", PE, "link", "add", vrf, "type", "vrf", "table", str(table))
        ip("-n", PE, "link", "set", vrf, "up")
        ip("link", "add", f"p{vrf}", "netns", PE, "type", "veth", "peer", "c0", "netns", ce)
        ip("-n", PE, "link", "set", f"p{vrf}", "master", vrf, "up")
        ip("-n", PE, "address", "add", f"{OURS}/30", "dev", f"p{vrf}")
        ip("-n", ce, "address", "add", f"{THEIRS}/30", "dev", "c0")
        ip("-n", ce, "link", "set", "c0", "up")
    yield
    for name in namespaces:
        ip("netns", "delete", name)


@asynccontextmanager
async def speakers() -> AsyncIterator[tuple[Speaker, dict[str, Speaker]]]:
    with inside(PE):
        pe = Speaker(PE, "10.255.0.1", in_vrfs=True)
        ces = {vrf: Speaker(name, f"10.255.1.{n}") for n, (vrf, name) in enumerate(CES.items(), 1)}
        try:
            yield pe, ces
        finally:
            await asyncio.gather(*(s.pool.stop() for s in (pe, *ces.values())))


def to_ces(**more: object) -> list:  # type: ignore[type-arg]
    return [
        session(OURS, THEIRS, vrf=vrf, asns=PE_TO_CE, md5=KEYS[vrf], **more)  # type: ignore[arg-type]
        for vrf in CES
    ]


@pytest.mark.parametrize("pe_waits", [True, False], ids=["ce-connects", "pe-connects"])
def test_equal_addresses_in_two_vrfs_each_with_its_key(pe_waits: bool) -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces(passive=pe_waits))
            for vrf, ce in ces.items():
                back = session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS[vrf], passive=not pe_waits)
                ce.configure(back)
            for vrf, ce in ces.items():
                await pe.is_up(vrf)
                await ce.is_up()
            told = {e.peer.vrf: e.router_id for e in pe.events if isinstance(e, SessionUp)}
            assert told == {"red": "10.255.1.1", "blue": "10.255.1.2"}
            assert pe.worker("red") != pe.worker("blue")

    run(scenario)


def test_the_other_vrfs_key_opens_nothing() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces())
            ces["red"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["blue"]))
            ces["blue"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["blue"]))
            await pe.is_up("blue")
            await asyncio.sleep(4)
            assert pe.reported(SessionUp, "red") == []
            ces["red"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["red"]))
            await pe.is_up("red")

    run(scenario)


def test_listeners_are_in_their_vrf_only() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces(passive=True))
            for vrf, ce in ces.items():
                ce.configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS[vrf]))
                await pe.is_up(vrf)
            # The address exists in VRFs alone; from the global table nothing answers to it.
            ip("-n", PE, "address", "add", f"{OURS}/32", "dev", "lo")
            try:
                with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
                    socket.create_connection((OURS, 179), timeout=1).close()
            finally:
                ip("-n", PE, "address", "delete", f"{OURS}/32", "dev", "lo")

    run(scenario)


def test_a_worker_has_no_right_but_to_bind_its_port() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces())
            ces["red"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["red"]))
            await pe.is_up("red")
            told = status(pe.worker("red"))
            assert set(told["Uid"].split()) == {"65534"}
            assert told["Groups"] == ""
            assert told["NoNewPrivs"] == "1"
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert told[kind] == CAP_NET_BIND_SERVICE, kind
            assert b"key" not in arguments(pe.worker("red"))

    run(scenario)


def test_a_worker_that_dies_takes_its_own_sessions_only_and_comes_back() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces())
            for vrf, ce in ces.items():
                ce.configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS[vrf]))
                await pe.is_up(vrf)
            os.kill(pe.worker("red"), signal.SIGKILL)
            await pe.sees(SpeakerLost, "red")
            await pe.sees(SessionUp, "red", count=2)
            assert pe.reported(SpeakerLost, "blue") == pe.reported(SessionDown, "blue") == []
            down = ces["red"].reported(SessionDown)
            assert [e.graceful for e in down if isinstance(e, SessionDown)] == [True]

    run(scenario)


def test_gtsm_drops_what_comes_from_afar() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces(ttl_security=1, passive=True))
            near = session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["red"], ttl_security=1)
            ces["red"].configure(near)
            await pe.is_up("red")
            # A sender with the usual TTL of 64 could be anywhere.
            ces["blue"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["blue"]))
            await asyncio.sleep(4)
            assert pe.reported(SessionUp, "blue") == []
            far = session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["blue"], ttl_security=1)
            ces["blue"].configure(far)
            await pe.is_up("blue")

    run(scenario)


def test_the_listener_waits_for_its_device() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            ip("-n", PE, "link", "set", "red", "name", "later")
            try:
                pe.configure(*to_ces(passive=True))
                ces["red"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["red"]))
                ces["blue"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["blue"]))
                await pe.is_up("blue")
                assert pe.reported(SessionUp, "red") == []
            finally:
                ip("-n", PE, "link", "set", "later", "name", "red")
            await pe.is_up("red")

    run(scenario)


def test_a_vrf_without_sessions_has_no_worker() -> None:
    async def scenario() -> None:
        async with speakers() as (pe, ces):
            pe.configure(*to_ces())
            ces["red"].configure(session(THEIRS, OURS, asns=CE_TO_PE, md5=KEYS["red"]))
            await pe.is_up("red")
            worker = pe.worker("red")
            pe.configure(*to_ces()[1:])
            assert len(pe.reported(SessionDown, "red")) == 1
            await eventually(lambda: not alive(worker), "the worker of red ends")
            down = ces["red"].reported(SessionDown)
            assert [e.reason for e in down if isinstance(e, SessionDown)] == [
                "NOTIFICATION received: Cease, Peer De-configured (6,3)"
            ]

    run(scenario)
