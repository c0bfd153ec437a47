"""One PE with two VRFs, two customers' hosts in each, and the core: its policy is evaluated here.

Hosts and the core send and receive raw frames, so that a test may use any address, protocol and
port.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from controlplane.model.desired import (
    CePort,
    CorePort,
    Delta,
    LabelBinding,
    NextHop,
    NextHopKey,
    NextHopPath,
    Node,
    VrfDevice,
)
from controlplane.model.label import Label
from controlplane.model.prefix import Afi, IPAddress, parse_prefix
from labs.namespaces import inside as entered
from labs.packets import ETH_IP, ETH_IPV6, ETH_MPLS, checksum, ethernet, mac, stack
from pe.netlink import codec as nl
from pe.nft.socket import NETLINK_NETFILTER
from tests.lab.agents import AgentProcess, inside, namespaces, run, wire

ZONES = {"red": 10, "blue": 20}
TABLES = {"red": 1010, "blue": 1020}
LABELS = {"red": 16010, "blue": 16020}
REMOTE_LABEL = 17000
HOSTS = {"a": "red", "b": "red", "c": "blue", "d": "blue"}
"""Namespace of a host -> its VRF; the second of a VRF is where its default route leads."""
SINK = {"red": "b", "blue": "d"}
SOURCE = {"red": "a", "blue": "c"}
MARK = b"probe"
FIN, SYN, RST, ACK = 1, 2, 4, 16
"""Flags of TCP (RFC 9293 section 3.1)."""
DEFAULTS = {Afi.IPV4: parse_prefix("0.0.0.0/0"), Afi.IPV6: parse_prefix("::/0")}


class NodeProcess(AgentProcess):
    """An agent with a keeper of verdict tables."""

    def __init__(self, namespace: str, **options: object) -> None:
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-m", "tests.lab.policy_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.call("create", options)
        self.call("start")

    def pause(self) -> None:
        """Let it do nothing, as if it were gone; the kernel goes on."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a pause."""
        self._process.send_signal(signal.SIGCONT)

    def segment(self, method: str, *arguments: object) -> object:
        """Call the keeper."""
        return self.call(f"segment.{method}", *arguments)


class RawPort:
    """A port of a namespace, for frames as they are."""

    def __init__(self, namespace: str, port: str) -> None:
        with entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((port, 0))
        self._socket.setblocking(False)

    def send(self, frames: Iterable[bytes]) -> None:
        self._socket.setblocking(True)
        for frame in frames:
            self._socket.send(frame)
        self._socket.setblocking(False)

    def received(self, quiet: float = 0.15) -> list[bytes]:
        """Return the numbers of received probes, after ``quiet`` seconds without a new one."""
        found: list[bytes] = []
        last = time.monotonic()
        while time.monotonic() - last < quiet:
            try:
                data, where = self._socket.recvfrom(2048)
            except BlockingIOError:
                time.sleep(0.01)
                continue
            if where[2] == socket.PACKET_OUTGOING:
                continue
            if (at := data.find(MARK)) >= 0:
                found.append(data[at + len(MARK) : at + len(MARK) + 4])
                last = time.monotonic()
        return found

    def close(self) -> None:
        self._socket.close()


@dataclass
class World:
    """Raw ports by namespace, and the addresses of the PE's ports."""

    ports: dict[str, RawPort] = field(default_factory=dict)
    macs: dict[str, bytes] = field(default_factory=dict)

    def from_host(self, name: str, packet: bytes) -> bytes:
        """The frame in which a host sends a packet to the PE."""
        return ethernet(self.macs[name], b"\x02" + bytes(5), _ethertype(packet), packet)

    def from_core(self, vrf: str, packet: bytes) -> bytes:
        """The frame in which the core sends a packet to a VRF."""
        return ethernet(
            self.macs["core"], b"\x02" + bytes(5), ETH_MPLS, stack(LABELS[vrf]) + packet
        )


def _ethertype(packet: bytes) -> int:
    return ETH_IP if packet[0] >> 4 == 4 else ETH_IPV6


@contextlib.contextmanager
def world() -> Iterator[World]:
    """The namespaces, wired; the PE's is called ``pe``."""
    with namespaces("pe", "core", *HOSTS):
        wire("pe", "core0", "core", "up0")
        run("ip -n pe addr add 10.255.0.1/32 dev lo")
        run("ip -n pe addr add 10.0.9.1/30 dev core0")
        run("ip -n core addr add 10.0.9.2/30 dev up0")
        run("ip -n pe link set core0 up")
        run("ip -n core link set up0 up")
        for number, name in enumerate(HOSTS, 1):
            _host(name, number)
        made = World()
        made.macs["core"] = _mac("core0")
        for name in HOSTS:
            made.macs[name] = _mac(f"pe-{name}")
        made.ports = {name: RawPort(name, "up0") for name in (*HOSTS, "core")}
        try:
            yield made
        finally:
            for port in made.ports.values():
                port.close()


