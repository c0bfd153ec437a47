"""FAIL-8: a CE port opens only behind a guard that is bound to that very device.

The red CE sends from addresses that are not its own while its link is deleted and made again, and
takes its name from another device. P counts what comes in under labels.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface

import pytest

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.events import RoutesReceived, SessionUp
from controlplane.model.intent import CePortIntent, PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, parse_prefix
from controlplane.model.rd import parse_rd
from tests.lab.agents import RouterProcess, ce_name, founding_world, inside, run, until
from tests.lab.red_pe import LOOPBACK, red_node, red_pe
from tests.unit.controlplane.rig import targets

CE = ce_name("pe1", "red")
ROUNDS = 60
OWN, SPOOFED = "192.168.1.2", "203.0.113.5"
SEND = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
sock.bind((sys.argv[1], 0))
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    try:
        sock.sendto(b"spoofed", ("10.2.1.1", 9))
    except OSError:
        pass
    time.sleep(0.0002)
"""


@contextmanager
def sending(source: str, seconds: float) -> Iterator[None]:
    words = ["ip", "netns", "exec", CE, sys.executable, "-c", SEND, source, str(seconds)]
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def labelled() -> int:
    """How many packets with labels P has received from pe1."""
    listed = inside("p", "nft list chain netdev watch in")
    return sum(map(int, re.findall(r"counter packets (\d+)", listed)))


@pytest.fixture
def pe() -> Iterator[RouterProcess]:
    """PE 1 with VRF red, whose port accepts the site's own sources, and a route to PE 2."""
    peer = PeerId("", ip_address("10.255.0.2"))
    port = CePortIntent(
        name="pe1-red", vrf="red", addresses=(ip_interface("192.168.1.1/24"),),
        sources=(parse_prefix("192.168.1.0/24"), parse_prefix("10.1.0.0/16")),
    )  # fmt: skip
    session = PeerIntent(
        peer=peer, asn=65000, local_as=65000, local_address=LOOPBACK, families=(Family.IPV4_VPN,)
    )
    said = Attributes(route_targets=targets("65000:1"), local_pref=100)
    route = Nlri(parse_prefix("10.2.0.0/16"), parse_rd("65000:2"), (16101,))
    with founding_world():
        inside("p", "nft add table netdev watch")
        inside("p", "nft add chain netdev watch in "
                    "'{ type filter hook ingress device p-pe1 priority 0; }'")  # fmt: skip
        inside("p", "nft add rule netdev watch in ether type 0x8847 counter")
        with red_pe(red_node(port, (session,))) as made:
            made.call("take", [
                SessionUp(peer=peer, families=frozenset({Family.IPV4_VPN})),
                RoutesReceived(peer, Family.IPV4_VPN, peer.address, said, [route]),
            ])  # fmt: skip
            made.call("settled")
            yield made


def made_again(name: str) -> None:
    """A link from the CE, up at its end, whose other end gets the port's name."""
    run(f"ip link add {name} netns pe1 type veth peer name up0 netns {CE}")
    if name != "pe1-red":
        run(f"ip -n pe1 link set {name} name pe1-red")
    run(f"ip -n {CE} link set up0 up")
    run(f"ip -n {CE} addr add {OWN}/24 dev up0")
    run(f"ip -n {CE} route replace default via 192.168.1.1")


def is_open() -> bool:
    shown = run("ip -n pe1 link show pe1-red", check=False)
    return "master red" in shown and "LOWER_UP" in shown


def test_fail_08_a_device_that_is_another_by_now_stays_closed(pe: RouterProcess) -> None:
    assert until(is_open)
    before = labelled()
    with sending(OWN, 30):
        assert until(lambda: labelled() > before + 5), "control: the site's own packets pass"
    before = labelled()
    with sending(SPOOFED, 300):
        for number in range(ROUNDS):
            run("ip -n pe1 link del pe1-red")
            made_again("pe1-red" if number % 2 else "other0")
            assert until(is_open), pe.call("failures")
            assert labelled() == before, f"round {number}: spoofed packets reached the core"
    with sending(OWN, 30):
        assert until(lambda: labelled() > before + 5), "control: it is open"
