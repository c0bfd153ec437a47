"""Which devices can be CE ports: those whose packets the guard recognises and sees all of.

On an Ethernet device there is a header with an ethertype in front of an IP packet. Tunnels have no
such header, and no ARP: the kernel gets the protocol from the tunnel's header, or from the packet's
first bits (``skb->protocol``).
"""

from __future__ import annotations

from pe.model.state import ETHERNET, Link

OF_IPSEC = frozenset({"xfrm", "vti", "vti6"})
"""Kinds whose packets may skip the ingress hook: what came under a transport-mode SA goes on to
PREROUTING at once (xfrm_input(), xfrm4_transport_finish())."""


def refusal(link: Link, *, carries_tags: bool = False) -> str:
    """Return why a device cannot be a CE port, or with ``carries_tags`` the parent of one; "" if
    it can."""
    what = f"{link.kind or 'device'} {link.name}"
    if carries_tags:
        is_ethernet = link.hardware_type == ETHERNET
        return "" if is_ethernet else f"{what} has no Ethernet header, so it carries no VLAN tags"
    if link.kind in OF_IPSEC:
        return (
            f"{what} cannot be guarded: packets of an IPsec transport-mode SA skip its ingress "
            f"hook; use GRE, WireGuard or a TUN device"
        )
    if link.has_no_remote:
        return (
            f"{what} has no remote address, so each packet would choose where it leaves the VPN "
            f"to; give the tunnel a remote address"
        )
    if link.hardware_type == ETHERNET or link.is_bare:
        return ""
    return (
        f"{what} cannot be guarded: its ARPHRD type {link.hardware_type} is neither Ethernet nor "
        f"one of bare IP packets"
    )
