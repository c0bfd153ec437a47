"""The node's commands, carried out one after the other as they arrive."""

from __future__ import annotations

import ipaddress
from struct import pack
from typing import Any

import msgspec
from exabgp.bgp.fsm import FSM
from exabgp.bgp.message.open import RouterID
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.capability import REFRESH
from exabgp.bgp.message.refresh import RouteRefresh
from exabgp.bgp.message.update.attribute import (
    MED,
    SEQUENCE,
    SET,
    Aggregator,
    ASPath,
    AtomicAggregate,
    Attributes,
    ClusterID,
    ClusterList,
    LocalPreference,
    NextHop,
    Origin,
    OriginatorID,
)
from exabgp.bgp.message.update.attribute.community import (
    Communities,
    Community,
    ExtendedCommunities,
    ExtendedCommunity,
    LargeCommunities,
    LargeCommunity,
)

from controlplane.speaker import wire
from controlplane.speaker.child.outgoing import NATIVE, Announcement, Marker, Withdrawal

CACHE_SIZE = 4096


class Commands:
    """Stands where ExaBGP has its text API."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._decode = msgspec.json.Decoder(wire.Command).decode
        self._sent = msgspec.json.Decoder(wire.SentAttributes).decode
        self._attributes: dict[bytes, Any] = {}

    def process(self, reactor: Any, service: str, line: bytes) -> None:
        """Carry out one line; what cannot be is reported, and nothing else happens."""
        del service
        try:
            command = self._decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            self._refuse("", f"unreadable command: {error}")
            return
        if isinstance(command, wire.Reload):
            reactor.reload()
            return
        peer = self._peer(command)
        if peer is None:
            return
        try:
            self._perform(peer, command)
        except (ValueError, OverflowError) as error:
            self._refuse(command.peer, f"{type(command).__name__}: {error}")

    def _peer(self, command: Any) -> Any:
        """The peer that is meant; None if its session is over, which the node will learn."""
        for name, peer in self._reactor._peers.items():
            if str(peer.neighbor["peer-address"]) == command.peer:
                current = self._reactor.processes.sessions.get(name, 0)
                established = peer.fsm == FSM.ESTABLISHED and current == command.session
                return peer if established else None
        return None

    def _perform(self, peer: Any, command: Any) -> None:
        queue = peer.neighbor.rib.outgoing
        match command:
            case wire.SendRoutes():
                attributes = self._parsed(command)
                queue.add(Announcement(command.family, command.next_hop, attributes, command.nlri))
            case wire.SendWithdraw():
                queue.add(Withdrawal(command.family, command.nlri))
            case wire.SendMarker():
                queue.add(Marker(command.family))
            case wire.SendRefresh() if peer.proto.negotiated.refresh == REFRESH.ABSENT:
                self._refuse(command.peer, "the peer does not know route refresh")
            case wire.SendRefresh():
                peer.neighbor.refresh.append(RouteRefresh(*command.family))
            case wire.Teardown():
                peer.teardown(command.subcode)

    def _parsed(self, command: wire.SendRoutes) -> Any:
        raw = bytes(command.attributes)
        key = raw + command.next_hop if command.family == NATIVE else raw
        attributes = self._attributes.get(key)
        if attributes is None:
            if len(self._attributes) >= CACHE_SIZE:
                self._attributes.clear()
            attributes = self._attributes[key] = build(self._sent(raw))
            if command.family == NATIVE:
                hop = str(ipaddress.IPv4Address(command.next_hop))
                attributes.add(NextHop(hop, command.next_hop))
        return attributes

    def _refuse(self, peer: str, reason: str) -> None:
        self._reactor.processes.tell(wire.Refused(peer, reason))


def build(sent: wire.SentAttributes) -> Any:
    """ExaBGP's attribute objects; an absent AS_PATH becomes its default for the session."""
    attributes = Attributes()
    attributes.add(Origin(sent.origin))
    if sent.as_path:
        kinds = [(SET if is_set else SEQUENCE, asns) for is_set, asns in sent.as_path]
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
    add_communities(attributes, sent)
    if sent.originator_id is not None:
        attributes.add(OriginatorID(sent.originator_id))
    if sent.cluster_list:
        attributes.add(ClusterList([ClusterID(cluster) for cluster in sent.cluster_list]))
    return attributes


def add_communities(attributes: Any, sent: wire.SentAttributes) -> None:
    """The three kinds of communities."""
    if sent.communities:
        attributes.add(Communities([Community(pack("!HH", *c)) for c in sent.communities]))
    if sent.extended:
        octets = [value.to_bytes(8) for value in sent.extended]
        attributes.add(ExtendedCommunities([ExtendedCommunity(value) for value in octets]))
    if sent.large:
        attributes.add(LargeCommunities([LargeCommunity(pack("!LLL", *c)) for c in sent.large]))
