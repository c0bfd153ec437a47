"""IP protocol numbers that a policy and its tables treat specially."""

from __future__ import annotations

ICMP, ICMP6 = 1, 58
TCP, AH = 6, 51
PORT_PROTOCOLS = frozenset({6, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP, UDP-Lite: bytes 2-3 of their header are the destination port."""


def highest_point(protocol: int) -> int:
    """Return the largest value that distinguishes packets of `protocol`: port, ICMP type, or 0."""
    if protocol in PORT_PROTOCOLS:
        return 65535
    return 255 if protocol in (ICMP, ICMP6) else 0
