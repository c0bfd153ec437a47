"""Test ISO: VPNs stay separate, even with equal addresses (RFC 4364, RFC 4381 2.1, 3.1)."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from labs.attack import ip, link, plan
from labs.attack.inside import run_in, socket_in, sysctl
from labs.attack.listen import connects, listener, server
from labs.attack.net import PROBE_PORT, Circuit, Net, circuit, watching
from labs.attack.port import Port, token
from labs.attack.spoof import spoofed
from labs.attack.switch import Switch
from labs.waiting import until
from pe.model.guards import Guard
from tests.attack.trial import Attack, arrives, control, held

RED, BLUE = circuit("red", 1), circuit("blue", 1)
SITES = (1, 2, 3)
TRUNK, TRUNK_PE = Port("trunk", "eth0"), Port("pe1", "trunk0")
both = pytest.mark.parametrize("version", [4, 6])


@both
@pytest.mark.parametrize(("origin", "target"), [(1, 2), (2, 1), (1, 3), (3, 2)])
def test_iso_01_equal_addresses(net: Net, version: int, origin: int, target: int) -> None:
    """Both VPNs ping the same address at once, each with its own token: each gets its own back."""
    ends = {vpn: (circuit(vpn, origin), circuit(vpn, target)) for vpn in ("red", "blue")}
    marks = {vpn: token() for vpn in ends}
    with contextlib.ExitStack() as stack:
        near = {v: stack.enter_context(a.ce.tap()) for v, (a, _) in ends.items()}
        far = {v: stack.enter_context(b.ce.tap()) for v, (_, b) in ends.items()}
        for vpn, (here, there) in ends.items():
            source, to = plan.lan(here.site, version), plan.lan(there.site, version)
            here.ce.send(here.frame(ip.echo(source, to, marks[vpn])))
        for vpn, other in (("red", "blue"), ("blue", "red")):
            assert near[vpn].wait(marks[vpn], 3.0) == 1, f"{vpn} got its answer"
            assert far[vpn].count(marks[vpn]) == 1
            assert near[other].count(marks[vpn]) == far[other].count(marks[vpn]) == 0


OUTSIDE = {
    "pe2": "10.255.0.2",
    "p": "10.255.0.100",
    "core-link-p": "10.0.1.2",
    "core-link-far": "10.0.2.1",
    "internet": "8.8.8.8",
    "blue-only": "10.5.0.1",
    "pe2-6": "2001:db8:ff::2",
    "p-6": "2001:db8:c1::2",
    "internet-6": "2001:4860:4860::8888",
    "blue-only-6": "2001:db8:5::1",
}


@pytest.mark.parametrize("target", OUTSIDE.values(), ids=OUTSIDE)
def test_iso_02_a_miss_is_unreachable(net: Net, target: str) -> None:
    """Send without a route in the VPN: the CE's own PE port answers unreachable, and no other port
    sees the packet."""
    version = ip.version(target)

    def frames(mark: bytes) -> list[bytes]:
        return [RED.frame(ip.udp(plan.lan(1, version), target, PROBE_PORT, mark))]

    attack = Attack(RED.ce, frames, net.p, RED)
    if target not in ("10.5.0.1", "2001:db8:5::1"):
        control(net, attack, [Guard.LAST_RESORT, Guard.WAYS_OUT])
    else:
        assert reaches_blue_site_5(net, version), "control: blue reaches it"
    mark = token()
    eyes = (RED.ce, net.p, BLUE.ce, circuit("blue", 3).ce, TRUNK, Port("internet", "eth0"))
    with watching(*eyes) as (own, *others):

        def refused() -> list[str]:
            RED.ce.send(*frames(mark))
            net.sentinel(RED)
            return [icmp_source(f) for f in own.frames() if mark in f]

        # ip_error() gives a host five refusals at once and then one a second.
        assert until(refused, 5.0, every=0.5)
        assert set(refused()) == {plan.gateway(1, version)}
        assert [tap.count(mark) for tap in others] == [0] * len(others)


def reaches_blue_site_5(net: Net, version: int) -> bool:
    def frames(mark: bytes) -> list[bytes]:
        source, target = plan.lan(1, version), plan.lan(5, version)
        return [BLUE.frame(ip.udp(source, target, PROBE_PORT, mark))]

    return arrives(net, Attack(BLUE.ce, frames, TRUNK, BLUE))


def icmp_source(frame: bytes) -> str:
    """Who sent an ICMP error."""
    if frame[12:14] == b"\x08\x00":
        return socket.inet_ntop(socket.AF_INET, frame[26:30])
    return socket.inet_ntop(socket.AF_INET6, frame[22:38])


OWN = {"loopback": "10.255.0.1", "core-link": "10.0.1.1",
       "loopback-6": "2001:db8:ff::1", "core-link-6": "2001:db8:c1::1"}  # fmt: skip


@pytest.mark.parametrize("target", OWN.values(), ids=OWN)
def test_iso_03_the_nodes_own_core_addresses(net: Net, target: str) -> None:
    """Local addresses are looked up in the VPN's table first (T2), and then denied as well."""
    version = ip.version(target)

    def answered() -> tuple[bool, bool]:
        """Whether a ping got as far as the PE's own sockets, and whether an answer came back."""
        mark = token()
        with RED.ce.tap() as tap, reaching(target) as delivered:
            RED.ce.send(RED.frame(ip.echo(plan.lan(1, version), target, mark)))
            net.sentinel(RED)
            reply = any(is_echo_reply(f) for f in tap.frames() if mark in f)
            return delivered(), reply

    with Switch(net).off(Guard.LOCAL_RULE, Guard.INPUT):
        assert answered() == (True, True), "control: local addresses come first"
    with Switch(net).off(Guard.INPUT):
        assert answered() == (False, False), "the rule alone holds"
    with Switch(net).off(Guard.LOCAL_RULE):
        assert not answered()[1], "the input guard alone holds"
    assert answered() == (False, False)


