"""Path attributes of the model <-> what travels between the node and the worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TypeVar

import msgspec

from controlplane.model.attributes import AsSegment, Attributes, Origin
from controlplane.model.rd import AdminKind, RouteTarget, SiteOfOrigin
from controlplane.speaker.octet_cache import OctetCache
from controlplane.speaker.wire import PathAttributes

ROUTE_TARGET, SITE_OF_ORIGIN = 0x02, 0x03
HEX_DIGITS = 16
CACHE_OCTETS = 1 << 20
"""As JSON, which takes three times as much as on the wire."""
PARTIAL = 0x20
"""Set on an attribute that a speaker passes on without knowing it (RFC 4271 section 5)."""
SEGMENT_KINDS = {1: "set", 2: "sequence", 3: "confed-sequence"}
SEGMENT_TYPES = {kind: number for number, kind in SEGMENT_KINDS.items()}

_BY_ASN2, _BY_ADMIN4 = Struct("!BBHI"), Struct("!BBIH")

Administered = TypeVar("Administered", RouteTarget, SiteOfOrigin)


class AttributeReader:
    """Reads a report's attributes, each different text once."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(PathAttributes).decode
        self._known: OctetCache[bytes, Attributes] = OctetCache(CACHE_OCTETS)

    def read(self, raw: msgspec.Raw) -> Attributes:
        """Return the attributes of a report; equal text gives the very same object.

        ValueError (msgspec's errors are such) or OverflowError if it is not what a worker writes.
        """
        text = bytes(raw)
        known = self._known.get(text)
        if known is None:
            known = self._known.put(text, from_wire(self._decode(text)), len(text))
        return known


def from_wire(given: PathAttributes) -> Attributes:
    """Return attributes of the model; ValueError for an unknown origin or type of segment,
    OverflowError for a community of more than eight octets."""
    targets, sites, others = _sort_extended(given.extended)
    return Attributes(
        origin=Origin(given.origin),
        as_path=tuple(_segment(kind, asns) for kind, asns in given.as_path),
        med=given.med,
        local_pref=given.local_pref,
        atomic_aggregate=given.atomic_aggregate,
        aggregator=given.aggregator,
        communities=given.communities,
        route_targets=targets,
        sites_of_origin=sites,
        extended=others,
        large_communities=given.large,
        originator_id=given.originator_id,
        cluster_list=given.cluster_list,
        unknown=given.unknown,
    )


def _segment(number: int, asns: tuple[int, ...]) -> AsSegment:
    kind = SEGMENT_KINDS.get(number)
    if kind is None:
        raise ValueError(f"AS_PATH segment of type {number}")
    return AsSegment(kind, asns)


def _sort_extended(
    found: Iterable[int],
) -> tuple[frozenset[RouteTarget], frozenset[SiteOfOrigin], tuple[str, ...]]:
    targets, sites, others = set(), set(), []
    for value in found:
        octets = value.to_bytes(8)
        if octets[0] <= AdminKind.AS4 and octets[1] == ROUTE_TARGET:
            targets.add(_administered(octets, RouteTarget))
        elif octets[0] <= AdminKind.AS4 and octets[1] == SITE_OF_ORIGIN:
            sites.add(_administered(octets, SiteOfOrigin))
        else:
            others.append(f"0x{octets.hex()}")
    return frozenset(targets), frozenset(sites), tuple(others)


def _administered(octets: bytes, kind: type[Administered]) -> Administered:
    layout = _BY_ASN2 if octets[0] == AdminKind.AS2 else _BY_ADMIN4
    type_, _, admin, number = layout.unpack(octets)
    return kind(type_, admin, number)


def to_wire(attributes: Attributes) -> PathAttributes:
    """Return what the worker sends; ValueError for an extended community not of 16 digits.

    The AS_PATH is sent as it is; an empty one becomes our own AS on an external session.
    """
    return PathAttributes(
        origin=int(attributes.origin),
        as_path=tuple((SEGMENT_TYPES[s.kind], s.asns) for s in attributes.as_path),
        med=attributes.med,
        local_pref=attributes.local_pref,
        atomic_aggregate=attributes.atomic_aggregate,
        aggregator=attributes.aggregator,
        communities=attributes.communities,
        extended=tuple(sorted(_extended_values(attributes))),
        large=attributes.large_communities,
        originator_id=attributes.originator_id,
        cluster_list=attributes.cluster_list,
        unknown=tuple((flags | PARTIAL, code, value) for flags, code, value in attributes.unknown),
    )


def _extended_values(attributes: Attributes) -> Iterator[int]:
    for target in attributes.route_targets:
        yield _value(target, ROUTE_TARGET)
    for site in attributes.sites_of_origin:
        yield _value(site, SITE_OF_ORIGIN)
    for text in attributes.extended:
        digits = text.removeprefix("0x")
        if len(digits) != HEX_DIGITS or digits == text:
            raise ValueError(f"extended community {text!r}")
        yield int(digits, 16)


def _value(community: RouteTarget | SiteOfOrigin, subtype: int) -> int:
    layout = _BY_ASN2 if community.kind == AdminKind.AS2 else _BY_ADMIN4
    return int.from_bytes(layout.pack(community.kind, subtype, community.admin, community.number))
