"""Frames below IP: Ethernet with any tags, ARP, neighbour discovery, label stacks."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

from labs.attack import ip
from labs.packets import label_entry, stack

ARP, IPV4, IPV6, VLAN, QINQ, MPLS, MPLS_MULTICAST = (
    0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847, 0x8848,
)  # fmt: skip
BROADCAST = b"\xff" * 6
Tag = int | tuple[int, int]


def ethernet(
    target: bytes, source: bytes, kind: int, payload: bytes, tags: Sequence[Tag] = ()
) -> bytes:
    """A frame. ``tags``: VIDs, outermost first, or (ethertype, VID) where it is not 0x8100."""
    pairs = ((VLAN, tag) if isinstance(tag, int) else tag for tag in tags)
    inserted = b"".join(struct.pack("!HH", *pair) for pair in pairs)
    return target + source + inserted + struct.pack("!H", kind) + payload


def ethertype(packet: bytes) -> int:
    """That of a bare IP packet."""
    return IPV4 if packet[0] >> 4 == 4 else IPV6


def arp(
    operation: int, sender: bytes, sender_ip: str, target_ip: str, target: bytes = b""
) -> bytes:
    """An ARP packet: 1 asks, 2 answers."""
    ours, theirs = (ipaddress.IPv4Address(text).packed for text in (sender_ip, target_ip))
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + sender + ours + (target or bytes(6)) + theirs


def arp_answers(frames: Sequence[bytes], address: str) -> int:
    """How many frames are ARP answers that say where an address is."""
    wanted = ipaddress.IPv4Address(address).packed
    return sum(f[12:14] == b"\x08\x06" and f[20:22] == b"\0\x02" and f[28:32] == wanted
               for f in frames)  # fmt: skip


def solicited_node(address: str) -> tuple[bytes, str]:
    """The multicast MAC and address that a neighbour solicitation goes to (RFC 4291 2.7.1)."""
    low = ipaddress.IPv6Address(address).packed[-3:]
    group = ipaddress.IPv6Address(b"\xff\x02" + bytes(9) + b"\x01\xff" + low)
    return b"\x33\x33\xff" + low, str(group)


def solicitation(sender: bytes, source: str, target: str) -> bytes:
    """A neighbour solicitation in its frame (RFC 4861)."""
    mac, group = solicited_node(target)
    body = bytes(4) + ipaddress.IPv6Address(target).packed + b"\x01\x01" + sender
    message = ip.icmpv6(source, group, 135, body, ip.Header(ttl=255))
    return ethernet(mac, sender, IPV6, message)


def advertisements(frames: Sequence[bytes], address: str) -> int:
    """How many frames are neighbour advertisements that say where an address is."""
    wanted = ipaddress.IPv6Address(address).packed
    return sum(f[12:14] == b"\x86\xdd" and f[20] == ip.ICMPV6 and f[54] == 136
               and f[62:78] == wanted for f in frames)  # fmt: skip


def labelled(labels: Sequence[int], inner: bytes, *, ttl: int = 64, bottom: bool = True) -> bytes:
    """A label stack and what is under it; ``bottom=False`` leaves the S bit out (RFC 3032)."""
    if bottom:
        return stack(*labels, ttl=ttl) + inner
    return b"".join(label_entry(n, bottom=False, ttl=ttl) for n in labels) + inner
