"""Frames below IP: Ethernet with any tags, ARP, neighbour discovery, label stacks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from scapy.contrib import mpls
from scapy.layers import l2
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr
from scapy.packet import Packet

from labs.attack import ip

ARP, IPV4, IPV6, VLAN, QINQ, MPLS, MPLS_MULTICAST = (
    0x0806, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x8847, 0x8848,
)  # fmt: skip
BROADCAST = b"\xff" * 6
Tag = int | tuple[int, int]


def ethernet(
    target: bytes, source: bytes, kind: int, payload: bytes, tags: Sequence[Tag] = ()
) -> bytes:
    """Build a frame. ``tags``: VIDs, outermost first, or (ethertype, VID) if it is not 0x8100."""
    pairs = tuple((VLAN, tag) if isinstance(tag, int) else tag for tag in tags)
    return _header(target, source, kind, pairs) + payload


@lru_cache(maxsize=1024)
def _header(target: bytes, source: bytes, kind: int, tags: tuple[tuple[int, int], ...]) -> bytes:
    """Build what is in front of the payload, once: each frame of a flood has the same."""
    kinds = [*(tpid for tpid, _ in tags), kind]
    frame: Packet = l2.Ether(dst=_text(target), src=_text(source), type=kinds[0])
    for (_, tci), following in zip(tags, kinds[1:], strict=True):
        frame /= l2.Dot1Q(prio=tci >> 13, dei=tci >> 12 & 1, vlan=tci & 0xFFF, type=following)
    return bytes(frame)


def _text(mac: bytes) -> str:
    return mac.hex(":")


def ethertype(packet: bytes) -> int:
    """That of a bare IP packet."""
    return IPV4 if packet[0] >> 4 == 4 else IPV6


def arp(
    operation: int, sender: bytes, sender_ip: str, target_ip: str, target: bytes = b""
) -> bytes:
    """Build an ARP packet: 1 asks, 2 answers."""
    ours, theirs = _text(sender), _text(target or bytes(6))
    return bytes(l2.ARP(op=operation, hwsrc=ours, psrc=sender_ip, hwdst=theirs, pdst=target_ip))


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
    """Build a neighbour solicitation in its frame (RFC 4861)."""
    mac, group = solicited_node(target)
    asked = ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=_text(sender))
    body = ip.carried(source, group, asked)
    return ethernet(mac, sender, IPV6, ip.packet(source, group, ip.ICMPV6, body, ip.Header(255)))


def advertisements(frames: Sequence[bytes], address: str) -> int:
    """How many frames are neighbour advertisements that say where an address is."""
    wanted = ipaddress.IPv6Address(address).packed
    return sum(f[12:14] == b"\x86\xdd" and f[20] == ip.ICMPV6 and f[54] == 136
               and f[62:78] == wanted for f in frames)  # fmt: skip


def labelled(labels: Sequence[int], inner: bytes, *, ttl: int = 64, bottom: bool = True) -> bytes:
    """Build a label stack and put it on ``inner``; ``bottom=False`` sets no S bit (RFC 3032)."""
    last = len(labels) - 1
    entries = (
        mpls.MPLS(label=n, s=int(bottom and i == last), ttl=ttl) for i, n in enumerate(labels)
    )
    return b"".join(map(bytes, entries)) + inner
