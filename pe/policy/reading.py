"""How a packet is read when its verdict is looked up: who opened the flow, and what was asked for.

What is judged is what connection tracking follows (SPF-7): of a packet with a connection, the
connection's own ends are read and never the packet's headers. nftables and connection tracking
do not skip the same headers (nft_set_pktinfo_ipv6 stops at an authentication header,
ipv6_skip_exthdr does not), and an ICMP error belongs to the connection that it is about. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from pe.nft import expression as x
from pe.nft.expression import Expression

ADDRESSES = {
    (4, "saddr"): (12, 4),
    (4, "daddr"): (16, 4),
    (6, "saddr"): (8, 16),
    (6, "daddr"): (24, 16),
}
"""Offset and size in the IP header."""
PROTOCOLS = {4: b"\x02", 6: b"\x0a"}
IPV6 = PROTOCOLS[6]
_IP = {4: "ip", 6: "ip6"}
_OTHER = {"saddr": "daddr", "daddr": "saddr"}


@dataclass(frozen=True, slots=True)
class Reading:
    """Where the ends of a flow are read. ``name`` begins the names of its chains."""

    name: str
    direction: str = ""
    """Of the connection whose tuple is read; "" for the packet itself."""
    turned: bool = False
    """Of the packet: as one that answers, so its source was the destination."""

    @property
    def is_tracked(self) -> bool:
        """True if a connection is read."""
        return bool(self.direction)

    def address(self, version: int, side: str, register: int) -> Expression:
        """Load the address of the ``saddr`` or ``daddr``."""
        if self.direction:
            return x.ct_end(self.direction, f"{_IP[version]} {side}", register)
        side = _OTHER[side] if self.turned else side
        return x.network_header(f"ip{version} {side}", *ADDRESSES[version, side], register)

    def protocol(self, register: int) -> Expression:
        """Load the protocol."""
        return x.ct("protocol", register) if self.direction else x.meta("l4proto", register)

    def port(self, register: int) -> Expression:
        """Load the port that was asked for; ends the rule where the packet is too short."""
        if self.direction:
            return x.ct_end(self.direction, "proto-dst", register)
        name, offset = ("sport", 0) if self.turned else ("dport", 2)
        return x.transport_header(name, offset, 2, register)

    def icmp_type(self, register: int) -> tuple[Expression, ...]:
        """Load the type of an ICMP message: of a connection it stands in the place of the port,
        before the code (struct nf_conntrack_man_proto)."""
        if self.direction:
            return self.port(register), x.masked_bytes(register, b"\xff\x00")
        return (x.transport_header("icmp type", 0, 1, register),)


PACKET = Reading("")
ANSWER = Reading("answer_", turned=True)
"""As if the packet's receiver had opened its flow."""
OPENED = Reading("flow_", "original")
"""As the connection was opened, so far as it was seen."""
REOPENED = Reading("back_", "reply")
"""As if the other end had opened it."""
