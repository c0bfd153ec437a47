"""The attributes of a route as this node sends them."""

from __future__ import annotations

import msgspec

from controlplane.bgp.decision import DEFAULT_LOCAL_PREF
from controlplane.bgp.inbound import across_the_edge
from controlplane.bgp.path import Path
from controlplane.model.attributes import AsSegment, Attributes, Community
from controlplane.model.intent import PeerIntent
from controlplane.model.rd import RouteTarget

NO_EXPORT: Community = (0xFFFF, 0xFF01)
NO_ADVERTISE: Community = (0xFFFF, 0xFF02)
NO_EXPORT_SUBCONFED: Community = (0xFFFF, 0xFF03)
NOT_OUTSIDE = frozenset({NO_EXPORT, NO_EXPORT_SUBCONFED})

LONGEST_SEGMENT = 255


def to_core(path: Path, export_targets: frozenset[RouteTarget]) -> Attributes:
    """Return a site's route as VPN route (RFC 4364 section 4.3): the VRF's targets and no
    others."""
    attributes = path.attributes
    preference = attributes.local_pref
    return msgspec.structs.replace(
        attributes,
        local_pref=DEFAULT_LOCAL_PREF if preference is None else preference,
        route_targets=export_targets,
    )


def may_leave(path: Path) -> bool:
    """Return False for a route that may be sent to no peer (NO_ADVERTISE, RFC 1997)."""
    return NO_ADVERTISE not in path.attributes.communities


def may_go_to_ce(peer: PeerIntent, path: Path) -> bool:
    """Return whether a path may be sent to a CE, for any prefix.

    Not back to where it came from, not to a site with the same site of origin (RFC 4364 section
    8), not out of the AS against RFC 1997.
    """
    if path.source.peer == peer.peer or not may_leave(path):
        return False
    if peer.site_of_origin in path.attributes.sites_of_origin:
        return False
    return not peer.is_ebgp or NOT_OUTSIDE.isdisjoint(path.attributes.communities)


def ce_attributes(peer: PeerIntent, attributes: Attributes) -> Attributes:
    """Return the attributes alone: provider's own marks off, AS_PATH as an eBGP speaker makes it.

    MED and LOCAL_PREF stay inside an AS (RFC 4271 sections 5.1.4 and 5.1.5).
    """
    inside = not peer.is_ebgp
    preference, own = attributes.local_pref, peer.local_as
    # Confederation segments are removed outside the confederation (RFC 5065 section 5.2).
    path = tuple(s for s in attributes.as_path if s.kind != "confed-sequence")
    return Attributes(
        origin=attributes.origin,
        as_path=path if inside else _ebgp_path(peer, path),
        med=attributes.med if inside else None,
        local_pref=(DEFAULT_LOCAL_PREF if preference is None else preference) if inside else None,
        atomic_aggregate=attributes.atomic_aggregate,
        aggregator=attributes.aggregator,
        communities=tuple(c for c in attributes.communities if c[0] != own),
        large_communities=tuple(c for c in attributes.large_communities if c[0] != own),
        unknown=across_the_edge(attributes),
    )


def _ebgp_path(peer: PeerIntent, path: tuple[AsSegment, ...]) -> tuple[AsSegment, ...]:
    if peer.as_override:
        path = tuple(_replace_asn(segment, peer.asn, peer.local_as) for segment in path)
    if peer.remove_private_as:
        path = tuple(s for s in map(_public, path) if s.asns)
    return prepend(path, peer.local_as)


def prepend(path: tuple[AsSegment, ...], asn: int) -> tuple[AsSegment, ...]:
    """Put an ASN in front (RFC 4271 section 5.1.2): a full or set segment gets a new one before."""
    first = path[0] if path else None
    if first and first.kind == "sequence" and len(first.asns) < LONGEST_SEGMENT:
        return (AsSegment("sequence", (asn, *first.asns)), *path[1:])
    return (AsSegment("sequence", (asn,)), *path)


def _replace_asn(segment: AsSegment, old: int, new: int) -> AsSegment:
    return AsSegment(segment.kind, tuple(new if asn == old else asn for asn in segment.asns))


def _public(segment: AsSegment) -> AsSegment:
    """RFC 6996 private ASNs taken out."""
    kept = tuple(
        asn
        for asn in segment.asns
        if not (64512 <= asn <= 65534 or 4200000000 <= asn <= 4294967294)
    )
    return AsSegment(segment.kind, kept)
