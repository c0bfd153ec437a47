"""Core sessions between two speakers, and with GoBGP: what is sent is what arrives."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from controlplane.model.attributes import AsSegment, Attributes, Nlri
from controlplane.model.effects import (
    Announce,
    Effect,
    RequestRefresh,
    ResetSession,
    SendEndOfRib,
    Withdraw,
)
from controlplane.model.events import (
    EndOfRib,
    RefreshRequested,
    RoutesReceived,
    RoutesWithdrawn,
    SessionDown,
    SessionUp,
    SpeakerLost,
)
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, IPAddress, parse_prefix
from controlplane.model.rd import parse_rd, parse_rt
from labs.namespaces import inside
from tests.attributes import every_attribute
from tests.lab.speakers import Speaker, alive, eventually, ip, run, session

ONE, TWO = "spkone", "spktwo"
A, B, C = "10.1.0.1", "10.1.0.2", "10.1.0.3"
TO_B = PeerId("", IPv4Address(B))
RED = parse_rd("65000:1")
ATTRIBUTES = every_attribute(
    AsSegment("confed-sequence", (1, 2)), AsSegment("sequence", (65001, 4200000000))
)
CORE, PLAIN = IPv4Address("10.255.0.1"), Attributes(local_pref=100)


@pytest.fixture(scope="module", autouse=True)
def _wire() -> Iterator[None]:
    for name in (ONE, TWO):
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
    ip("link", "add", "w0", "netns", ONE, "type", "veth", "peer", "w0", "netns", TWO)
    for name, addresses in ((ONE, (A,)), (TWO, (B, C))):
        ip("-n", name, "link", "set", "w0", "up")
        for address in addresses:
            ip("-n", name, "address", "add", f"{address}/24", "dev", "w0")
    yield
    for name in (ONE, TWO):
        ip("netns", "delete", name)


@asynccontextmanager
async def pair(**more: int) -> AsyncIterator[tuple[Speaker, Speaker]]:
    with inside(ONE):
        one, two = Speaker(ONE, "10.255.0.1", **more), Speaker(TWO, "10.255.0.2")  # type: ignore[arg-type]
        try:
            yield one, two
        finally:
            await asyncio.gather(one.pool.stop(), two.pool.stop())


async def joined(one: Speaker, two: Speaker) -> None:
    one.configure(session(A, B))
    two.configure(session(B, A))
    await asyncio.gather(one.is_up(), two.is_up())


def vpn(text: str, label: int = 300) -> Nlri:
    return Nlri(parse_prefix(text), RED, (label,))


def test_every_attribute_and_family_arrives_as_it_was_sent() -> None:
    sent: dict[Family, tuple[IPAddress, list[Nlri]]] = {
        Family.IPV4_VPN: (CORE, [vpn("10.0.0.0/8"), vpn("0.0.0.0/0"), vpn("10.1.1.1/32")]),
        Family.IPV6_VPN: (CORE, [vpn("2001:db8::/33"), vpn("::/0")]),
        Family.IPV4_UNICAST: (CORE, [Nlri(parse_prefix("10.1.0.0/16"))]),
        Family.IPV6_UNICAST: (IPv6Address("2001:db8::1"), [Nlri(parse_prefix("2001:db8::/48"))]),
    }

    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            actions: list[Effect] = []
            for family, (hop, routes) in sent.items():
                actions.append(Announce(TO_B, family, hop, ATTRIBUTES, routes))
                actions.append(SendEndOfRib(TO_B, family))
            one.pool.perform(actions)
            await two.sees(EndOfRib, count=4)
            got = [e for e in two.events if isinstance(e, RoutesReceived)]
            assert {e.family: (e.next_hop, e.nlri) for e in got} == sent
            assert {e.attributes for e in got} == {ATTRIBUTES}

    run(scenario)


def test_order_is_kept_within_one_batch() -> None:
    """Announced, withdrawn, announced again: what counts is the last word."""

    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            say = Announce(TO_B, Family.IPV4_VPN, CORE, PLAIN, [vpn("10.1.0.0/16")])
            gone = Withdraw(TO_B, Family.IPV4_VPN, [vpn("10.1.0.0/16")])
            one.pool.perform([say, gone, say, gone, say, SendEndOfRib(TO_B, Family.IPV4_VPN)])
            await two.sees(EndOfRib)
            kinds = [type(e) for e in two.events if not isinstance(e, SessionUp | EndOfRib)]
            assert kinds == [
                RoutesReceived, RoutesWithdrawn, RoutesReceived, RoutesWithdrawn, RoutesReceived
            ]  # fmt: skip

    run(scenario)


def test_a_route_whose_attributes_outgrow_an_update_is_withdrawn() -> None:
    """The peer keeps no route that is out of date, and the session goes on."""

    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            grown = Attributes(local_pref=100, communities=tuple((65001, n) for n in range(1100)))
            route = [vpn("10.1.0.0/16")]
            one.pool.perform([
                Announce(TO_B, Family.IPV4_VPN, CORE, PLAIN, route),
                Announce(TO_B, Family.IPV4_VPN, CORE, grown, route),
                SendEndOfRib(TO_B, Family.IPV4_VPN),
            ])  # fmt: skip
            await two.sees(EndOfRib)
            kinds = [type(e) for e in two.events if not isinstance(e, SessionUp | EndOfRib)]
            assert kinds == [RoutesReceived, RoutesWithdrawn]
            (snapshot,) = one.pool.snapshot()
            assert [str(r.nlri.prefix) for r in snapshot.unsent] == ["10.1.0.0/16"]

    run(scenario)


def test_end_of_rib_is_sent_on_command_and_not_before() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            await asyncio.sleep(1)
            assert two.reported(EndOfRib) == []
            one.pool.perform([SendEndOfRib(TO_B, Family.IPV6_VPN)])
            await two.sees(EndOfRib)
            assert two.reported(EndOfRib) == [EndOfRib(PeerId("", IPv4Address(A)), Family.IPV6_VPN)]

    run(scenario)


def test_a_reset_is_a_cease_and_says_nothing_to_the_next_session() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            late = Announce(TO_B, Family.IPV4_VPN, CORE, PLAIN, [vpn("10.1.0.0/16")])
            one.pool.perform([ResetSession(TO_B, 4, "by order"), late])
            await two.sees(SessionUp, count=2)
            down = [e for e in two.events if isinstance(e, SessionDown)]
            assert [(e.reason, e.graceful) for e in down] == [
                ("NOTIFICATION received: Cease, Administrative Reset (6,4)", False)
            ]
            await asyncio.sleep(1)
            assert two.reported(RoutesReceived) == []
            await one.sees(SessionUp, count=2)
            one.pool.perform([late])
            await two.sees(RoutesReceived)

    run(scenario)


def test_route_refresh_both_ways_sends_nothing_by_itself() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            say = Announce(TO_B, Family.IPV4_VPN, CORE, PLAIN, [vpn("10.1.0.0/16")])
            one.pool.perform([say])
            await two.sees(RoutesReceived)
            two.pool.perform([RequestRefresh(PeerId("", IPv4Address(A)), Family.IPV4_VPN)])
            await one.sees(RefreshRequested)
            one.pool.perform([say])
            await two.sees(RoutesReceived, count=2)
            assert two.reported(RoutesWithdrawn) == []

    run(scenario)


def test_a_change_leaves_other_sessions_alone() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            three = Speaker(TWO, "10.255.0.3")
            try:
                await joined(one, two)
                one.configure(session(A, B), session(A, C, md5="x", passive=True))
                three.configure(session(C, A, md5="x"))
                await one.sees(SessionUp, count=2)
                one.configure(session(A, B), session(A, C, md5="x", passive=True, hold_time=30))
                await one.sees(SessionUp, count=3)
                one.configure(session(A, B))
                await three.sees(SessionDown, count=2)
                ups = [e.peer.address for e in one.events if isinstance(e, SessionUp)]
                downs = {e.peer.address for e in one.events if isinstance(e, SessionDown)}
                assert ups.count(IPv4Address(B)) == 1
                assert downs == {IPv4Address(C)}
                assert [s.state for s in one.pool.snapshot()] == ["established"]
            finally:
                await three.pool.stop()

    run(scenario)


def test_the_last_one_gone_is_ended_with_peer_deconfigured() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            worker = one.worker("")
            one.configure()
            assert [type(e) for e in one.events] == [SessionUp, SessionDown]
            await two.sees(SessionDown)
            (down,) = two.reported(SessionDown)
            assert isinstance(down, SessionDown)
            assert (down.reason, down.graceful) == (
                "NOTIFICATION received: Cease, Peer De-configured (6,3)",
                False,
            )
            await eventually(lambda: not alive(worker), "the worker ends")

    run(scenario)


def test_stopping_is_silent_so_that_a_peer_may_keep_our_routes() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            await one.pool.stop()
            await two.sees(SessionDown)
            (down,) = two.reported(SessionDown)
            assert isinstance(down, SessionDown)
            assert down.graceful
            up = two.events[0]
            assert isinstance(up, SessionUp)
            assert (up.restart_time, up.forwarding) == (120, frozenset(Family))

    run(scenario)


def test_a_worker_that_is_killed_comes_back_and_so_does_the_session() -> None:
    async def scenario() -> None:
        async with pair() as (one, two):
            await joined(one, two)
            for time in (1, 2):
                os.kill(one.worker(""), signal.SIGKILL)
                await one.sees(SpeakerLost, count=time)
                await one.sees(SessionUp, count=time + 1)
            assert one.reported(SessionDown) == []

    run(scenario)


def test_more_than_the_queue_holds_restarts_the_session_instead_of_the_node() -> None:
    async def scenario() -> None:
        async with pair(queue_limit=1000) as (one, two):
            await joined(one, two)
            routes = [vpn(f"10.{n >> 8}.{n & 255}.0/24") for n in range(900)]
            say = Announce(TO_B, Family.IPV4_VPN, CORE, PLAIN, routes)
            one.pool.perform([say, say])
            await one.sees(SessionDown)
            assert "speaker_queue_full" in [event for _, event, _ in one.log]
            await one.sees(SessionUp, count=2)
            one.pool.perform([say])
            await two.sees(RoutesReceived)

    run(scenario)


def test_workers_die_with_a_node_that_is_killed() -> None:
    script = (
        "import asyncio, sys\n"
        "from tests.lab.speakers import Speaker, session\n"
        "async def main():\n"
        f"    one = Speaker({ONE!r}, '10.255.0.1')\n"
        f"    one.configure(session({A!r}, {B!r}))\n"
        "    print(one.worker(''), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    node = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert node.stdout is not None
    worker = int(node.stdout.readline())
    node.stdout.close()

    async def scenario() -> None:
        async with pair() as (one, two):
            two.configure(session(B, A))
            await two.is_up()
            assert alive(worker)
            node.kill()
            node.wait()
            # A new node is there at once, and its worker has to cope with the old one's end.
            one.configure(session(A, B))
            await eventually(lambda: not alive(worker), "the worker of the killed node ends", 5)
            await one.is_up()
            down = [e.graceful for e in two.events if isinstance(e, SessionDown)]
            assert down == [True]

    run(scenario)


GOBGP = """
[global.config]
  as = 65000
  router-id = "10.255.0.2"
  local-address-list = ["{B}"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "{A}"
    peer-as = 65000
    auth-password = "cross"
  [neighbors.transport.config]
    passive-mode = true
"""
AFI_SAFI = """
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "{name}"
"""
THEIR_NAMES = ("ipv4-unicast", "ipv6-unicast", "l3vpn-ipv4-unicast", "l3vpn-ipv6-unicast")


async def gobgp(*words: str) -> str:
    arguments = ["ip", "netns", "exec", TWO, "gobgp", *words]
    made = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    out, _ = await made.communicate()
    return out.decode()


def test_gobgp_understands_us_and_we_it(tmp_path: Path) -> None:
    text = GOBGP.format(A=A, B=B) + "".join(AFI_SAFI.format(name=name) for name in THEIR_NAMES)
    (tmp_path / "gobgp.toml").write_text(text)
    command = ["ip", "netns", "exec", TWO, "gobgpd", "-f", str(tmp_path / "gobgp.toml")]
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)

    async def scenario() -> None:
        async with pair() as (one, _):
            one.configure(session(A, B, md5="cross"))
            await one.is_up()
            one.pool.perform(
                [
                    Announce(TO_B, Family.IPV4_VPN, CORE, ATTRIBUTES, [vpn("10.7.0.0/16")]),
                    Announce(TO_B, Family.IPV6_VPN, CORE, ATTRIBUTES, [vpn("2001:db8::/33")]),
                    *(SendEndOfRib(TO_B, family) for family in Family),
                ]
            )
            await asyncio.sleep(2)
            for family, prefix in (("vpnv4", "10.7.0.0/16"), ("vpnv6", "2001:db8::/33")):
                (path,) = json.loads(await gobgp("global", "rib", "-j", "-a", family)).values()
                told = json.dumps(path)
                for part in (prefix, "10.255.0.1", "4200000000", "300", "65000"):
                    assert part in told, (family, part, told)
            route = "10.9.0.0/24 label 77 rd 65000:7 rt 65000:7 nexthop 10.1.0.2"
            await gobgp("global", "rib", "add", "-a", "vpnv4", *route.split())
            await one.sees(RoutesReceived)
            (got,) = one.reported(RoutesReceived)
            assert isinstance(got, RoutesReceived)
            assert got.nlri == [Nlri(parse_prefix("10.9.0.0/24"), parse_rd("65000:7"), (77,))]
            assert got.attributes.route_targets == {parse_rt("65000:7")}
            daemon.kill()
            await one.sees(SessionDown)

    try:
        run(scenario)
    finally:
        daemon.kill()
        daemon.wait()