@contextlib.contextmanager
def reaching(target: str) -> Iterator[Callable[[], bool]]:
    """Yield a check: was a packet for an address of pe1 delivered (INPUT, before any guard)?"""
    field = "ip6" if ":" in target else "ip"
    run_in("pe1", "nft", "-f", "-", stdin=(
        "add table inet lab_policy\n"
        "add chain inet lab_policy came { type filter hook input priority -5; }\n"
        f"add rule inet lab_policy came {field} daddr {target} iifname != core0 counter\n"
    ))  # fmt: skip
    try:
        yield lambda: "packets 0" not in run_in("pe1", "nft", "list", "table", "inet", "lab_policy")
    finally:
        run_in("pe1", "nft", "delete", "table", "inet", "lab_policy")


def is_echo_reply(frame: bytes) -> bool:
    if frame[12:14] == b"\x08\x00":
        return frame[23] == ip.ICMP and frame[34] == 0
    return frame[20] == ip.ICMPV6 and frame[54] == 129


@pytest.mark.parametrize("version", [4, 6])
def test_iso_10_listeners_of_the_core(net: Net, version: int) -> None:
    """Connect from a VPN to a socket bound to any address in the default VRF: refused (TCP)."""
    anywhere, gate = ("::", plan.gateway(1, 6)) if version == 6 else ("0.0.0.0", plan.gateway(1, 4))
    with server("pe1", anywhere, 5555):
        with Switch(net).off(Guard.INPUT, Guard.SOCKETS):
            assert connects("ce-red-1", gate, 5555) == "open", "control"
        with Switch(net).off(Guard.INPUT):
            assert connects("ce-red-1", gate, 5555) == "refused"
        assert connects("ce-red-1", gate, 5555) == "silent"


