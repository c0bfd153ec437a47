"""FAIL-7: a machine that boots with its ports up lets no CE's packet into the core unlabelled.

P counts the packets of the red CE that arrive as plain IP, in any order in which the node
takes ports, tables, guards and forwarding in hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pe.netlink.ownership import BLACKHOLE
from tests.lab.agents import ce_name, founding_world, inside, run, until
from tests.lab.red_pe import red_node, red_pe
from tests.unit.controlplane.rig import port

CE = ce_name("pe1", "red")
ROUNDS = 5
DUAL = red_node(port("pe1-red", "red", "192.168.1.1/24", "fd00:1::1/64"))
FLOOD = """
import socket, time
four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
end = time.monotonic() + 60
while time.monotonic() < end:
    for sock, to in ((four, "10.0.1.2"), (six, "fc00:1::2")):
        try:
            sock.sendto(b"boot", (to, 9))
        except OSError:
            pass
    time.sleep(0.0005)
"""


@pytest.fixture(scope="module", autouse=True)
def _world() -> Iterator[None]:
    with founding_world():
        run("ip -n pe1 -6 route add fc00:2::/64 via fc00:1::2")
        inside("p", "nft add table inet watch")
        inside("p", "nft add chain inet watch in '{ type filter hook prerouting priority -400; }'")
        inside("p", "nft add rule inet watch in ip saddr { 10.1.0.0/16, 192.168.1.0/24 } counter")
        inside("p", "nft add rule inet watch in ip6 saddr { 2001:db8:1::/48, fd00:1::/64 } counter")
        yield


def leaked() -> int:
    """How many packets of the CE have reached P without a label."""
    listed = inside("p", "nft list chain inet watch in")
    return sum(map(int, re.findall(r"counter packets (\d+)", listed)))


@contextmanager
def flood() -> Iterator[None]:
    """Packets of the CE to the core, of both families, all the time."""
    words = ["ip", "netns", "exec", CE, sys.executable, "-c", FLOOD]
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def booted() -> None:
    """The machine as its network scripts leave it: the port is up and in no VRF."""
    inside("pe1", "nft flush ruleset")
    for name in ("red", BLACKHOLE):
        run(f"ip -n pe1 link del {name}", check=False)
    inside("pe1", "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
    run("ip -n pe1 link set pe1-red nomaster up")
    run("ip -n pe1 addr replace 192.168.1.1/24 dev pe1-red")
    run("ip -n pe1 -6 addr replace fd00:1::1/64 dev pe1-red nodad")


def test_fail_07_a_boot_under_traffic_lets_nothing_through() -> None:
    for number in range(ROUNDS):
        booted()
        before = leaked()
        with flood(), red_pe(DUAL) as pe:
            assert until(lambda: "master red" in run("ip -n pe1 link show pe1-red"))
            assert inside("pe1", "sysctl -n net.ipv4.ip_forward").strip() == "1"
            assert pe.call("failures") == ()
        assert leaked() == before, f"round {number}"


def test_fail_07_control_forwarding_alone_leads_to_the_core() -> None:
    booted()
    before = leaked()
    with flood():
        inside("pe1", "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        assert until(lambda: leaked() > before + 10)
    booted()
