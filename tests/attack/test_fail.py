"""FAIL: closed when something is missing, stopped or refused."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from labs.attack import ip, link, plan
from labs.attack.edit import edited, with_vrf
from labs.attack.inside import run_in
from labs.attack.net import PROBE_PORT, Net, circuit, ready, watching
from labs.attack.port import Port, token
from labs.attack.spoof import spoofed
from labs.attack.switch import Switch
from labs.namespaces import inside as entered
from labs.topology import Program
from labs.waiting import until
from pe.model.guards import Guard
from pe.netlink import codec as nl
from pe.netlink.ownership import TABLE
from pe.nft.expression import be32
from pe.nft.messages import DEL_TABLE, FAMILIES, NEW_TABLE, SUBSYSTEM, batch
from pe.nft.model import TableId
from pe.nft.socket import NETLINK_NETFILTER
from tests.attack.node_state import counter, rules
from tests.attack.trial import Attack, arrives, held

RED, BLUE, NEAR = circuit("red", 1), circuit("blue", 1), circuit("red", 3)
PLUG = Port("plug", "hot0")
CORE_TARGETS = {"v4": "10.255.0.100", "v6": "2001:db8:c1::2"}


@contextlib.contextmanager
def hot_plugged(name: str = "hot0") -> Iterator[Port]:
    """Add a port to pe1, up, with a peer device at its other end."""
    run_in("pe1", "ip", "link", "add", name, "type", "veth", "peer", "name", "hot0",
           "netns", "plug")  # fmt: skip
    try:
        run_in("pe1", "ip", "link", "set", name, "up")
        run_in("plug", "ip", "link", "set", "hot0", "up")
        yield Port("pe1", name)
    finally:
        run_in("pe1", "ip", "link", "del", name, check=False)


def to_the_core(pe: Port, target: str) -> Attack:
    """Return an ordinary packet for the core, from the new port."""
    plug = Port("plug", "hot0")
    source = "10.77.0.1" if "." in target else "2001:db8:77::1"

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(source, target, PROBE_PORT, mark)
        return [link.ethernet(pe.mac, plug.mac, link.ethertype(packet), packet)]

    return Attack(plug, frames, Port("p", "pe1"), RED)


@pytest.mark.parametrize("target", CORE_TARGETS.values(), ids=CORE_TARGETS)
@pytest.mark.parametrize("alive", [True, False], ids=["node-runs", "node-stands-still"])
def test_fail_01_a_port_that_is_not_configured(net: Net, target: str, alive: bool) -> None:
    """Plugged in and up, it is in the core's table by default (T16): nothing of it passes."""
    with hot_plugged() as pe:
        if alive:
            with Switch(net).off(Guard.UNKNOWN_PORT):
                assert arrives(net, to_the_core(pe, target)), "control"
            held(net, to_the_core(pe, target))
            return
        with Switch(net).stopped():
            held(net, to_the_core(pe, target))


def test_fail_01_nor_does_it_get_an_answer(net: Net) -> None:
    """Get no answer to ARP and ping, for any address."""
    with hot_plugged() as pe, PLUG.tap() as tap:
        plug = Port("plug", "hot0")
        for target in ("10.255.0.1", "10.0.1.1", "192.168.1.1"):
            question = link.arp(1, plug.mac, "10.77.0.1", target)
            plug.send(link.ethernet(link.BROADCAST, plug.mac, link.ARP, question))
            packet = ip.echo("10.77.0.1", target, token())
            plug.send(link.ethernet(pe.mac, plug.mac, link.IPV4, packet))
        net.sentinel(RED)
        said = [f for f in tap.frames() if f[12:14] in (b"\x08\x00", b"\x08\x06")]
        assert said == []


def test_fail_01_a_known_name_that_is_another_device(net: Net) -> None:
    """A configured port vanishes and comes back under a node that stands still: no VRF, no guard
    of its own, and yet nothing passes; then the node takes it in again."""
    with Switch(net).stopped():
        run_in("pe1", "ip", "link", "del", "ce-red-3")
        run_in("pe1", "ip", "link", "add", "ce-red-3", "type", "veth", "peer", "name", "eth0",
               "netns", "ce-red-3")  # fmt: skip
        run_in("pe1", "ip", "link", "set", "ce-red-3", "up")
        run_in("ce-red-3", "sh", "-ec", AGAIN)
        ce, pe = Port("ce-red-3", "eth0"), Port("pe1", "ce-red-3")

        def frames(mark: bytes) -> list[bytes]:
            packets = [
                ip.udp(plan.lan(3, ip.version(target)), target, PROBE_PORT, mark)
                for target in CORE_TARGETS.values()
            ]
            return [link.ethernet(pe.mac, ce.mac, link.ethertype(p), p) for p in packets]

        held(net, Attack(ce, frames, Port("p", "pe1"), RED))
    for cached in (NEAR.ce, NEAR.pe):  # other devices, other addresses
        cached.forget()
    assert until(lambda: net.passes(RED, NEAR, tries=1), 20.0), "it is in its VRF again"
    held(net, Attack(ce, lambda m: [NEAR.frame(ip.udp(
        "10.5.0.1", plan.lan(1, 4), PROBE_PORT, m))], RED.ce, RED, "ce-red-3"))  # fmt: skip


