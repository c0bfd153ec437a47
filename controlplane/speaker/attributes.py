"""Path attributes: as ExaBGP reports them -> ``Attributes``, and back to what the child sends."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TypeVar

import msgspec

from controlplane.model.attributes import AsSegment, Attributes, Origin
from controlplane.model.rd import AdminKind, RouteTarget, SiteOfOrigin
from controlplane.speaker.wire import (
    Extended,
    PathSegment,
    ReportedAttributes,
    SentAttributes,
)

MOST_KNOWN = 8192
ROUTE_TARGET, SITE_OF_ORIGIN = 0x02, 0x03
HEX_DIGITS = 16

_BY_ASN2, _BY_ADMIN4 = Struct("!BBHI"), Struct("!BBIH")
_ORIGINS = {"igp": Origin.IGP, "egp": Origin.EGP, "incomplete": Origin.INCOMPLETE}
_KINDS = {"as-sequence": "sequence", "as-set": "set"}

Administered = TypeVar("Administered", RouteTarget, SiteOfOrigin)


class AttributeReader:
    """Reads a report's attributes, each different text once."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(ReportedAttributes).decode
        self._known: dict[bytes, Attributes] = {}

    def read(self, raw: msgspec.Raw) -> Attributes:
        """The attributes of an ``attribute`` object; equal text gives the very same object.

        ValueError (msgspec's errors are such) if it is not what ExaBGP writes.
        """
        text = bytes(raw)
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[text] = from_report(self._decode(text))
        return known


def from_report(report: ReportedAttributes) -> Attributes:
    """Attributes of the model; ValueError for an origin or a segment of an unknown kind."""
    if report.origin not in _ORIGINS:
        raise ValueError(f"origin {report.origin!r}")
    targets, sites, others = _sort_extended(report.extended_community)
    return Attributes(
        origin=_ORIGINS[report.origin],
        as_path=tuple(_segment(s) for s in report.as_path.values()),
        med=report.med,
        local_pref=report.local_preference,
        atomic_aggregate=report.atomic_aggregate,
        aggregator=report.aggregator,
        communities=tuple(report.community),
        route_targets=targets,
        sites_of_origin=sites,
        extended=others,
        large_communities=tuple(report.large_community),
        originator_id=report.originator_id,
        cluster_list=tuple(report.cluster_list),
    )


def _segment(segment: PathSegment) -> AsSegment:
    kind = _KINDS.get(segment.element)
    if kind is None:
        raise ValueError(f"AS_PATH segment {segment.element!r}")
    return AsSegment(kind, tuple(segment.value))


def _sort_extended(
    found: list[Extended],
) -> tuple[frozenset[RouteTarget], frozenset[SiteOfOrigin], tuple[str, ...]]:
    targets, sites, others = set(), set(), []
    for community in found:
        octets = community.value.to_bytes(8)
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


def to_send(attributes: Attributes) -> SentAttributes:
    """What the child is to send; ValueError for an extended community that is not 0x and 16 digits.

    The AS_PATH is sent as it is; an empty one becomes our own AS on an external session.
    """
    return SentAttributes(
        origin=int(attributes.origin),
        as_path=tuple((s.kind == "set", s.asns) for s in attributes.as_path),
        med=attributes.med,
        local_pref=attributes.local_pref,
        atomic_aggregate=attributes.atomic_aggregate,
        aggregator=attributes.aggregator,
        communities=attributes.communities,
        extended=tuple(sorted(_extended_values(attributes))),
        large=attributes.large_communities,
        originator_id=attributes.originator_id,
        cluster_list=attributes.cluster_list,
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
