"""Frames made and read byte by byte: what attackers send, what a wire tap sees.

Written out rather than taken from a packet library where a check needs only these few forms:
starting one costs seconds on the lab kernel.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import time
from collections.abc import Iterable, Iterator

ETH_P_ALL = 3
ETH_MPLS = 0x8847
ETH_VLAN = 0x8100
ETH_IP = 0x0800
ETH_IPV6 = 0x86DD


def mac(text: str) -> bytes:
    """Six bytes from ``02:00:00:00:00:01``."""
    return bytes.fromhex(text.replace(":", ""))


def label_entry(label: int, *, bottom: bool, ttl: int = 64) -> bytes:
    """One MPLS label stack entry (RFC 3032 section 2.1), traffic class 0."""
    return struct.pack("!I", label << 12 | int(bottom) << 8 | ttl)


def stack(*labels: int, ttl: int = 64) -> bytes:
    """A whole label stack, outermost first."""
    last = len(labels) - 1
    return b"".join(label_entry(n, bottom=i == last, ttl=ttl) for i, n in enumerate(labels))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)) if len(data) % 2 == 0 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(source: str, target: str, port: int, payload: bytes = b"", ttl: int = 64) -> bytes:
    """An IPv4 or IPv6 packet with UDP to ``port``, checksums right."""
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    payload += b"\0" * (len(payload) % 2)
    length = 8 + len(payload)
    body = struct.pack("!HHHH", port, port, length, 0) + payload
    if src.version == 4:
        return _ipv4_header(src.packed, dst.packed, length, ttl) + body
    pseudo = src.packed + dst.packed + struct.pack("!II", length, socket.IPPROTO_UDP)
    body = struct.pack("!HHHH", port, port, length, checksum(pseudo + body)) + payload
    head = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_UDP, ttl)
    return head + src.packed + dst.packed + body


def _ipv4_header(src: bytes, dst: bytes, payload: int, ttl: int) -> bytes:
    fixed = (0x45, 0, 20 + payload, 0, 0, ttl, socket.IPPROTO_UDP)
    bare = struct.pack("!BBHHHBBH", *fixed, 0) + src + dst
    return struct.pack("!BBHHHBBH", *fixed, checksum(bare)) + src + dst


def ethernet(
    target: bytes, source: bytes, kind: int, payload: bytes, vlans: Iterable[int] = ()
) -> bytes:
    """A frame; ``vlans`` are VIDs, outermost first (0 is a priority tag)."""
    tags = b"".join(struct.pack("!HH", ETH_VLAN, vid) for vid in vlans)
    return target + source + tags + struct.pack("!H", kind) + payload


def send(port: str, frames: Iterable[bytes]) -> int:
    """Put frames on a port of this namespace, as they are; gives their number."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((port, 0))
        return sum(1 for frame in frames if raw.send(frame))


def tap(port: str, seconds: float, most: int = 1000) -> Iterator[bytes]:
    """The frames that pass a port, both ways, for so long or so many."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as raw:
        raw.bind((port, 0))
        deadline, seen = time.monotonic() + seconds, 0
        while seen < most and (left := deadline - time.monotonic()) > 0:
            raw.settimeout(left)
            try:
                yield raw.recv(65536)
            except TimeoutError:
                return
            seen += 1


def labels_of(frame: bytes) -> list[tuple[int, int]]:
    """The label stack of a frame as (label, TTL), outermost first; empty where there is none."""
    if len(frame) < 18 or struct.unpack_from("!H", frame, 12)[0] != ETH_MPLS:
        return []
    found = []
    for offset in range(14, len(frame) - 3, 4):
        (entry,) = struct.unpack_from("!I", frame, offset)
        found.append((entry >> 12, entry & 0xFF))
        if entry >> 8 & 1:
            break
    return found


def _stacks(port: str, seconds: float, most: int) -> list[list[tuple[int, int]]]:
    found: list[list[tuple[int, int]]] = []
    for frame in tap(port, seconds):
        if stack_seen := labels_of(frame):
            found.append(stack_seen)
        if len(found) >= most:
            break
    return found


def main(words: list[str]) -> int:
    """``stacks PORT SECONDS MOST``: label stacks as JSON; ``send PORT HEX…``: frames out."""
    match words:
        case ["stacks", port, seconds, most]:
            print("listening", flush=True)
            print(json.dumps(_stacks(port, float(seconds), int(most))))
        case ["send", port, *frames]:
            print(send(port, map(bytes.fromhex, frames)))
        case _:
            print(main.__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
