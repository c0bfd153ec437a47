"""A start under traffic: 200 SYN/s of an allowed flow and 200 of a forbidden one, from a workload
to one in a group in mode `full`, while `pe run` starts over what a killed node left in the kernel,
and from cold. No forbidden one passes; when the start has ended, each allowed one does.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from bulkhead.client import connect

from labs.lab import RunningLab, running
from labs.packets import ETH_IP, ethernet, mac
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node
from labs.waiting import until
from pe.netlink.ownership import BLACKHOLE
from tests.lab import policy_node as node
from tests.lab.agents import inside, run
from tests.lab.hosts import host
from tests.lab.policy_node import RawPort

pytestmark = pytest.mark.lab

WEB, DB = ip_address("10.1.0.11"), ip_address("10.1.0.21")
ALLOWED, DENIED = 5000, 6000
SYNS_PER_SECOND = 200
POLICY = f"""
modes: {{default: full}}
rules: [allow tier=web to tier=db on tcp/{ALLOWED}]
"""
CONFIG = """\
name: pe1
router-id: 10.255.0.1
asn: 65000
loopback: 10.255.0.1
core-ports: {core0: {}}
vrfs:
  red:
    rd: 65000:1
    route-target: 65000:1
    limits: {workloads: 10}
    ports:
      pe1-a: {addresses: [192.168.1.1/30], source-prefixes: any}
      pe1-b: {addresses: [192.168.2.1/30], source-prefixes: any}
