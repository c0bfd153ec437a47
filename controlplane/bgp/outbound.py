"""What a peer is told: the attributes of a route as they leave this node."""

from __future__ import annotations

import msgspec

from controlplane.bgp.decision import DEFAULT_LOCAL_PREF
from controlplane.bgp.path import Path
from controlplane.model.attributes import AsSegment, Attributes, Community
from controlplane.model.intent import PeerIntent
from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteTarget

NO_EXPORT: Community = (0xFFFF, 0xFF01)
NO_ADVERTISE: Community = (0xFFFF, 0xFF02)
NO_EXPORT_SUBCONFED: Community = (0xFFFF, 0xFF03)

LONGEST_SEGMENT = 255


def to_core(path: Path, export_targets: frozenset[RouteTarget]) -> Attributes | None:
    """A site's route as VPN route (RFC 4364 section 4.3): the VRF's targets and no others.

    None where the route may not leave this node (NO_ADVERTISE, RFC 1997).
    """
    attributes = path.attributes
    if NO_ADVERTISE in attributes.communities:
        return None
    preference = attributes.local_pref
    return msgspec.structs.replace(
        attributes,
        local_pref=DEFAULT_LOCAL_PREF if preference is None else preference,
        route_targets=export_targets,
    )


def to_ce(peer: PeerIntent, path: Path, prefix: Prefix) -> Attributes | None:
    """A VRF's route as a CE hears it, None where it may not.

    Not back to where it came from, not to a site with the same site of origin (RFC 4364 section
    8), not against the export policy (none: nothing, RFC 8212).
    """
    if path.source.peer == peer.peer or not peer.export_policy.accepts(prefix):
        return None
    if peer.site_of_origin in path.attributes.sites_of_origin:
        return None
    kept = path.attributes.communities
    if NO_ADVERTISE in kept or (
        peer.is_ebgp and not {NO_EXPORT, NO_EXPORT_SUBCONFED}.isdisjoint(kept)
    ):
        return None
    return ce_attributes(peer, path.attributes)


def ce_attributes(peer: PeerIntent, attributes: Attributes) -> Attributes:
    """The attributes alone: provider's own marks off, AS_PATH as an eBGP speaker makes it."""
    if not peer.is_ebgp:
        as_path, preference = attributes.as_path, attributes.local_pref or DEFAULT_LOCAL_PREF
    else:
        as_path, preference = _ebgp_path(peer, attributes.as_path), None
    return Attributes(
        origin=attributes.origin,
        as_path=as_path,
        local_pref=preference,
        atomic_aggregate=attributes.atomic_aggregate,
        aggregator=attributes.aggregator,
        communities=attributes.communities,
        large_communities=tuple(c for c in attributes.large_communities if c[0] != peer.local_as),
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
