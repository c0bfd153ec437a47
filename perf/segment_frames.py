"""Frames of UDP flows between two workloads, as a CE or the core sends them.

Their checksums are left out (RFC 768: zero is none), so that ports may be written over.
"""

from __future__ import annotations

from labs.packets import ETH_IP, ETH_MPLS, ethernet, mac, stack, udp

SOURCE = b"\x02" + bytes(5)
PORTS_AT = 14 + 20
"""Of the ports in a frame without a label."""
LABEL_BYTES = 4


def plain(
    target: str, ends: tuple[str, str], ports: tuple[int, int], payload: bytes = b""
) -> bytes:
    """A frame to a MAC address: from and to these addresses and ports."""
    packet = udp(*ends, ports[1], payload)
    return with_ports(ethernet(mac(target), SOURCE, ETH_IP, packet), ports)


def labelled(target: str, label: int, ends: tuple[str, str], ports: tuple[int, int]) -> bytes:
    """As it comes from the core, with a label in front."""
    packet = stack(label) + udp(*ends, ports[1])
    return with_ports(ethernet(mac(target), SOURCE, ETH_MPLS, packet), ports, LABEL_BYTES)


def with_ports(frame: bytes, ports: tuple[int, int], shift: int = 0) -> bytes:
    """The same frame with other ports; ``shift``: bytes of labels before the IP header."""
    at = PORTS_AT + shift
    sport, dport = (port.to_bytes(2, "big") for port in ports)
    return frame[:at] + sport + dport + frame[at + 4 :]
