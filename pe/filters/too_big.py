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
from pe.filters.parts import FilledSet, NamedChain
from pe.nft.fields import IIFNAME, NFPROTO
from pe.nft.matches import equal
from pe.nft.model import Chain, Hook, NamedSet
from pe.nft.statements import MarkFrom
from pe.nft.types import TYPES, device

BEFORE_ZONES = -310


def sets(scope: RenderContext) -> Iterator[FilledSet]:
    """Port -> mark, which is the number of the VRF's table."""
    vrfs = scope.desired.vrfs
    marks = {
        device(port.name): TYPES["mark"].encode(vrfs[port.vrf].table)
        for port in scope.ce_ports
        if port.vrf in vrfs
    }
    if marks:
        yield "vrf_marks", NamedSet(("ifname",), "mark"), marks


def chains(scope: RenderContext) -> Iterator[NamedChain]:
    """Before any route is looked up."""
    if any(sets(scope)):
        rule = (equal(NFPROTO, "ipv6"), MarkFrom(IIFNAME, "vrf_marks"))
        yield "mark_in", Chain((rule,), Hook("prerouting", BEFORE_ZONES))
