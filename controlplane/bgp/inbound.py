"""What a peer may send: checks and cleaning before a route is a candidate for anything.

A refusal is a word for the log and the counters; the route is then treated as withdrawn.
"""

from __future__ import annotations

import msgspec

from controlplane.model.attributes import Attributes
from controlplane.model.intent import CePortIntent, PeerIntent
from controlplane.model.prefix import IPAddress, Prefix, parse_prefix

LONGEST_AS_PATH = 255

# Never a customer's: this network, loopback, link-local, multicast and beyond (RFC 6890).
MARTIANS = tuple(
    parse_prefix(text)
    for text in (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/8",
        "fe80::/10",
        "ff00::/8",
    )
)


def refuse_ce(
    peer: PeerIntent, port: CePortIntent | None, attributes: Attributes, next_hop: IPAddress
) -> str | None:
    """Why no route of this UPDATE from a CE is taken; None if the UPDATE is in order."""
    if peer.is_ebgp and attributes.neighbor_as != peer.asn:
        return "first-as"
    loop = refuse_path(attributes, peer.local_as, peer.allow_as_in)
    if loop:
        return loop
    return None if _next_hop_is_the_ces(peer, port, next_hop) else "next-hop"


def refuse_core(
    attributes: Attributes, own_as: int, own_router_id: str, allow_as_in: int
) -> str | None:
    """Why no route of this UPDATE from a PE or reflector is taken; None if it is in order."""
    if attributes.originator_id == own_router_id:
        return "originator-loop"  # RFC 4456 section 8
    return refuse_path(attributes, own_as, allow_as_in)


def refuse_path(attributes: Attributes, own_as: int, allow_as_in: int) -> str | None:
    """AS_PATH checks that hold for every peer: loops, AS 0 (RFC 7607) and absurd length."""
    asns = attributes.asns
    if not asns:
        return None
    if asns.count(own_as) > allow_as_in:
        return "as-loop"
    if 0 in asns:
        return "as-zero"
    return "as-path-length" if len(asns) > LONGEST_AS_PATH else None


def refuse_prefix(peer: PeerIntent, prefix: Prefix) -> str | None:
    """Why a single prefix from a CE is not taken; None if it is."""
    if not prefix.is_default and any(martian.contains(prefix) for martian in MARTIANS):
        return "martian"
    return None if peer.import_policy.accepts(prefix) else "policy"


def clean_ce(peer: PeerIntent, attributes: Attributes) -> Attributes:
    """Take from a CE's attributes all that only the provider may say.

    Route targets and sites of origin (RFC 4364 section 4.3.1), communities in the operator's own
    number space (RFC 7454 section 11), LOCAL_PREF and reflection attributes from outside the AS.
    """
    own = peer.local_as
    soo = frozenset({peer.site_of_origin}) if peer.site_of_origin else frozenset()
    return msgspec.structs.replace(
        attributes,
        local_pref=None if peer.is_ebgp else attributes.local_pref,
        route_targets=frozenset(),
        sites_of_origin=soo,
        extended=(),
        communities=tuple(c for c in attributes.communities if c[0] != own),
        large_communities=tuple(c for c in attributes.large_communities if c[0] != own),
        originator_id=None,
        cluster_list=(),
    )


def _next_hop_is_the_ces(peer: PeerIntent, port: CePortIntent | None, next_hop: IPAddress) -> bool:
    """RFC 7454 section 10: the CE's own address; for the other family, one on the same link."""
    if next_hop.version == peer.peer.address.version:
        return next_hop == peer.peer.address
    return port is not None and any(
        next_hop in interface.network and next_hop != interface.ip
        for interface in port.addresses
        if interface.version == next_hop.version
    )
