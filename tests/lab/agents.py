"""Drives agents in namespaces, and builds the small worlds that they act in."""

from __future__ import annotations

import contextlib
import os
import pickle
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_interface
from typing import Any

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    LabelBinding,
    NextHop,
    NextHopKey,
    NextHopPath,
    Node,
    Session,
    VrfDevice,
)
from controlplane.model.label import Label
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi, parse_prefix
from tests.lab.agent_process import LENGTH


class AgentProcess:
    """One agent in one namespace; calls are synchronous."""

    MODULE = "tests.lab.agent_process"

    def __init__(self, namespace: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", self.MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.call("create", options)
        self.call("start")

    def call(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        data = pickle.dumps((method, arguments))
        self._process.stdin.write(LENGTH.pack(len(data)) + data)
        self._process.stdin.flush()
        size = LENGTH.unpack(self._process.stdout.read(LENGTH.size))[0]
        answer = pickle.loads(self._process.stdout.read(size))  # noqa: S301 - our own
        if isinstance(answer, Exception):
            raise answer
        return answer

    def apply(self, delta: Delta) -> None:
        """Submit and wait until it is in the kernel."""
        self.call("submit", delta)
        self.call("settled")

    def counters(self) -> dict[str, int]:
        return {view.name: view.packets for view in self.call("guards")}

    def kill(self) -> None:
        self._process.kill()
        self._finish()

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin
            self._process.stdin.close()
        self._process.wait(10)
        self._finish()

    def _finish(self) -> None:
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class RouterProcess(AgentProcess):
    """An agent with a router above it."""

    MODULE = "tests.lab.router_process"


def run(command: str, *, check: bool = True, timeout: float = 60) -> str:
    """Run a command; its output, stderr included."""
    done = subprocess.run(
        shlex.split(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}"
    return done.stdout


def inside(namespace: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
    """The same in a namespace."""
    return run(f"ip netns exec {namespace} {command}", check=check, timeout=timeout)


def reaches(namespace: str, address: str, count: int = 2, *options: str) -> bool:
    """True if every ping is answered."""
    words = " ".join(options)
    out = inside(namespace, f"ping -n -q -c {count} -i 0.05 -W 1 {words} {address}", check=False)
    return f" {count} received" in out


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def wire(a: str, a_port: str, b: str, b_port: str) -> None:
    run(f"ip link add {a_port} netns {a} type veth peer name {b_port} netns {b}")


@contextlib.contextmanager
def namespaces(*names: str) -> Iterator[None]:
    for name in names:
        run(f"ip netns add {name}")
        run(f"ip -n {name} link set lo up")
    try:
        yield
    finally:
        for name in names:
            run(f"ip netns delete {name}", check=False)


# The founding topology, built by hand: two PEs, a P between them, a red and a blue CE at each,
# the CEs with the same addresses in both VPNs.
PES = ("pe1", "pe2")
VRFS = {"red": 1001, "blue": 1002}
CORE = {"pe1": "10.0.1", "pe2": "10.0.2"}
LOOPBACK = {"pe1": "10.255.0.1", "pe2": "10.255.0.2"}
TRANSPORT = {"pe1": 17, "pe2": 18}
VPN_LABEL = {
    ("pe1", "red"): 16001,
    ("pe1", "blue"): 16002,
    ("pe2", "red"): 16101,
    ("pe2", "blue"): 16102,
}


def ce_name(pe: str, vrf: str) -> str:
    return f"ce-{vrf}-{pe[2]}"


def site(pe: str) -> tuple[str, str]:
    """The IPv4 and IPv6 prefixes of the sites at a PE, the same in both VPNs."""
    n = pe[2]
    return f"10.{n}.0.0/16", f"2001:db8:{n}::/48"


def host(pe: str, version: int) -> str:
    n = pe[2]
    return f"10.{n}.1.1" if version == 4 else f"2001:db8:{n}:1::1"


@contextlib.contextmanager
def founding_world() -> Iterator[None]:
    ces = [ce_name(pe, vrf) for pe in PES for vrf in VRFS]
    with namespaces("p", *PES, *ces):
        inside("p", "sysctl -qw net.mpls.platform_labels=1000 net.ipv4.ip_forward=1")
        for pe in PES:
            _core_link(pe)
            for vrf in VRFS:
                _ce(pe, vrf)
        for pe in PES:
            _core_routes(pe)
        yield


def _core_link(pe: str) -> None:
    net, port = CORE[pe], f"p-{pe}"
    wire(pe, "core0", "p", port)
    run(f"ip -n {pe} addr add {LOOPBACK[pe]}/32 dev lo")
    run(f"ip -n {pe} addr add {net}.1/24 dev core0")
    run(f"ip -n {pe} -6 addr add fc00:{pe[2]}::1/64 dev core0 nodad")
    run(f"ip -n {pe} link set core0 up")
    run(f"ip -n p addr add {net}.2/24 dev {port}")
    run(f"ip -n p -6 addr add fc00:{pe[2]}::2/64 dev {port} nodad")
    run(f"ip -n p link set {port} up")
    inside("p", f"sysctl -qw net.mpls.conf.{port}.input=1")


def _core_routes(pe: str) -> None:
    """Static label switched paths, both ways, with the last hop popping at P."""
    other = "pe2" if pe == "pe1" else "pe1"
    via = f"{CORE[pe]}.2"
    label = TRANSPORT[other]
    run(f"ip -n {pe} route add {LOOPBACK[other]}/32 encap mpls {label} via {via}")
    run(f"ip -n p -f mpls route add {TRANSPORT[pe]} via inet {CORE[pe]}.1 dev p-{pe}")
    run(f"ip -n p route add {LOOPBACK[pe]}/32 via {CORE[pe]}.1")


def _ce(pe: str, vrf: str) -> None:
    ce, n = ce_name(pe, vrf), pe[2]
    wire(pe, f"{pe}-{vrf}", ce, "up0")
    inside(ce, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.up0.accept_dad=0")
    run(f"ip -n {ce} link set up0 up")
    run(f"ip -n {ce} addr add 192.168.{n}.2/24 dev up0")
    run(f"ip -n {ce} -6 addr add fd00:{n}::2/64 dev up0 nodad")
    run(f"ip -n {ce} addr add {host(pe, 4)}/16 dev lo")
    run(f"ip -n {ce} -6 addr add {host(pe, 6)}/48 dev lo nodad")
    run(f"ip -n {ce} route add default via 192.168.{n}.1 src {host(pe, 4)}")
    run(f"ip -n {ce} -6 route add default via fd00:{n}::1 src {host(pe, 6)}")


def ce_hop(pe: str, vrf: str, afi: Afi) -> NextHop:
    n = pe[2]
    address = ip_address(f"192.168.{n}.2" if afi is Afi.IPV4 else f"fd00:{n}::2")
    key = NextHopKey(afi, address, device=f"{pe}-{vrf}")
    return NextHop(key, (NextHopPath(address, f"{pe}-{vrf}"),))


def remote_hop(pe: str, vrf: str, afi: Afi) -> NextHop:
    other = "pe2" if pe == "pe1" else "pe1"
    label = VPN_LABEL[other, vrf]
    key = NextHopKey(afi, ip_address(LOOPBACK[other]), label=label)
    gateway = ip_address(f"{CORE[pe]}.2")
    return NextHop(key, (NextHopPath(gateway, "core0", (TRANSPORT[other], label)),))


def desired(pe: str, **changes: Any) -> Delta:
    """All of one PE of the founding world. ``changes`` go into every VrfDevice."""
    n = pe[2]
    delta = Delta(node=Node(pe, (ip_address(LOOPBACK[pe]),), 20000))
    delta.core_ports["core0"] = CorePort("core0")
    for zone, (vrf, table) in enumerate(VRFS.items(), 1):
        port = f"{pe}-{vrf}"
        delta.vrfs[vrf] = VrfDevice(vrf, table, **changes)
        delta.ce_ports[port] = CePort(
            port,
            vrf,
            zone,
            (ip_interface(f"192.168.{n}.1/24"), ip_interface(f"fd00:{n}::1/64")),
            None,
        )
        label = Label(VPN_LABEL[pe, vrf])
        delta.labels[label] = LabelBinding(label, vrf)
        other = "pe2" if pe == "pe1" else "pe1"
        for hop, prefixes in (
            (ce_hop, site(pe)),
            (remote_hop, site(other)),
        ):
            for afi, prefix in zip((Afi.IPV4, Afi.IPV6), prefixes, strict=True):
                next_hop = hop(pe, vrf, afi)
                delta.next_hops[next_hop.key] = next_hop
                delta.routes.setdefault(table, {})[parse_prefix(prefix)] = next_hop.key
    return delta


def session(pe: str, vrf: str, *, min_ttl: int = 255) -> Session:
    n = pe[2]
    peer = PeerId(vrf, ip_address(f"192.168.{n}.2"))
    return Session(peer, ip_address(f"192.168.{n}.1"), f"{pe}-{vrf}", min_ttl)


SHOOT = """
import socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind((sys.argv[1], 0))
for frame in sys.argv[2:]:
    raw.send(bytes.fromhex(frame))
"""


def shoot(namespace: str, port: str, *frames: bytes) -> None:
    """Put frames on a port as they are."""
    command = ["ip", "netns", "exec", namespace, sys.executable, "-I", "-S", "-c", SHOOT, port]
    subprocess.run([*command, *(frame.hex() for frame in frames)], check=True, timeout=30)


def mac(namespace: str, port: str) -> bytes:
    """The hardware address of a port."""
    text = inside(namespace, f"cat /sys/class/net/{port}/address").strip()
    return bytes.fromhex(text.replace(":", ""))


class Witness:
    """Counts the packets of one UDP port that reach a namespace's IP stack, on any device."""

    PORT = 7777

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        nft(
            namespace,
            "inet witness",
            "counter seen { } ; chain w { type filter hook prerouting priority -1000; "
            f"udp dport {self.PORT} counter name seen; }}",
        )

    def saw(self) -> bool:
        """True if any came; forgets them."""
        out = inside(self._namespace, "nft reset counter inet witness seen")
        return "packets 0 " not in out


def nft(namespace: str, table: str, body: str) -> None:
    """Load a table that is not the product's, in the place of what it held before."""
    text = f"add table {table}; delete table {table}; table {table} {{ {body} }}"
    subprocess.run(
        ["ip", "netns", "exec", namespace, "nft", "-f", "-"],
        input=text.replace(";", "\n").replace("}", "}\n"),
        text=True,
        check=True,
        timeout=30,
    )