AGAIN = """
ip addr add 192.168.3.2/30 dev eth0
ip addr add 2001:db8:f3::2/64 dev eth0 nodad
ip link set eth0 up
ip route add default via 192.168.3.1 src 10.3.0.1
ip -6 route add default via 2001:db8:f3::1 src 2001:db8:3::1
"""


def patient(net: Net) -> Program:
    """A node that waits for its peers before it takes what it was not told of for left over."""
    program = net.lab.program("pe1", "pe")
    text = program.files["pe.yaml"].replace(f"sync-timeout: {plan.SYNC}", "sync-timeout: 30")
    return replace(program, files={"pe.yaml": text})


@dataclass
class Traffic:
    """About a thousand attacks a second, and an honest packet with every fourth of them."""

    net: Net
    label: int
    sent: list[bytes] = field(default_factory=list)
    attacks: int = 0
    evil: bytes = b"EVIL-TRAFFIC"
    _going: bool = True

    def run(self) -> None:
        """Send until told to stop."""
        stacked = spoofed(RED.ce, RED.pe.mac, [self.label])(self.evil)
        tagged = spoofed(RED.ce, RED.pe.mac, [self.label], tags=(0,))(self.evil)
        forged = [RED.frame(ip.udp("10.5.0.1", plan.lan(3, 4), PROBE_PORT, self.evil))]
        leaking = [RED.frame(ip.udp(plan.lan(1, 4), "10.255.0.100", PROBE_PORT, self.evil))]
        batch = [*stacked, *tagged, *forged, *leaking]
        while self._going:
            RED.ce.send(*batch)
            self.attacks += len(batch)
            mark = token()
            self.sent.append(mark)
            BLUE.ce.send(self.net.legitimate(BLUE, circuit("blue", 2), 4, mark))
            time.sleep(0.003)

    def stop(self) -> None:
        """No more."""
        self._going = False


def test_fail_02_killed_under_attack(net: Net) -> None:
    """kill -9 and a new start under a thousand attacks a second: none gets through, and of the
    honest packets none is lost."""
    program = patient(net)
    traffic = Traffic(net, net.label("blue"))
    thread = threading.Thread(target=traffic.run)
    victims = (BLUE.ce, NEAR.ce, net.p, circuit("blue", 3).ce)
    with circuit("blue", 2).ce.tap() as honest, watching(*victims) as eyes:
        thread.start()
        try:
            time.sleep(0.5)
            old = net.lab.pid("pe1", "pe")
            net.lab.stop("pe1", "pe", signal=9)
            assert net.lab.start("pe1", program) != old
            net.reconnect()
            # The tap is read all the time: a full buffer would look like a loss.
            assert until(lambda: honest.frames() and net.core_is_up(), 60.0, every=0.2)
        finally:
            traffic.stop()
            thread.join()
        honest.wait(traffic.sent[-1], 3.0)
        arrived = b"".join(f for f in honest.frames() if b"token" in f)
        lost = [mark for mark in traffic.sent if mark not in arrived]
        assert len(traffic.sent) > 500
        assert traffic.attacks > 2000
        assert lost == []
        assert [eye.count(traffic.evil) for eye in eyes] == [0] * len(eyes)
    settled(net)


def settled(net: Net) -> None:
    """Wait until a node that was started again works as before."""
    assert until(lambda: net.pe1.status().in_sync, 60.0, every=0.5)
    ready(net)


def test_fail_06_a_dead_node_leaves_its_walls(net: Net) -> None:
    """Killed and not started again: what it last wanted stays, and goes on holding."""
    label = net.label("blue")
    net.lab.stop("pe1", "pe", signal=9)
    try:
        for version in (4, 6):
            for tags in ((), (0,)):
                frames = spoofed(RED.ce, RED.pe.mac, [label], version, tags=tags)
                held(net, Attack(RED.ce, frames, BLUE.ce, RED))
            source = "10.5.0.1" if version == 4 else "2001:db8:5::1"
            forged = ip.udp(source, plan.lan(3, version), PROBE_PORT, token())
            held(net, Attack(RED.ce, lambda m, f=forged: [RED.frame(f + m)], NEAR.ce, RED))  # type: ignore[misc]
        mark = token()
        with watching(net.p, BLUE.ce) as eyes:
            RED.ce.send(RED.frame(ip.udp(plan.lan(1, 4), "10.255.0.100", PROBE_PORT, mark)))
            net.sentinel(RED)
            assert [eye.count(mark) for eye in eyes] == [0, 0]
    finally:
        net.lab.start("pe1", patient(net))
        net.reconnect()
        settled(net)


