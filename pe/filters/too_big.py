"""IPv6 Packet Too Big on the way into the core, sent back into the right VPN.

ip6_forward() gives such an error the outgoing device, which is the core port, so that the way
back is looked up in ``main``, where no customer is: path MTU discovery would fail in silence. A
mark says which VRF the packet came from; ``fwmark_reflect`` puts it on the error, and a rule leads
by it to the VRF's table (``pe.plan``). IPv4 (ip_forward(), icmp_send()) goes by the incoming
device and needs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from pe.filters.context import RenderContext
from pe.nft.text_model import Chain, NamedSet, quoted

BEFORE_ZONES = -310


def sets(scope: RenderContext) -> Iterator[NamedSet]:
    """Port -> mark, which is the number of the VRF's table."""
    marks = frozenset(
        f"{quoted(port.name)} : {scope.desired.vrfs[port.vrf].table}"
        for port in scope.ce_ports
        if port.vrf in scope.desired.vrfs
    )
    if marks:
        yield NamedSet("vrf_marks", "typeof iifname : meta mark", marks, is_map=True)


def chains(scope: RenderContext) -> Iterator[Chain]:
    """Before any route is looked up."""
    if any(sets(scope)):
        rule = "meta nfproto ipv6 meta mark set iifname map @vrf_marks"
        yield Chain("mark_in", (rule,), f"type filter hook prerouting priority {BEFORE_ZONES};")