@pytest.mark.parametrize("version", [4, 6])
def test_iso_10_datagram_and_raw_sockets(net: Net, version: int) -> None:
    anywhere, gate = ("::", plan.gateway(1, 6)) if version == 6 else ("0.0.0.0", plan.gateway(1, 4))

    def delivered(came: object, seconds: float) -> bool:
        mark = token()
        source = plan.lan(1, version)
        RED.ce.send(RED.frame(ip.udp(source, gate, PROBE_PORT, mark)))
        if not seconds:
            net.sentinel(RED)
        return until(lambda: came(mark), seconds)  # type: ignore[operator]

    with listener("pe1", anywhere) as came:
        with Switch(net).off(Guard.INPUT, Guard.SOCKETS):
            assert delivered(came, 3.0), "control"
        with Switch(net).off(Guard.INPUT):
            assert not delivered(came, 0)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket_in("pe1", family, socket.SOCK_RAW, 253) as raw:
        raw.setblocking(False)
        for guards, wanted in (((Guard.INPUT, Guard.SOCKETS), True), ((Guard.INPUT,), False)):
            mark = token()
            with Switch(net).off(*guards):
                packet = ip.packet(plan.lan(1, version), gate, 253, mark)
                RED.ce.send(RED.frame(packet))
                net.sentinel(RED)
                assert (mark in drain(raw)) is wanted