def chain_exists(port: str) -> bool:
    return "hook ingress" in run_in(
        "pe1", "nft", "list", "chain", "netdev", "bulkhead", f"ce_{port}", check=False
    )


def test_fail_03_a_port_opens_behind_its_guard(net: Net) -> None:
    """A VRF is added and removed under attack from its own new port: at no moment does a packet
    get out of it where it should not."""
    plug, pe = Port("plug", "eth0"), Port("pe1", "spare0")
    mark, going = token(), True

    def attack() -> None:
        frames = [
            *spoofed(plug, pe.mac, [label])(mark),
            link.ethernet(pe.mac, plug.mac, link.IPV4,
                          ip.udp("10.5.0.1", "10.255.0.100", PROBE_PORT, mark)),
            link.ethernet(pe.mac, plug.mac, link.IPV4,
                          ip.udp("192.168.7.2", "10.1.0.1", PROBE_PORT, mark)),
        ]  # fmt: skip
        while going:
            with contextlib.suppress(OSError):  # while the other end is down
                plug.send(*frames)
            time.sleep(0.001)

    label = net.label("blue")
    thread = threading.Thread(target=attack)
    with watching(net.p, BLUE.ce, RED.ce, NEAR.ce) as eyes:
        thread.start()
        try:
            for _ in range(2):
                with edited(net, lambda text: text + with_vrf("violet", 8)):
                    assert until(lambda: port_is_up("spare0"), 10.0)
                    assert chain_exists("spare0"), "up, so guarded"
                assert until(lambda: not port_is_up("spare0"), 10.0)
        finally:
            going = False
            thread.join()
        assert [eye.count(mark) for eye in eyes] == [0] * len(eyes)


def port_is_up(name: str) -> bool:
    return ",UP" in run_in("pe1", "ip", "-o", "link", "show", "dev", name)


def test_fail_04_a_refused_ruleset(net: Net) -> None:
    """Make the kernel refuse what the node loads: the old ruleset stays, a new port stays down, and
    the failure is reported; as soon as the kernel takes it the port opens behind its guard."""
    # What an earlier test had configured closes down last: its rules go behind its port.
    assert until(lambda: not any("violet" in line or "spare0" in line for line in rules(net)), 20.0)
    with seized("pe1", TableId("arp", TABLE)) as release:
        before, failed = rules(net), failures(net)
        assert any("chain ce_ce-red-1" in line for line in before), "the other tables are there"
        with edited(net, lambda text: text + with_vrf("violet", 8)):
            assert until(lambda: failures(net) > failed, 10.0), "the failure is reported"
            assert "Operation not permitted" in net.lab.log("pe1", "pe")
            assert not port_is_up("spare0")
            assert rules(net) == before
            frames = spoofed(RED.ce, RED.pe.mac, [net.label("blue")])
            held(net, Attack(RED.ce, frames, BLUE.ce, RED, "ce-red-1"))
            release()
            assert until(lambda: port_is_up("spare0"), 20.0)
            assert chain_exists("spare0")


@contextlib.contextmanager
def seized(node: str, table: TableId) -> Iterator[Callable[[], None]]:
    """Another process has a table of this name that no other may change (NFT_TABLE_F_OWNER), in
    the place of the node's own. The kernel refuses every transaction with a word about it, whole;
    calling the result gives the name free again."""
    family = bytes((FAMILIES[table.family], 0, 0, 0))
    name = nl.attribute(1, table.name.encode() + b"\0")
    owned = name + be32(2, TABLE_OWNER)
    body = [
        nl.HEADER.pack(20 + len(more), SUBSYSTEM << 8 | kind, flags, 0, 0) + family + more
        for kind, flags, more in (
            (NEW_TABLE, nl.NLM_F_CREATE, name), (DEL_TABLE, 0, name),
            (NEW_TABLE, nl.NLM_F_CREATE, owned),
        )
    ]  # fmt: skip
    with entered(node):
        socket = nl.NetlinkSocket(NETLINK_NETFILTER)
    try:
        socket.send(batch(body))
        assert [nl.refusal(answer) for answer in socket.receive()] == [None]
        yield socket.close
    finally:
        socket.close()


TABLE_OWNER = 2
"""NFT_TABLE_F_OWNER."""


def failures(net: Net) -> int:
    return counter(net, "kernel_failures")
