"""Path attributes to send, as the node gives them -> ExaBGP's objects, which pack them."""

from __future__ import annotations

from struct import pack
from typing import Any

from controlplane.speaker.wire import PathAttributes
from controlplane.speaker.worker.surface import (
    ASN,
    CONFED_SEQUENCE,
    MED,
    SEQUENCE,
    SET,
    Aggregator,
    ASPath,
    AtomicAggregate,
    Attributes,
    ClusterID,
    ClusterList,
    Communities,
    Community,
    ExtendedCommunities,
    ExtendedCommunity,
    GenericAttribute,
    LargeCommunities,
    LargeCommunity,
    LocalPreference,
    Origin,
    OriginatorID,
    RouterID,
)

SEGMENTS = {kind.ID: kind for kind in (SET, SEQUENCE, CONFED_SEQUENCE)}


def build(sent: PathAttributes) -> Any:
    """Return ExaBGP's attribute objects; an absent AS_PATH becomes its default for the session."""
    attributes = Attributes()
    attributes.add(Origin(sent.origin))
    if sent.as_path:
        kinds = [(SEGMENTS[kind], asns) for kind, asns in sent.as_path]
        attributes.add(ASPath([kind([ASN(asn) for asn in asns]) for kind, asns in kinds]))
    if sent.med is not None:
        attributes.add(MED(sent.med))
    if sent.local_pref is not None:
        attributes.add(LocalPreference(sent.local_pref))
    if sent.atomic_aggregate:
        attributes.add(AtomicAggregate())
    if sent.aggregator is not None:
        asn, _, speaker = sent.aggregator.partition(":")
        attributes.add(Aggregator(ASN(int(asn)), RouterID(speaker)))
    _add_communities(attributes, sent)
    if sent.originator_id is not None:
        attributes.add(OriginatorID(sent.originator_id))
    if sent.cluster_list:
        attributes.add(ClusterList([ClusterID(cluster) for cluster in sent.cluster_list]))
    for flags, code, value in sent.unknown:
        attributes.add(GenericAttribute(code, flags, value))
    return attributes


def _add_communities(attributes: Any, sent: PathAttributes) -> None:
    if sent.communities:
        attributes.add(Communities([Community(pack("!HH", *c)) for c in sent.communities]))
    if sent.extended:
        octets = [value.to_bytes(8) for value in sent.extended]
        attributes.add(ExtendedCommunities([ExtendedCommunity(value) for value in octets]))
    if sent.large:
        attributes.add(LargeCommunities([LargeCommunity(pack("!LLL", *c)) for c in sent.large]))
