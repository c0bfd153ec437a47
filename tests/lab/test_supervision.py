"""A real node whose parts raise, under traffic: journal, resync, systemd, and its end.

The node is ``pe run`` with faults put into its code (``faulty_pe``), two VRFs with the same
addresses, and a notification socket as systemd opens it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulkhead.client import connect
from grpc_health.v1 import health_pb2, health_pb2_grpc

from labs.lab import RunningLab, running
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node, Program
from labs.waiting import until

pytestmark = pytest.mark.lab

VRFS = ("red", "blue")
WATCHDOG = 8.0
LATER = "10.7.0.0/16"
TOUCHED = "10.8.0.0/16"
"""A route without traffic."""


def config(*, later: bool = False) -> str:
    text = """\
name: pe1
router-id: 10.255.0.1
asn: 65000
loopback: 10.255.0.1
core-ports: {core0: {}}
vrfs:
"""
    for number, vrf in enumerate(VRFS, 1):
        text += f"""\
  {vrf}:
    rd: 65000:{number}
    route-target: 65000:{number}
    ports:
      {vrf}-a: {{addresses: [192.168.1.1/30], source-prefixes: any}}
      {vrf}-b: {{addresses: [192.168.2.1/30], source-prefixes: any}}
    static-routes:
      - {{prefix: 10.9.0.0/16, via: 192.168.2.2}}
      - {{prefix: {TOUCHED}, via: 192.168.2.2}}
"""
        if later and vrf == "red":
            text += f"      - {{prefix: {LATER}, via: 192.168.2.2}}\n"
    return text


def program() -> Program:
    stock = pe(config())
    words = ("-m", "tests.lab.faulty_pe", "{dir}", "run", "{dir}/pe.yaml")
    path = os.pathsep.join(sys.path)
    notify = {"NOTIFY_SOCKET": "{dir}/notify", "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
    return Program(
        "pe", (sys.executable, *words), files=stock.files, ready=stock.ready,
        ready_seconds=stock.ready_seconds, env={**stock.env, "PYTHONPATH": path, **notify},
    )  # fmt: skip


def host(vrf: str, end: str, network: int) -> Node:
    gateway = ("ip", "route", "add", "default", "via", f"192.168.{network}.1")
    address = ("10.9.0.1/32",) if end == "b" else ()
    return Node(f"{vrf}-{end}", "host", address, setup=(gateway,))


def cable(vrf: str, end: str, network: int) -> Link:
    there = End(f"{vrf}-{end}", "eth0", (f"192.168.{network}.2/30",))
    return Link(there, End("pe1", f"{vrf}-{end}", up=False))


ENDS = (("a", 1), ("b", 2))
LAB = Lab(
    "supervision",
    "one PE whose parts raise",
    nodes=(
        Node("pe1", "pe", ("10.255.0.1/32",)),
        Node("core"),
        *(host(vrf, *end) for vrf in VRFS for end in ENDS),
    ),
    links=(
        Link(End("pe1", "core0", ("10.0.1.1/30",)), End("core", "pe1", ("10.0.1.2/30",))),
        *(cable(vrf, *end) for vrf in VRFS for end in ENDS),
    ),
)


class Systemd:
    """The datagrams of the node, with the time of each."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.found: list[str] = []

    def has(self, text: str, count: int = 1) -> bool:
        """True once so many datagrams with this text have come."""
        try:
            while True:
                self.found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            pass
        return sum(text in each for each in self.found) >= count

    def forget(self) -> None:
        self.has("")
        self.found.clear()