"""
LAB = Lab(
    "syns",
    "one PE that starts under traffic",
    nodes=(
        Node("pe1", "pe", ("10.255.0.1/32",), programs=(pe(CONFIG),)),
        Node("core"),
        host("a", 1, WEB),
        host("b", 2, DB),
    ),
    links=(
        Link(End("pe1", "core0", ("10.0.1.1/30",)), End("core", "pe1", ("10.0.1.2/30",))),
        Link(End("a", "eth0", ("192.168.1.2/30",)), End("pe1", "pe1-a", up=False)),
        Link(End("b", "eth0", ("192.168.2.2/30",)), End("pe1", "pe1-b", up=False)),
    ),
)


class Syns:
    """Sends SYNs of both kinds at a steady pace, each a flow of its own with a number."""

    def __init__(self, kinds: tuple[int, ...] = (ALLOWED, DENIED)) -> None:
        self.number, self.sent = 0, {kind: set[int]() for kind in kinds}
        self.arrived: set[int] = set()
        self._to = mac(inside("pe1", "cat /sys/class/net/pe1-a/address").strip())
        self._from = mac(inside("a", "cat /sys/class/net/eth0/address").strip())
        self._out, self._in = RawPort("a", "eth0"), RawPort("b", "eth0")
        self._end = threading.Event()
        self._threads = [threading.Thread(target=f) for f in (self._send, self._listen)]

    def _send(self) -> None:
        while not self._end.wait(1 / SYNS_PER_SECOND):
            frames = []
            for kind, numbers in self.sent.items():
                number = self.number + 1
                numbers.add(number)
                sport = 10_000 + number % 50_000
                packet = node.packet(WEB, DB, 6, sport=sport, dport=kind, number=number)
                frames.append(ethernet(self._to, self._from, ETH_IP, packet))
                self.number = number
            with contextlib.suppress(OSError):  # ENOBUFS: the port's other end is down
                self._out.send(frames)

    def _listen(self) -> None:
        while not self._end.is_set():
            self._take(0.1)

    def _take(self, quiet: float) -> None:
        self.arrived |= {int.from_bytes(number, "big") for number in self._in.received(quiet)}

    def __enter__(self) -> Syns:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._take(0.5)
        for port in (self._out, self._in):
            port.close()

    def run(self, seconds: float) -> None:
        """Go on until so many have been sent."""
        wanted = self.number + round(seconds * SYNS_PER_SECOND * len(self.sent))
        assert until(lambda: self.number >= wanted, 10 * seconds + 10)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running(LAB) as up:
        inside("pe1", "sysctl -qw net.netfilter.nf_conntrack_checksum=0")
        yield up


def starts(lab: RunningLab) -> int:
    return lab.log("pe1", "pe").count("event=in_sync")


@pytest.fixture(scope="module")
def policed(lab: RunningLab) -> RunningLab:
    """The workloads and their policy; before that everything passes."""
    assert until(lambda: starts(lab) == 1, 60.0), lab.log("pe1", "pe")[-2000:]
    with connect(str(lab.dir("pe1") / "run" / "api.sock"), timeout=60.0) as opened:
        opened.segment.attach("web", "red", "pe1-a", [str(WEB)], {"tier": "web"})
        opened.segment.attach("db", "red", "pe1-b", [str(DB)], {"tier": "db"})
        with Syns() as control:
            control.run(3.0)
        for kind, numbers in control.sent.items():
            assert len(numbers & control.arrived) > len(numbers) / 2, f"{kind}: the control"
        digest = opened.segment.stage(POLICY, reason="test").revision.digest
        opened.segment.promote(digest, "test")
    return lab


def judge(syns: Syns, *, since: int) -> None:
    """None that is denied arrived; each that is allowed did, from that number on."""
    assert len(syns.sent[DENIED]) > SYNS_PER_SECOND, "the control"
    wrong = syns.sent[DENIED] & syns.arrived
    assert not wrong, f"{len(wrong)} forbidden SYNs passed"
    allowed = {number for number in syns.sent[ALLOWED] if number > since}
    assert len(allowed) > SYNS_PER_SECOND, "the control"
    lost = allowed - syns.arrived
    at = f"the first {min(lost, default=0) - since} of {syns.number - since} after it"
    assert not lost, f"{len(lost)} of {len(allowed)} allowed SYNs were refused, {at}"


def start(lab: RunningLab, syns: Syns) -> int:
    """Start the node; returns the number of the SYN at which the start had ended."""
    before = starts(lab)
    lab.start("pe1", lab.program("pe1", "pe"), wait=False)
    assert until(lambda: starts(lab) > before, 90.0, every=0.01), lab.log("pe1", "pe")[-2000:]
    return syns.number


@pytest.mark.parametrize("moment", [0.0, 0.7, 1.9])
def test_a_start_over_what_a_killed_node_left_refuses_and_admits_nothing(
    policed: RunningLab, moment: float
) -> None:
    """The kernel goes on: allowed ones pass all the time. ``moment``: of a second kill, in seconds
    after a start began; 0: none."""
    with Syns() as syns:
        syns.run(1.0)
        policed.stop("pe1", "pe", signal.SIGKILL)
        syns.run(1.0)
        if moment:
            policed.start("pe1", policed.program("pe1", "pe"), wait=False)
            syns.run(moment)
            policed.stop("pe1", "pe", signal.SIGKILL)
        start(policed, syns)
        syns.run(2.0)
    judge(syns, since=0)


def cold() -> None:
    """The machine as after a boot: no guards, no policy, no VRF, no forwarding, its ports up."""
    inside("pe1", "nft flush ruleset")
    for name in ("red", BLACKHOLE):
        run(f"ip -n pe1 link del {name}", check=False)
    inside("pe1", "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0")
    for port in ("pe1-a", "pe1-b"):
        run(f"ip -n pe1 link set {port} nomaster up")


@pytest.mark.parametrize("attempt", range(3))
def test_a_start_from_cold_admits_nothing_and_refuses_nothing_when_it_has_ended(
    policed: RunningLab, attempt: int
) -> None:
    del attempt
    policed.stop("pe1", "pe", signal.SIGKILL)
    cold()
    with Syns() as syns:
        syns.run(0.5)
        ended = start(policed, syns)
        syns.run(2.0)
    judge(syns, since=ended)
