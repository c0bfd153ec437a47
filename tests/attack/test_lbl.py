"""Test LBL: no CE may send labelled packets (RFC 4364 section 6, RFC 4381 3.4)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from labs.attack import ip, link, plan
from labs.attack.inside import run_in, sysctl
from labs.attack.net import Net, circuit, watching
from labs.attack.port import Port, token
from labs.attack.spoof import inner, spoofed
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.labelled import P_LOOPBACK, from_red
from tests.attack.trial import COPIES, Attack, arrives, control, held

RED, BLUE = circuit("red", 1), circuit("blue", 1)
TRUNK, TRUNK_PE = Port("trunk", "eth0"), Port("pe1", "trunk0")
LAN, LAN_PE, LAN_MEMBER = Port("lan-a", "eth0"), Port("pe1", "br-red"), Port("pe1", "br-a")
OPEN = (Guard.EDGE, Guard.LABEL_INPUT)
both = pytest.mark.parametrize("version", [4, 6])


@both
def test_lbl_01_untagged(net: Net, version: int) -> None:
    attack = from_red(net, version)
    control(net, attack, OPEN)
    held(net, attack)


@both
@pytest.mark.parametrize("left", [Guard.EDGE, Guard.LABEL_INPUT])
@pytest.mark.parametrize("tags", [(), (0,)], ids=["untagged", "vid0"])
def test_lbl_01_each_guard_alone(
    net: Net, version: int, left: Guard, tags: tuple[int, ...]
) -> None:
    """Defence in depth: the allow-list without the setting, the setting without the list."""
    attack = from_red(net, version, tags=tags)
    mark = token()
    off = [guard for guard in OPEN if guard is not left]
    with Switch(net).off(*off), watching(BLUE.ce, RED.ce) as (victim, attacker):
        before = mpls_drops("ce-red-1")
        RED.ce.send(*attack.frames(mark))
        net.sentinel(RED)
        assert victim.count(mark) == 0
        assert attacker.count(mark) == 0
        if left is Guard.LABEL_INPUT:  # then the kernel's own counter has it
            assert mpls_drops("ce-red-1") == before + 1


def mpls_drops(port: str) -> int:
    """Labelled packets that the kernel did not take on a port of pe1."""
    text = run_in("pe1", "ip", "-s", "-s", "stats", "show", "dev", port,
                  "group", "afstats", "subgroup", "mpls")  # fmt: skip
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if line.split()[:1] == ["RX:"]), None)
    if at is None:
        return 0
    names, values = lines[at].split()[1:], lines[at + 1].split()
    return int(values[names.index("dropped")])


@both
def test_lbl_02_priority_tag(net: Net, version: int) -> None:
    attack = from_red(net, version, tags=(0,))
    control(net, attack, OPEN)
    held(net, attack)


@contextlib.contextmanager
def vlan_devices(port: str, *vids: int) -> Iterator[None]:
    """VLAN devices upon each other on a port of pe1, taking labels, while the node is stopped."""
    below = port
    try:
        for vid in vids:
            name = f"x{vid}"
            run_in("pe1", "ip", "link", "add", "link", below, "name", name, "type", "vlan",
                   "id", str(vid))  # fmt: skip
            run_in("pe1", "ip", "link", "set", name, "up")
            sysctl("pe1", f"mpls/conf/{name}/input", "1")
            below = name
        yield
    finally:
        for vid in reversed(vids):
            run_in("pe1", "ip", "link", "del", f"x{vid}", check=False)


@both
def test_lbl_03_vlan_without_a_device(net: Net, version: int) -> None:
    attack = from_red(net, version, tags=(50,))
    with Switch(net).off(*OPEN), vlan_devices("ce-red-1", 50):
        assert arrives(net, attack)
    held(net, attack)


@both
@pytest.mark.parametrize("tags", [(10,), (10, 0)], ids=["vlan", "vlan-vid0"])
def test_lbl_03_vlan_port_of_the_vpn(net: Net, version: int, tags: tuple[int, ...]) -> None:
    frames = spoofed(TRUNK, TRUNK_PE.mac, [net.label("blue")], version, tags=tags)
    attack = Attack(TRUNK, frames, BLUE.ce, RED, "red-v10")
    control(net, attack, OPEN)
    held(net, attack)


@both
@pytest.mark.parametrize(
    "tags", [(50, 60), ((link.QINQ, 50), 60), (0, 50), (50, 0)], ids=["q-q", "ad-q", "0-q", "q-0"]
)
def test_lbl_04_qinq(net: Net, version: int, tags: tuple[link.Tag, ...]) -> None:
    attack = from_red(net, version, tags=tags)
    if tags == (50, 60):  # the others have no device that could take them in
        with Switch(net).off(*OPEN), vlan_devices("ce-red-1", 50, 60):
            assert arrives(net, attack)
    held(net, attack)


@both
@pytest.mark.parametrize("receiver", [LAN_PE, LAN_MEMBER], ids=["bridge", "member"])
@pytest.mark.parametrize("tags", [(), (0,)], ids=["untagged", "vid0"])
def test_lbl_05_bridged_port(net: Net, version: int, receiver: Port, tags: tuple[int, ...]) -> None:
    frames = spoofed(LAN, receiver.mac, [net.label("blue")], version, tags=tags)
    attack = Attack(LAN, frames, BLUE.ce, RED, "br-red")
    control(net, attack, OPEN)
    held(net, attack)


@both
def test_lbl_06_multicast_ethertype(net: Net, version: int) -> None:
    """0x8848, the multicast codepoint of RFC 5332: the kernel knows no handler for it."""
    control(net, from_red(net, version), OPEN)
    attack = from_red(net, version, kind=link.MPLS_MULTICAST)
    held(net, attack)
    with Switch(net).off(*OPEN):
        mark = token()
        with BLUE.ce.tap() as victim:
            RED.ce.send(*attack.frames(mark))
            net.sentinel(RED)
            assert victim.count(mark) == 0


@pytest.mark.parametrize("tags", [(), (0,)], ids=["untagged", "vid0"])
def test_lbl_07_explicit_null_from_a_ce_to_p(net: Net, tags: tuple[int, ...]) -> None:
    frames = spoofed(RED.ce, RED.pe.mac, [0], tags=tags, target=P_LOOPBACK)
    attack = Attack(RED.ce, frames, net.p, RED, "ce-red-1")
    # What explicit null delivers comes from ``lo``, which is no port to forward from.
    control(net, attack, [*OPEN, Guard.UNKNOWN_PORT])
    held(net, attack)


@both
def test_lbl_08_explicit_null_over_a_label(net: Net, version: int) -> None:
    """Label 0 with a label under it would be looked up a second time where ``lo`` takes labels."""
    frames = spoofed(RED.ce, RED.pe.mac, [0, net.label("blue")], version)
    attack = Attack(RED.ce, frames, BLUE.ce, RED, "ce-red-1")
    control(net, attack, OPEN)
    held(net, attack)


def test_lbl_13_every_label_there_is(net: Net) -> None:
    """All 2^20 labels from a CE in under a minute: none leads anywhere."""
    mark = token()
    before = net.dropped("ce-red-1", "LBL-6")
    head = link.ethernet(RED.pe.mac, RED.ce.mac, link.MPLS, b"")
    rest = inner(4, mark)
    started = time.monotonic()
    with watching(BLUE.ce, net.p) as (victim, core):
        RED.ce.flood(
            head + (label << 12 | 0x140).to_bytes(4, "big") + rest for label in range(1 << 20)
        )
        took = time.monotonic() - started
        net.sentinel(RED)
        assert victim.count(mark) == 0
        assert core.count(mark) == 0
    assert until(lambda: net.dropped("ce-red-1", "LBL-6") >= before + (1 << 20), 5.0)
    assert took < 60


def test_lbl_14_tunnels(net: Net) -> None:
    """Labels inside GRE, IP and UDP (RFC 4023, RFC 7510): the PE ends no tunnel of a CE."""
    label = net.label("blue")

    def tunnelled(mark: bytes) -> list[bytes]:
        stack = link.labelled([label], inner(4, mark))
        source, target = plan.ce(1, 4), plan.gateway(1, 4)
        gre = ip.packet(source, target, ip.GRE, b"\0\0\x88\x47" + stack)
        plain = ip.packet(source, target, 137, stack)
        udp = [ip.udp(source, target, port, stack) for port in (6635, 4789, 3799)]
        return [RED.frame(packet) for packet in (gre, plain, *udp)]

    attack = Attack(RED.ce, tunnelled, BLUE.ce, RED)
    with Switch(net).off(*OPEN, Guard.INPUT):
        run_in("pe1", "ip", "link", "add", "x-gre", "type", "gre", "local", plan.gateway(1, 4),
               "remote", plan.ce(1, 4), "dev", "ce-red-1")  # fmt: skip
        try:
            run_in("pe1", "ip", "link", "set", "x-gre", "up")
            sysctl("pe1", "mpls/conf/x-gre/input", "1")
            assert arrives(net, attack), "control: a tunnel device that takes labels"
        finally:
            run_in("pe1", "ip", "link", "del", "x-gre")
    before = net.dropped()
    held(net, attack)
    assert net.dropped() >= before + COPIES * len(tunnelled(b""))


def test_lbl_15_a_port_plugged_in_while_the_node_is_dead(net: Net) -> None:
    """A new port takes no labels by itself, and nothing from it is let through."""
    plug, label = Port("plug", "hot0"), net.label("blue")
    with Switch(net).stopped():
        run_in("pe1", "ip", "link", "add", "hot0", "type", "veth", "peer", "name", "hot0",
               "netns", "plug")  # fmt: skip
        try:
            run_in("pe1", "ip", "link", "set", "hot0", "up")
            run_in("plug", "ip", "link", "set", "hot0", "up")
            frames = spoofed(plug, Port("pe1", "hot0").mac, [label])
            mark = token()
            with BLUE.ce.tap() as victim:
                plug.send(*frames(mark))
                net.sentinel(RED)
                assert victim.count(mark) == 0
                sysctl("pe1", "mpls/conf/hot0/input", "1")
                plug.send(*frames(mark))
                assert victim.wait(mark, 3.0) == 1, "control: it would arrive if it took labels"
        finally:
            run_in("pe1", "ip", "link", "del", "hot0", check=False)


@both
@pytest.mark.parametrize("target", ["aa", "ff"], ids=["unicast", "broadcast"])
def test_lbl_16_shared_lan(net: Net, version: int, target: str) -> None:
    """Drop labelled packets on a LAN that several routers share (RFC 4381 section 6)."""
    receiver = LAN_PE.mac if target == "aa" else link.BROADCAST
    frames = spoofed(LAN, receiver, [net.label("blue")], version)
    attack = Attack(LAN, frames, BLUE.ce, RED, "br-red")
    if target == "aa":
        control(net, attack, OPEN)
    held(net, attack)


def test_lbl_17_a_setting_that_drifts(net: Net) -> None:
    """Enable label input on a CE port: the filter drops them, and the node repairs the setting."""
    attack = from_red(net)
    sysctl("pe1", "mpls/conf/ce-red-1/input", "1")
    held(net, attack)
    assert until(lambda: sysctl("pe1", "mpls/conf/ce-red-1/input") == "0", 15.0, every=0.2)
    held(net, attack)
