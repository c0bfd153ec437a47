"""What a peer may send: checks and cleaning before a route is a candidate for anything.

A refusal is a word for the log and the counters; the route is then treated as withdrawn.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address

import msgspec

from controlplane.model.attributes import Attributes, Nlri
from controlplane.model.intent import CePortIntent, PeerIntent
from controlplane.model.label import FIRST_UNRESERVED, LAST
from controlplane.model.martians import MARTIANS, PrefixCover, is_unique
from controlplane.model.prefix import IPAddress, Prefix
from controlplane.model.rd import SiteOfOrigin

LONGEST_AS_PATH = 255
PROVIDERS_OWN = frozenset({22, 23, 25, 27, 29, 40, 128})
"""Attributes that say something of the provider's network, to routers that believe the provider:
PMSI tunnel and encapsulation (RFC 6514, RFC 9012 section 11), IPv6 extended communities (RFC 5701),
PE distinguishers, BGP-LS, Prefix-SID (RFC 8669 section 8), ATTR_SET (RFC 6368)."""


def refuse_ce(
    peer: PeerIntent, port: CePortIntent | None, attributes: Attributes, next_hop: IPAddress
) -> str | None:
    """Return why no route of this UPDATE from a CE is taken; None if the UPDATE is in order."""
    if peer.is_ebgp and peer.enforce_first_as and attributes.neighbor_as != peer.asn:
        return "first-as"
    loop = refuse_path(attributes, peer.local_as, peer.allow_as_in)
    if loop:
        return loop
    return None if _next_hop_is_the_ces(peer, port, next_hop) else "next-hop"


def refuse_core(peer: PeerIntent, attributes: Attributes, own_router_id: str) -> str | None:
    """Return why no route of this UPDATE from a PE or reflector is taken; None if it is in order.

    Its next hop is looked at by ``can_be_next_hop``.
    """
    if peer.asn != peer.local_as:
        return "policy"  # RFC 8212: there is no policy yet that a core eBGP session could have
    originator = attributes.originator_id
    if originator is not None:
        if not _is_router_id(originator):
            return "originator"  # RFC 7606 section 7.9
        if originator == own_router_id:
            return "originator-loop"  # RFC 4456 section 8
    return refuse_path(attributes, peer.local_as, peer.allow_as_in)


def refuse_vpn(nlri: Nlri) -> str | None:
    """Return why a single VPN route is not taken; None if it is.

    Without a label, or under a reserved one, packets would leave for the core's own table at the
    other end; a stack of labels is for a capability that was not offered (RFC 8277 section 2.1).
    """
    if nlri.rd is None:
        return "no-rd"
    if len(nlri.labels) != 1:
        return "label-stack"
    return None if FIRST_UNRESERVED <= nlri.labels[0] <= LAST else "reserved-label"


def refuse_path(attributes: Attributes, own_as: int, allow_as_in: int) -> str | None:
    """Return why an AS_PATH is not taken from any peer: a loop, AS 0 (RFC 7607), absurd length."""
    own = length = 0
    for segment in attributes.as_path:
        own += segment.asns.count(own_as)
        length += len(segment.asns)
        if 0 in segment.asns:
            return "as-zero"
    if own > allow_as_in:
        return "as-loop"
    return "as-path-length" if length > LONGEST_AS_PATH else None


def refuse_prefix(peer: PeerIntent, links: PrefixCover, prefix: Prefix) -> str | None:
    """Return why a single prefix from a CE is not taken; None if it is.

    ``links`` are those of the VRF: a CE that announced a part of one could draw the traffic to
    another CE, or to us, to itself.
    """
    if not prefix.is_default and MARTIANS.covers(prefix):
        return "martian"
    if links.covers(prefix):
        return "link"
    if peer.internet and not is_unique(prefix):
        return "not-unique"
    return None if peer.import_policy.accepts(prefix) else "policy"


def clean_ce(peer: PeerIntent, attributes: Attributes) -> Attributes:
    """Take from a CE's attributes all that only the provider may say.

    Route targets and sites of origin (RFC 4364 section 4.3.1), communities in the operator's own
    number space (RFC 7454 section 11), LOCAL_PREF and reflection attributes from outside the AS.
    """
    own = peer.local_as
    return msgspec.structs.replace(
        attributes,
        local_pref=None if peer.is_ebgp else attributes.local_pref,
        route_targets=frozenset(),
        sites_of_origin=sites_of_origin(peer),
        extended=(),
        communities=tuple(c for c in attributes.communities if c[0] != own),
        large_communities=tuple(c for c in attributes.large_communities if c[0] != own),
        originator_id=None,
        cluster_list=(),
        unknown=across_the_edge(attributes),
    )


def across_the_edge(attributes: Attributes) -> tuple[tuple[int, int, bytes], ...]:
    """Return the unread attributes that may pass between a customer and the provider."""
    return tuple(each for each in attributes.unknown if each[1] not in PROVIDERS_OWN)


def sites_of_origin(peer: PeerIntent) -> frozenset[SiteOfOrigin]:
    """Return what marks the routes of this CE's site (RFC 4364 section 8)."""
    return frozenset({peer.site_of_origin}) if peer.site_of_origin else frozenset()


def can_be_next_hop(address: IPAddress) -> bool:
    """Return False for addresses that no remote router has (RFC 4271 section 6.3)."""
    return not (
        address.is_unspecified
        or address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or (isinstance(address, IPv4Address) and address.is_reserved)
    )


@lru_cache(maxsize=4096)
def _is_router_id(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _next_hop_is_the_ces(peer: PeerIntent, port: CePortIntent | None, next_hop: IPAddress) -> bool:
    """RFC 7454 section 10: the CE's own address; for the other family, one on the same link. A
    link-local address is on no other link than the session's (RFC 2545 section 3). With
    ``third_party_next_hop`` any address on the link counts, such as a route server member's.
    """
    if next_hop.is_link_local:
        return next_hop.version == 6 and port is not None
    if next_hop == peer.peer.address:
        return True
    if next_hop.version == peer.peer.address.version and not peer.third_party_next_hop:
        return False
    return port is not None and any(
        next_hop in interface.network and next_hop != interface.ip
        for interface in port.addresses
        if interface.version == next_hop.version
    )