class Bench:
    def __init__(self, lab: RunningLab) -> None:
        self.lab, self.folder = lab, lab.dir("pe1")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.systemd = Systemd(self.folder / "notify")

    def start(self) -> None:
        self.systemd.forget()
        self.lab.start("pe1", program())
        assert until(lambda: self.systemd.has("READY=1"), 90.0), self.log()[-2000:]

    def log(self) -> str:
        return self.lab.log("pe1", "pe")

    def fault(self, name: str) -> None:
        (self.folder / "fault").write_text(name)

    def mended(self) -> None:
        (self.folder / "fault").unlink(missing_ok=True)

    def health(self, service: str = "") -> str:
        with connect(str(self.folder / "run" / "api.sock"), timeout=10.0) as client:
            stub = health_pb2_grpc.HealthStub(client.channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def in_sync(self) -> bool:
        with connect(str(self.folder / "run" / "api.sock"), timeout=10.0) as client:
            return bool(client.status().in_sync)

    def routes(self, vrf: str) -> str:
        return self.lab.run("pe1", "ip", "route", "show", "vrf", vrf).stdout

    def ping(self, vrf: str) -> subprocess.Popen[str]:
        """Ten packets a second through the VRF's static route, until it is ended."""
        words = ("ping", "-n", "-q", "-i", "0.1", "-W", "1", "10.9.0.1")
        return self.lab.popen(f"{vrf}-a", *words)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with running(LAB) as lab:
        made = Bench(lab)
        made.start()
        yield made


@pytest.fixture
def traffic(bench: Bench) -> Iterator[None]:
    """Packets in both VRFs while a test runs; none of them may be lost."""
    for vrf in VRFS:
        assert until(lambda vrf=vrf: TOUCHED in bench.routes(vrf), 30.0)  # type: ignore[misc]
        bench.lab.run(f"{vrf}-a", "ping", "-n", "-c1", "-w10", "10.9.0.1")  # neighbours are known
    pings = [bench.ping(vrf) for vrf in VRFS]
    time.sleep(1.0)
    yield
    for ping in pings:
        ping.send_signal(2)
        said = ping.communicate(timeout=10)[0]
        assert " 0% packet loss" in said, said


def test_ready_comes_when_the_ports_are_open(bench: Bench) -> None:
    assert any("STATUS=In sync: 2 VRFs" in each or "READY=1" in each
               for each in bench.systemd.found)  # fmt: skip
    assert bench.health() == bench.health("router") == bench.health("dataplane") == "SERVING"
    assert until(bench.in_sync, 10.0)


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("fault", ["once-turn", "once-events"])
def test_a_data_plane_that_raises_resyncs_and_goes_on(bench: Bench, fault: str) -> None:
    before = bench.log().count("event=part_failed")
    bench.systemd.forget()
    bench.fault(fault)
    # Another hand takes a route away: the notification of it goes with the fault.
    bench.lab.run("pe1", "ip", "route", "del", "vrf", "blue", TOUCHED)
    assert until(lambda: bench.log().count("event=part_failed") > before, 10.0)
    line = [each for each in bench.log().splitlines() if "event=part_failed" in each][-1]
    assert "part=dataplane" in line
    assert f"injected into {fault.removeprefix('once-')}" in line
    assert until(lambda: TOUCHED in bench.routes("blue"), 10.0)
    assert until(bench.in_sync, 10.0)
    assert bench.health() == "SERVING"
    # The part works: it takes a change over.
    (bench.folder / "pe.yaml").write_text(_file(bench, later=True))
    with connect(str(bench.folder / "run" / "api.sock"), timeout=10.0) as client:
        client.reload()
    assert until(lambda: LATER in bench.routes("red"), 10.0)
    (bench.folder / "pe.yaml").write_text(_file(bench))
    with connect(str(bench.folder / "run" / "api.sock"), timeout=10.0) as client:
        client.reload()
    assert until(lambda: LATER not in bench.routes("red"), 10.0)
    assert until(lambda: bench.systemd.has("RELOADING=1", 2), 5.0)
    assert until(lambda: bench.systemd.has("WATCHDOG=1", 2), 2 * WATCHDOG)


def _file(bench: Bench, *, later: bool = False) -> str:
    folders = "run-dir: {dir}/run\nstate-dir: {dir}/state\n"
    return bench.lab.expand("pe1", folders) + config(later=later)


@pytest.mark.usefixtures("traffic")
def test_while_it_fails_health_says_so_and_the_watchdog_starves(bench: Bench) -> None:
    bench.fault("turn")
    try:
        assert until(lambda: bench.health("dataplane") == "NOT_SERVING", 10.0)
        assert bench.health() == "NOT_SERVING"
        assert bench.health("router") == "SERVING"
        assert not bench.in_sync()
        assert until(lambda: bench.systemd.has("STATUS=Not working: dataplane"), 5.0)
        bench.systemd.forget()
        time.sleep(WATCHDOG / 2)
        assert not bench.systemd.has("WATCHDOG=1")
    finally:
        bench.mended()
    assert until(lambda: bench.health() == "SERVING", 15.0)
    assert until(bench.in_sync, 10.0)
    assert until(lambda: bench.systemd.has("WATCHDOG=1"), 2 * WATCHDOG)


@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize(("fault", "part"), [("turn", "dataplane"), ("decision", "router")])
def test_a_part_that_fails_for_good_ends_the_node(bench: Bench, fault: str, part: str) -> None:
    """The kernel goes on meanwhile, and the next start finds nothing to complain of."""
    bench.fault(fault)
    try:
        assert until(lambda: bench.lab.pid("pe1", "pe") is None, 90.0), bench.log()[-3000:]
    finally:
        bench.mended()
    tail = bench.log()[-4000:]
    assert f"event=node_failed part={part}" in tail
    assert f"{part} failed for good: KeyError" in tail, "what pe run says at its end"
    bench.start()
    assert until(lambda: bench.health() == "SERVING", 30.0)


def test_a_stop_is_announced(bench: Bench) -> None:
    bench.systemd.forget()
    before = bench.log().count("event=node_failed")
    bench.lab.stop("pe1", "pe")
    assert bench.systemd.has("STOPPING=1")
    assert bench.log().count("event=node_failed") == before
