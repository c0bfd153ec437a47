"""A node with two VRFs under traffic, whose calls can be made to fail (``faulty_pe``)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from bulkhead.client import Node as Client
from bulkhead.client import connect
from grpc_health.v1 import health_pb2, health_pb2_grpc

from labs.lab import RunningLab
from labs.peers.pe import pe
from labs.topology import End, Lab, Link, Node, Program
from labs.waiting import until

VRFS = ("red", "blue")
WATCHDOG = 8.0
LATER = "10.7.0.0/16"
TOUCHED = "10.8.0.0/16"
"""A route without traffic."""


GREEN = """\
  green:
    rd: 65000:3
    route-target: 65000:3
    ports:
      green-a: {addresses: [192.168.1.1/30], source-prefixes: any}
    static-routes:
      - {prefix: 10.9.0.0/16, via: 192.168.1.2}
    neighbors:
      192.168.1.2: {asn: 65101, import: any, export: any}
"""


def config(*, later: bool = False, green: bool = False) -> str:
    """The node; ``later`` with a route behind a port of its own, ``green`` with a third VRF."""
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
      {vrf}-c: {{addresses: [192.168.3.1/30], source-prefixes: any}}
    static-routes:
      - {{prefix: 10.9.0.0/16, via: 192.168.2.2}}
      - {{prefix: {TOUCHED}, via: 192.168.2.2}}
"""
        if later and vrf == "red":
            text += f"      - {{prefix: {LATER}, via: 192.168.3.2}}\n"
    return text + GREEN if green else text


def program(counted: float) -> Program:
    """The node; failures of ``counted`` seconds are added up before it gives up (60 by default)."""
    stock = pe(config())
    words = ("-m", "tests.lab.faulty_pe", "{dir}", "run", "{dir}/pe.yaml")
    path = os.pathsep.join(sys.path)
    notify = {"NOTIFY_SOCKET": "{dir}/notify", "WATCHDOG_USEC": str(int(WATCHDOG * 1e6)),
              "FAULTS_COUNTED_SECONDS": str(counted)}  # fmt: skip
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


ENDS = (("a", 1), ("b", 2), ("c", 3))
"""Traffic goes from a to b; c has none."""
LAB = Lab(
    "supervision",
    "one PE whose parts raise",
    nodes=(
        Node("pe1", "pe", ("10.255.0.1/32",)),
        Node("core"),
        *(host(vrf, *end) for vrf in VRFS for end in ENDS),
        host("green", "a", 1),
    ),
    links=(
        Link(End("pe1", "core0", ("10.0.1.1/30",)), End("core", "pe1", ("10.0.1.2/30",))),
        *(cable(vrf, *end) for vrf in VRFS for end in ENDS),
        cable("green", "a", 1),
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

    def close(self) -> None:
        self._socket.close()


class Bench:
    def __init__(self, lab: RunningLab, counted: float = 60.0) -> None:
        self.lab, self.folder, self._counted = lab, lab.dir("pe1"), counted
        self.folder.mkdir(parents=True, exist_ok=True)
        self.systemd = Systemd(self.folder / "notify")

    def start(self) -> None:
        self.systemd.forget()
        self.lab.start("pe1", program(self._counted))
        assert until(lambda: self.systemd.has("READY=1"), 90.0), self.log()[-2000:]

    def log(self) -> str:
        return self.lab.log("pe1", "pe")

    def arm(self, call: str, error: str = "KeyError", times: int = 1) -> None:
        """Have the next calls raise, with 0 all of them until they are disarmed."""
        assert self._say(f"arm {call} {error} {times}") == "armed"

    def fired(self, call: str) -> int:
        """How often a call has raised since it was armed."""
        return int(self._say(f"fired {call}"))

    def disarm(self) -> None:
        """Let all calls through, if the node runs."""
        if self.lab.pid("pe1", "pe") is not None:
            self._say("disarm")

    def _say(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(10.0)
            talk.connect(str(self.folder / "faults.sock"))
            talk.sendall(f"{line}\n".encode())
            return talk.makefile().readline().strip()

    def reload(self, **wanted: bool) -> None:
        """Reload ``config`` of these; raises grpc.RpcError."""
        folders = self.lab.expand("pe1", "run-dir: {dir}/run\nstate-dir: {dir}/state\n")
        (self.folder / "pe.yaml").write_text(folders + config(**wanted))
        with self.client() as client:
            client.reload()

    def client(self) -> Client:
        """Connect to the node's API."""
        return connect(str(self.folder / "run" / "api.sock"), timeout=20.0)

    def health(self, service: str = "") -> str:
        with self.client() as client:
            stub = health_pb2_grpc.HealthStub(client.channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def in_sync(self) -> bool:
        with self.client() as client:
            return bool(client.status().in_sync)

    def routes(self, vrf: str) -> str:
        return self.lab.run("pe1", "ip", "route", "show", "vrf", vrf).stdout

    def ping(self, vrf: str) -> subprocess.Popen[str]:
        """Ten packets a second through the VRF's static route, until it is ended."""
        words = ("ping", "-n", "-q", "-i", "0.1", "-W", "1", "10.9.0.1")
        return self.lab.popen(f"{vrf}-a", *words)
