"""Path attributes: ExaBGP's objects <-> what travels between the worker and the node."""

from __future__ import annotations

from struct import pack, unpack
from typing import Any

import msgspec

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
    Attribute,
    Attributes,
    ClusterID,
    ClusterList,
    Communities,
    Community,
    ExtendedCommunities,
    ExtendedCommunity,
    LargeCommunities,
    LargeCommunity,
    LocalPreference,
    Origin,
    OriginatorID,
    RouterID,
)

CODE = Attribute.CODE
SEGMENTS = {kind.ID: kind for kind in (SET, SEQUENCE, CONFED_SEQUENCE)}
_encode = msgspec.json.Encoder().encode


def rendered(attributes: Any) -> bytes:
    """The JSON of a received set, made once."""
    text: bytes | None = attributes.__dict__.get("bulkhead_json")
    if text is None:
        text = attributes.bulkhead_json = _encode(read(attributes))
    return text


def read(attributes: Any) -> PathAttributes:
    """What the node wants to know of a received set that was found fit."""
    get = attributes.get
    path, clusters, originator = get(CODE.AS_PATH), get(CODE.CLUSTER_LIST), get(CODE.ORIGINATOR_ID)
    aggregator = get(CODE.AGGREGATOR, get(CODE.AS4_AGGREGATOR))
    med, local_pref = get(CODE.MED), get(CODE.LOCAL_PREF)
    segments = path.aspath if path is not None else ()
    return PathAttributes(
        origin=attributes[CODE.ORIGIN].origin,
        as_path=tuple((s.ID, tuple(map(int, s))) for s in segments),
        med=None if med is None else int(med.med),
        local_pref=None if local_pref is None else int(local_pref.localpref),
        atomic_aggregate=CODE.ATOMIC_AGGREGATE in attributes,
        aggregator=None if aggregator is None else str(aggregator),
        communities=tuple(unpack("!HH", c.community) for c in get(CODE.COMMUNITY, ())),
        extended=tuple(int.from_bytes(c.community) for c in get(CODE.EXTENDED_COMMUNITY, ())),
        large=tuple(unpack("!LLL", c.large_community) for c in get(CODE.LARGE_COMMUNITY, ())),
        originator_id=None if originator is None else str(originator),
        cluster_list=tuple(map(str, clusters.clusters)) if clusters is not None else (),
    )


def build(sent: PathAttributes) -> Any:
    """ExaBGP's attribute objects; an absent AS_PATH becomes its default for the session."""
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
    return attributes


def _add_communities(attributes: Any, sent: PathAttributes) -> None:
    if sent.communities:
        attributes.add(Communities([Community(pack("!HH", *c)) for c in sent.communities]))
    if sent.extended:
        octets = [value.to_bytes(8) for value in sent.extended]
        attributes.add(ExtendedCommunities([ExtendedCommunity(value) for value in octets]))
    if sent.large:
        attributes.add(LargeCommunities([LargeCommunity(pack("!LLL", *c)) for c in sent.large]))
