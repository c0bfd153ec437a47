"""Tunnels between a CE and its PE, in the place of the link that the founding world has there.

The red CE at PE 1 keeps the name of its end (``up0``) and its addresses; so does the PE's port.
Tunnels run over a management link, TUN devices over a program that copies packets.
"""

from __future__ import annotations

import base64
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from labs.attack.inside import socket_in
from labs.namespaces import inside
from tests.lab.agents import LOOPBACK, ce_name, host, mac, run, wire

CE, PORT, MANAGEMENT = ce_name("pe1", "red"), "pe1-red", "mgmt0"
PE_END, CE_END = "198.51.100.1", "198.51.100.2"
DEVICES = (("pe1", PORT), (CE, "up0"))

_TUNSETIFF, _IFF_TUN = 0x400454CA, 0x0001
_WIREGUARD = """
import sys
from pyroute2 import WireGuard
name, private, public, address, port = sys.argv[1:]
peer = {"public_key": public, "endpoint_addr": address, "endpoint_port": int(port),
        "allowed_ips": ["0.0.0.0/0", "::/0"]}
with WireGuard() as wireguard:
    wireguard.set(name, private_key=private, listen_port=int(port), peer=peer)
"""


def management_link() -> None:
    """A link beside the VPN, between the CE and PE 1."""
    wire("pe1", MANAGEMENT, CE, "wan0")
    for node, port, address in (("pe1", MANAGEMENT, PE_END), (CE, "wan0", CE_END)):
        run(f"ip -n {node} link set {port} up")
        run(f"ip -n {node} addr add {address}/24 dev {port}")
    run(f"ip -n {CE} route add {LOOPBACK['pe1']}/32 via {PE_END}")


@contextmanager
def in_its_place(kind: str) -> Iterator[None]:
    """Delete the link of the port, and connect both by another kind of device."""
    for node, name in DEVICES:
        run(f"ip -n {node} link delete {name}", check=False)
    with ExitStack() as stack:
        make = MAKERS[kind]
        make(stack)
        _readdress()
        yield


def _readdress() -> None:
    """What ``agents.founding_world`` gives the CE."""
    run(f"ip -n {CE} link set up0 up")
    run(f"ip -n {CE} addr add 192.168.1.2/24 dev up0")
    run(f"ip -n {CE} -6 addr add fd00:1::2/64 dev up0 nodad")
    run(f"ip -n {CE} route replace default via 192.168.1.1 src {host('pe1', 4)}")
    run(f"ip -n {CE} -6 route replace default via fd00:1::1 src {host('pe1', 6)}")


def _veth(_stack: ExitStack) -> None:
    wire("pe1", PORT, CE, "up0")


def _over_ip(words: str, pe_end: str = PE_END) -> Callable[[ExitStack], None]:
    def make(_stack: ExitStack) -> None:
        for (node, name), local, remote in zip(
            DEVICES, (pe_end, CE_END), (CE_END, pe_end), strict=True
        ):
            run(f"ip -n {node} link add {name} type {words} local {local} remote {remote}")

    return make


def _wireguard(_stack: ExitStack) -> None:
    keys = [X25519PrivateKey.generate() for _ in DEVICES]
    public = [base64.b64encode(k.public_key().public_bytes_raw()).decode() for k in keys]
    for n, ((node, name), remote) in enumerate(zip(DEVICES, (CE_END, PE_END), strict=True)):
        run(f"ip -n {node} link add {name} type wireguard")
        private = base64.b64encode(keys[n].private_bytes_raw()).decode()
        words = [name, private, public[1 - n], remote, "51820"]
        subprocess.run(
            ["ip", "netns", "exec", node, sys.executable, "-c", _WIREGUARD, *words],
            check=True, timeout=60,
        )  # fmt: skip


def _tun(stack: ExitStack) -> None:
    """Two TUN devices whose packets, with the header that names the protocol, a thread copies."""
    ends = []
    for node, name in DEVICES:
        with inside(node):
            end = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN))
        stack.callback(os.close, end)
        ends.append(end)
    stopped, stop = os.pipe()
    copier = threading.Thread(target=_copy, args=(*ends, stopped))
    copier.start()
    stack.callback(os.close, stopped)
    stack.callback(copier.join, 10)
    stack.callback(os.close, stop)


def _copy(one: int, other: int, stopped: int) -> None:
    to = {one: other, other: one}
    while True:
        ready, _, _ = select.select([one, other, stopped], [], [])
        if stopped in ready:
            return
        for end in ready:
            try:
                os.write(to[end], os.read(end, 65536))
            except OSError:  # the other end is down
                continue


MAKERS: dict[str, Callable[[ExitStack], None]] = {
    "veth": _veth,
    "tun": _tun,
    "gre": _over_ip("gre"),
    "wireguard": _wireguard,
    "gretap": _over_ip("gretap"),
    "gre-loopback": _over_ip("gre", LOOPBACK["pe1"]),
    "vxlan": _over_ip("vxlan id 5 dstport 4789"),
}


def send(packet: bytes, protocol: int = 0) -> None:
    """Put a packet on the CE's end as it is; ``protocol`` is its ethertype, else that of its IP
    version."""
    kind = protocol or (0x0800 if packet[0] >> 4 == 4 else 0x86DD)
    hardware = mac("pe1", PORT) if "link/ether" in run(f"ip -n pe1 link show {PORT}") else b""
    with socket_in(CE, socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        sock.sendto(packet, ("up0", kind, 0, 0, hardware))
