"""Probe packets from a site of every VRF, and by which core link each of them left.

One packet a VRF and round, to a destination that changes from round to round: routes of
one VRF need not move at the same time. Seen on the remote ends of the core links, where
they arrive with the transport label and the VPN label; the kernel stamps the time.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Self

from labs.namespaces import inside
from perf import workload
from perf.network import GATEWAY_MAC, LINKS, REMOTE_NODE, SITE_MAC, SITES
from perf.workload import Workload

ETH_P_IP, ETH_P_MPLS = 0x0800, 0x8847
SO_TIMESTAMPNS = 35
DESTINATIONS = 16
"""Destinations in each VRF: the first prefix, the last, and others spread between."""

MAGIC = b"bulkhead"


@dataclass(slots=True)
class Seen:
    """What has arrived, in order: (when, by which core link, VRF, destination)."""

    arrivals: list[tuple[float, str, int, int]] = field(default_factory=list)

    def destinations(self, link: str) -> dict[tuple[int, int], float]:
        """When each (VRF, destination) was last seen on a link."""
        return {(vrf, number): at for at, by, vrf, number in self.arrivals if by == link}

    def moved(self, old: str, new: str, expected: int) -> bool:
        """True if every destination was seen on the new link, and later than on the old."""
        fresh, stale = self.destinations(new), self.destinations(old)
        return len(fresh) == expected and all(at > stale.get(key, 0) for key, at in fresh.items())

    def last(self, link: str) -> float:
        """When the last probe of all was seen on a link; 0 if none was."""
        return max((at for at, by, *_ in self.arrivals if by == link), default=0.0)

    def all_on(self, link: str, since: float) -> float:
        """When every VRF that was seen on a link after ``since`` had been seen there once."""
        first: dict[int, float] = {}
        for at, by, vrf, _ in self.arrivals:
            if by == link and at > since:
                first[vrf] = min(at, first.get(vrf, at))
        return max(first.values(), default=since)


class Probes:
    """Sends rounds of probes and notes their arrival; times are CLOCK_REALTIME seconds."""

    def __init__(self, load: Workload) -> None:
        self._vrfs = range(load.vrfs)
        step = (load.per_vrf - 1) / (DESTINATIONS - 1)
        self._chosen = [round(number * step) for number in range(DESTINATIONS)]
        self._frames = {
            (vrf, number): _frame(vrf, load.prefix(index), number)
            for vrf in self._vrfs
            for number, index in enumerate(self._chosen)
        }
        with inside(SITES):
            self._outputs = [_packet_socket(workload.ce_port(vrf), 0) for vrf in self._vrfs]
        with inside(REMOTE_NODE):
            self._inputs = {link: _packet_socket(link, ETH_P_MPLS) for link in LINKS}
        for receiving in self._inputs.values():
            receiving.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            receiving.setblocking(False)
        self._round = 0
        self.sent = 0
        self.seen = Seen()

    @property
    def destinations(self) -> int:
        """How many destinations there are in all VRFs together."""
        return len(self._frames)

    def forget(self) -> None:
        """Begin anew with what has been sent and seen."""
        self.seen, self.sent = Seen(), 0

    def round(self) -> None:
        """Send one probe in every VRF, to the next destination, and take what has arrived."""
        number = self._round % DESTINATIONS
        self._round += 1
        for vrf, output in zip(self._vrfs, self._outputs, strict=True):
            output.send(self._frames[vrf, number])
            self.sent += 1
        self.take()

    def take(self) -> None:
        """Note all probes that have arrived."""
        for link, receiving in self._inputs.items():
            for key, at in _arrived(receiving):
                self.seen.arrivals.append((at, link, *key))

    def close(self) -> None:
        """Close all sockets."""
        for opened in (*self._outputs, *self._inputs.values()):
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def now() -> float:
    """The clock that arrivals are stamped with."""
    return time.clock_gettime(time.CLOCK_REALTIME)


def _packet_socket(port: str, protocol: int) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.bind((port, protocol))
    return opened


def _arrived(receiving: socket.socket) -> Iterator[tuple[tuple[int, int], float]]:
    while True:
        try:
            data, ancillary, _, address = receiving.recvmsg(256, 64)
        except BlockingIOError:
            return
        place = data.find(MAGIC)
        if address[2] != socket.PACKET_OUTGOING and place >= 0:
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            vrf, number = struct.unpack_from("!HH", data, place + len(MAGIC))
            yield (vrf, number), seconds + nanoseconds / 1e9


def _frame(vrf: int, prefix: str, number: int) -> bytes:
    macs = bytes.fromhex((GATEWAY_MAC.format(vrf) + SITE_MAC.format(vrf)).replace(":", ""))
    payload = MAGIC + struct.pack("!HH", vrf, number)
    datagram = struct.pack("!HHHH", 40000, 9, 8 + len(payload), 0) + payload
    source = IPv4Address(workload.ce_host(vrf)).packed
    destination = (IPv4Address(prefix) + 1).packed
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0x4000, 64, 17, 0, source, destination
    )
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return macs + struct.pack("!H", ETH_P_IP) + head + datagram


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