def drain(raw: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            said += raw.recv(65536)
    return said


HOPS = {"other": (20,), "own": (10,), "unknown": (30,), "double": (10, 20), "vid0-other": (0, 20)}


@both
@pytest.mark.parametrize("tags", HOPS.values(), ids=HOPS)
def test_iso_12_tags_on_an_untagged_port(net: Net, version: int, tags: tuple[int, ...]) -> None:
    """Send with any VLAN tag from a CE of red: no packet enters blue's VPN."""

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(plan.lan(5, version), plan.lan(3, version), PROBE_PORT, mark)
        return [link.ethernet(RED.pe.mac, RED.ce.mac, link.ethertype(packet), packet, tags)]

    attack = Attack(RED.ce, frames, circuit("blue", 3).ce, RED, "ce-red-1",
                    bystanders=(circuit("red", 3).ce,))  # fmt: skip
    if tags == (20,):
        with Switch(net).off(Guard.EDGE), in_blue("ce-red-1", 20):
            assert arrives(net, attack), "control: with a VLAN device of blue on the port"
    held(net, attack)


@contextlib.contextmanager
def in_blue(port: str, vid: int) -> Iterator[None]:
    name = f"x{vid}"
    known = ("inet", "bulkhead", "arrivals", f'{{ "{name}" : accept }}')
    run_in("pe1", "ip", "link", "add", "link", port, "name", name, "type", "vlan", "id", str(vid))
    try:
        run_in("pe1", "ip", "link", "set", name, "master", "blue")
        run_in("pe1", "ip", "link", "set", name, "up")
        run_in("pe1", "nft", "add", "element", *known)
        yield
    finally:
        run_in("pe1", "nft", "delete", "element", *known)
        run_in("pe1", "ip", "link", "del", name)


@pytest.mark.parametrize("target", ["10.255.0.100", "2001:db8:c1::2"], ids=["v4", "v6"])
@pytest.mark.parametrize("tags", [(), (0,), (30,), (30, 20)], ids=["untagged", "vid0", "unknown",
                                                                 "double"])  # fmt: skip
def test_iso_12_a_trunk_without_a_known_tag(net: Net, target: str, tags: tuple[int, ...]) -> None:
    """The trunk itself is in no VPN: what is not in one of its VLANs would be in the core."""
    version = ip.version(target)

    def frames(mark: bytes) -> list[bytes]:
        packet = ip.udp(plan.lan(4, version), target, PROBE_PORT, mark)
        return [link.ethernet(TRUNK_PE.mac, TRUNK.mac, link.ethertype(packet), packet, tags)]

    attack = Attack(TRUNK, frames, net.p, RED, "trunk0")
    if tags in ((), (0,)):
        control(net, attack, [Guard.EDGE, Guard.UNKNOWN_PORT])
    held(net, attack)


@both
def test_iso_12_each_vlan_is_its_own_vpn(net: Net, version: int) -> None:
    """On the trunk VLAN 10 reaches red's sites and never blue's, and the other way round."""
    for vid, vpn, other, site in ((10, "red", "blue", 4), (20, "blue", "red", 5)):

        def frames(mark: bytes, vid: int = vid, site: int = site) -> list[bytes]:
            packet = ip.udp(plan.lan(site, version), plan.lan(3, version), PROBE_PORT, mark)
            return [link.ethernet(TRUNK_PE.mac, TRUNK.mac, link.ethertype(packet), packet, (vid,))]

        mine, theirs = circuit(vpn, 3).ce, circuit(other, 3).ce
        assert arrives(net, Attack(TRUNK, frames, mine, RED))
        held_at_victim(net, Attack(TRUNK, frames, theirs, RED))


PATHS = {
    "ce-core": (RED, circuit("red", 2)),
    "core-ce": (circuit("red", 2), RED),
    "ce-ce": (circuit("red", 3), RED),
}


@both
@pytest.mark.parametrize("ends", PATHS.values(), ids=PATHS)
def test_iso_13_one_rule_on_every_path(
    net: Net, version: int, ends: tuple[Circuit, Circuit]
) -> None:
    """One rule in ``tenant`` holds from CE to core, from core to CE and between CEs (T3)."""
    origin, target = ends
    source, to = plan.lan(origin.site, version), plan.lan(target.site, version)

    def frames(port: int) -> object:
        return lambda mark: [origin.frame(ip.udp(source, to, port, mark))]

    with Switch(net).stopped():
        run_in("pe1", "nft", "insert", "rule", "inet", "bulkhead", "tenant",
               "udp", "dport", "4799", "counter", "drop")  # fmt: skip
        try:
            passing = Attack(origin.ce, frames(PROBE_PORT), target.ce, circuit("red", 3))  # type: ignore[arg-type]
            stopped = Attack(origin.ce, frames(4799), target.ce, circuit("red", 3))  # type: ignore[arg-type]
            assert arrives(net, passing), "control: other ports pass"
            held_at_victim(net, stopped)
        finally:
            listed = run_in("pe1", "nft", "-a", "list", "chain", "inet", "bulkhead", "tenant")
            handle = re.search(r"dport 4799.*# handle (\d+)", listed)
            assert handle
            counted = re.search(r"dport 4799 counter packets (\d+)", listed)
            run_in("pe1", "nft", "delete", "rule", "inet", "bulkhead", "tenant",
                   "handle", handle[1])  # fmt: skip
    assert counted
    assert int(counted[1]) == 5


def held_at_victim(net: Net, attack: Attack) -> None:
    mark = token()
    with attack.victim.tap() as tap:
        for _ in range(5):
            attack.origin.send(*attack.frames(mark))
        net.sentinel(attack.sentinel)
        assert tap.count(mark) == 0


def test_iso_13_remote_to_the_pe(net: Net) -> None:
    """The fourth path, from a remote site to the PE's own address, is INPUT's: denied there."""
    frames = spoofed(net.p, Port("pe1", "core0").mac, [net.label("red")], target="192.168.1.1")
    before, mark = net.dropped("red", "HIDE-7"), token()
    net.p.send(*frames(mark))
    assert until(lambda: net.dropped("red", "HIDE-7") == before + 1, 3.0)


def test_iso_01_one_table_a_vrf(net: Net) -> None:
    """One VRF, one table: the kernel refuses two VRFs with the same (strict mode)."""
    assert sysctl("pe1", "vrf/strict_mode") == "1"
    table = next(v.table for v in net.pe1.show_vrfs() if v.name == "red")
    said = run_in("pe1", "sh", "-c", f"ip link add x type vrf table {table} 2>&1; echo done")
    assert said.strip() != "done"
    run_in("pe1", "ip", "link", "del", "x", check=False)
