"""A management network for pe1 in the attack lab: a VRF, a device beside it, and who sits there.

The API listens there with certificates made for it, and the metrics have their socket.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import grpc
from bulkhead.client import Node as Client

from labs.attack.inside import run_in, socket_in
from labs.attack.net import Net, ready
from tests.unit.api.certificates import SERVER, Authority, Pair

NOC = "noc"
IN_VRF, BESIDE = "172.31.0.1", "172.31.1.1"
PORT = 50051
ADMIN, OPERATOR = "spiffe://example.net/noc", "spiffe://example.net/desk"
RED = "red.example.net"
_doors = itertools.count()

WIRES = (
    f"ip netns add {NOC}",
    f"ip -n {NOC} link set lo up",
    f"ip link add mgmt0 netns pe1 type veth peer name eth0 netns {NOC}",
    f"ip link add mgmt1 netns pe1 type veth peer name eth1 netns {NOC}",
    "ip -n pe1 link add mgmt type vrf table 500",
    "ip -n pe1 link set mgmt up",
    "ip -n pe1 link set mgmt0 master mgmt",
    f"ip -n pe1 addr add {IN_VRF}/24 dev mgmt0",
    f"ip -n pe1 addr add {BESIDE}/24 dev mgmt1",
    "ip -n pe1 link set mgmt0 up",
    "ip -n pe1 link set mgmt1 up",
    f"ip -n {NOC} addr add 172.31.0.2/24 dev eth0",
    f"ip -n {NOC} addr add 172.31.1.2/24 dev eth1",
    f"ip -n {NOC} link set eth0 up",
    f"ip -n {NOC} link set eth1 up",
)
UNWIRE = (
    f"ip netns del {NOC}",
    "ip -n pe1 link del mgmt0",
    "ip -n pe1 link del mgmt1",
    "ip -n pe1 link del mgmt",
)


@dataclass
class Management:
    """The API of pe1 over TCP, and the authority that it believes."""

    net: Net
    folder: Path
    authority: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        self.put("ca.pem", self.authority.pem)
        self.put("crl.pem", self.authority.revoke())
        self.certify()

    def put(self, name: str, content: bytes) -> None:
        """Replace a file of the listener in one step."""
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(content)
        fresh.replace(self.folder / name)

    def certify(self) -> None:
        """A new certificate for the node itself."""
        pair = self.authority.issue("pe1", "localhost", IN_VRF, BESIDE, usage=SERVER)
        self.put("node.key", pair.key)
        self.put("node.pem", pair.certificate)

    def yaml(self) -> str:
        """What is added to pe1's configuration."""
        return f"""\
management-ports: [mgmt0, mgmt, mgmt1]
metrics-socket: {self.metrics}
api:
  tcp:
    address: {IN_VRF}
    port: {PORT}
    bind-device: mgmt
    certificate: {self.folder}/node.pem
    key: {self.folder}/node.key
    client-ca: {self.folder}/ca.pem
    client-crl: {self.folder}/crl.pem
    grants:
      - {{identity: "{ADMIN}", role: admin}}
      - {{identity: "{OPERATOR}", role: operator}}
      - {{identity: {RED}, role: policy-editor, vrfs: red}}
"""

    @property
    def metrics(self) -> Path:
        """Return the metrics' socket."""
        return self.net.lab.dir("pe1") / "run/metrics.sock"

    def client(self, pair: Pair | None, address: str = IN_VRF, timeout: float = 30.0) -> Client:
        """Connect from the NOC with this certificate. The connection ends with the client."""
        door = self.folder / f"door-{next(_doors)}"
        Doorway(door, address)
        authority = (self.folder / "ca.pem").read_bytes()
        own = (pair.key, pair.certificate) if pair else (None, None)
        credentials = grpc.ssl_channel_credentials(authority, *own)
        named = [("grpc.ssl_target_name_override", address)]
        return Client(grpc.secure_channel(f"unix:{door}", credentials, options=named), timeout)

    def answer(self, pair: Pair | None, address: str = IN_VRF) -> grpc.StatusCode | None:
        """How GetStatus ends on a new connection: None where it is answered."""
        with self.client(pair, address) as node:
            return refused(node.status)


class Doorway:
    """gRPC opens its sockets in threads of its own, which are in no node's namespace: it is given
    a Unix socket, and each connection to that is passed on from the NOC."""

    def __init__(self, path: Path, address: str) -> None:
        self._address = address
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            inner, _ = self._listener.accept()
            try:
                outer = socket_in(NOC)
                outer.settimeout(10)
                outer.connect((self._address, PORT))
                outer.settimeout(None)
            except OSError:
                inner.close()
                outer.close()
                continue
            for ends in ((inner, outer), (outer, inner)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _run(commands: tuple[str, ...], *, check: bool) -> None:
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}")


@contextlib.contextmanager
def managed(net: Net) -> Iterator[Management]:
    """pe1 is started with a management network, and without it again afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="management-"))
    desk = Management(net, folder)
    program = net.lab.program("pe1", "pe")
    net.lab.stop("pe1", "pe")
    try:
        _run(WIRES, check=True)
        text = program.files["pe.yaml"] + desk.yaml()
        net.lab.start("pe1", replace(program, files={"pe.yaml": text}))
        net.reconnect()
        ready(net)
        yield desk
    finally:
        net.lab.stop("pe1", "pe")
        _run(UNWIRE, check=False)
        net.lab.start("pe1", program)
        net.reconnect()
        ready(net)
        shutil.rmtree(folder)


def refused(call: Callable[[], object]) -> grpc.StatusCode | None:
    """How a call ends: None where it is answered."""
    try:
        call()
    except grpc.RpcError as error:
        return cast(grpc.Call, error).code()
    return None


def connects(node: str, address: str, port: int = PORT, seconds: float = 3.0) -> bool:
    """Whether a TCP connection from a node is taken. OSError of any kind is a no."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket_in(node, family) as tried:
        tried.settimeout(seconds)
        try:
            tried.connect((address, port))
        except OSError:
            return False
        return True


def children(pid: int | None, module: str = "") -> list[int]:
    """Return the processes that a node has started, those that run a module where one is named."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            words = status.with_name("cmdline").read_text().split("\0")
            if f"\nPPid:\t{pid}\n" in status.read_text() and (not module or module in words):
                found.append(int(status.parent.name))
    return found


@contextlib.contextmanager
def routed(node: str, prefix: str, *way: str) -> Iterator[None]:
    """A node has this route meanwhile."""
    run_in(node, "ip", "route", "replace", prefix, *way)
    try:
        yield
    finally:
        run_in(node, "ip", "route", "del", prefix, check=False)