def _host(name: str, number: int) -> None:
    wire("pe", f"pe-{name}", name, "up0")
    inside(name, "sysctl -qw net.ipv6.conf.up0.accept_dad=0")
    run(f"ip -n {name} link set up0 up")
    run(f"ip -n {name} addr add 192.168.{number}.2/30 dev up0")
    run(f"ip -n {name} -6 addr add fd00:{number}::2/126 dev up0 nodad")
    run(f"ip -n {name} route add default via 192.168.{number}.1")
    run(f"ip -n {name} -6 route add default via fd00:{number}::1")


def _mac(port: str) -> bytes:
    return mac(inside("pe", f"cat /sys/class/net/{port}/address").strip())


def desired(*, towards_core: bool = False) -> Delta:
    """All of the PE: the default routes lead to a host of the VRF, or to another PE."""
    delta = Delta(node=Node("pe", (ip_address("10.255.0.1"),), 20000))
    delta.core_ports["core0"] = CorePort("core0")
    for number, (name, vrf) in enumerate(HOSTS.items(), 1):
        links = (ip_interface(f"192.168.{number}.1/30"), ip_interface(f"fd00:{number}::1/126"))
        delta.ce_ports[f"pe-{name}"] = CePort(f"pe-{name}", vrf, ZONES[vrf], links, None)
    for vrf, table in TABLES.items():
        delta.vrfs[vrf] = VrfDevice(vrf, table)
        label = Label(LABELS[vrf])
        delta.labels[label] = LabelBinding(label, vrf)
        delta.routes[table] = {}
        for afi, prefix in DEFAULTS.items():
            hop = _remote(afi) if towards_core else _local(SINK[vrf], afi)
            delta.next_hops[hop.key] = hop
            delta.routes[table][prefix] = hop.key
    return delta


def _local(name: str, afi: Afi) -> NextHop:
    number = [*HOSTS].index(name) + 1
    address = ip_address(f"192.168.{number}.2" if afi is Afi.IPV4 else f"fd00:{number}::2")
    key = NextHopKey(afi, address, device=f"pe-{name}")
    return NextHop(key, (NextHopPath(address, f"pe-{name}"),))


def _remote(afi: Afi) -> NextHop:
    key = NextHopKey(afi, ip_address("10.255.0.9"), label=REMOTE_LABEL)
    return NextHop(key, (NextHopPath(ip_address("10.0.9.2"), "core0", (REMOTE_LABEL,)),))


def packet(
    source: IPAddress,
    destination: IPAddress,
    protocol: int,
    *,
    sport: int = 0,
    dport: int = 0,
    icmp_type: int = 0,
    number: int = 0,
    flags: int = SYN,
    seq: int = 1,
    ack: int = 0,
) -> bytes:
    """A packet that opens a flow; ``number`` is what a sink finds in it. Checksums of protocols
    are left out: the kernel does not verify them in transit (nf_conntrack_checksum is off).
    ``flags``, ``seq`` and ``ack`` are those of a TCP segment."""
    payload = MARK + number.to_bytes(4, "big")
    if protocol == socket.IPPROTO_TCP:
        words = (sport, dport, seq, ack, 5 << 4, flags, 65535, 0, 0)
        body = struct.pack("!HHIIBBHHH", *words) + payload
    elif protocol == socket.IPPROTO_SCTP:
        # INIT, which opens an association, with our mark in a parameter that is to be skipped
        # (RFC 9260 3.2.1, 3.3.2): connection tracking takes nothing else for a beginning.
        parameter = struct.pack("!HH", 0xC000, 4 + len(payload)) + payload
        init = struct.pack("!BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65535, 1, 1, 1)
        body = struct.pack("!HHII", sport, dport, 0, 0) + init + parameter
        body += bytes(-len(parameter) % 4)
    elif protocol == socket.IPPROTO_UDPLITE:
        # The checksum must not be zero (RFC 3828 3.1); its value is not verified.
        body = struct.pack("!HHHH", sport, dport, 0, 1) + payload
    elif protocol == socket.IPPROTO_UDP:
        body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    elif protocol in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        body = struct.pack("!BBHHH", icmp_type, 0, 0, sport, 1) + payload
    else:
        body = bytes(4) + payload
    if source.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        return head + source.packed + destination.packed + body
    fixed = (0x45, 0, 20 + len(body), number & 0xFFFF, 0, 64, protocol)
    bare = struct.pack("!BBHHHBBH", *fixed, 0) + source.packed + destination.packed
    right = checksum(bare)
    return struct.pack("!BBHHHBBH", *fixed, right) + source.packed + destination.packed + body


def settle_neighbours() -> None:
    """Have the PE know its neighbours without asking. Call when its ports are up."""
    for number, name in enumerate(HOSTS, 1):
        there = inside(name, "cat /sys/class/net/up0/address").strip()
        for address in (f"192.168.{number}.2", f"fd00:{number}::2"):
            run(f"ip -n pe neigh replace {address} lladdr {there} dev pe-{name} nud permanent")
    there = inside("core", "cat /sys/class/net/up0/address").strip()
    run(f"ip -n pe neigh replace 10.0.9.2 lladdr {there} dev core0 nud permanent")


def forget_connections() -> None:
    """Empty the PE's connection tracking."""
    with entered("pe"):
        flush = nl.NetlinkSocket(NETLINK_NETFILTER)
    flush.request(1 << 8 | 2, 0, bytes(4))
    flush.close()
