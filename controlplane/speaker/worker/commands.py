"""The node's commands, carried out one after the other as they arrive."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from controlplane.speaker import wire
from controlplane.speaker.attributes import CACHE_OCTETS
from controlplane.speaker.octet_cache import OctetCache
from controlplane.speaker.worker.attributes import build
from controlplane.speaker.worker.outgoing import NATIVE, Announcement, Marker, Withdrawal
from controlplane.speaker.worker.surface import FSM, REFRESH, NextHop, RouteRefresh


class Commands:
    """Stands where ExaBGP has its text API."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._decode = msgspec.json.Decoder(wire.Command).decode
        self._sent = msgspec.json.Decoder(wire.PathAttributes).decode
        self._attributes: OctetCache[bytes, Any] = OctetCache(CACHE_OCTETS)
        self._names: dict[str, str] = {}

    def index(self, peers: dict[str, Any]) -> None:
        """Note under which name ExaBGP has each peer, so that a command finds its own at once.

        A peer whose definition has changed is there twice until the old one has ended; the last
        is the new one.
        """
        self._names = {str(p.neighbor["peer-address"]): name for name, p in peers.items()}

    def process(self, reactor: Any, service: str, line: bytes) -> None:
        """Carry out one line; what cannot be is reported, and nothing else happens."""
        del service
        try:
            command = self._decode(line)
        except (msgspec.MsgspecError, ValueError) as error:
            self._refuse("", f"unreadable command: {error}")
            return
        if isinstance(command, wire.Configure):
            reactor.configure(command)
            return
        if isinstance(command, wire.Ask):
            reactor.processes.report(wire.Alive())
            return
        peer = self._peer(command)
        if peer is None:
            return
        try:
            self._perform(peer, command)
        except (ValueError, OverflowError) as error:
            self._refuse(command.peer, f"{type(command).__name__}: {error}")

    def _peer(self, command: Any) -> Any:
        """Return the peer that is meant; None if its session is over, which the node will learn."""
        name = self._names.get(command.peer, "")
        peer = self._reactor._peers.get(name)
        if peer is None or peer.fsm != FSM.ESTABLISHED:
            return None
        return peer if self._reactor.processes.sessions.get(name) == command.session else None

    def _perform(self, peer: Any, command: Any) -> None:
        queue = peer.neighbor.rib.outgoing
        match command:
            case wire.SendRoutes():
                attributes = self._parsed(command)
                routes = (command.family, command.next_hop, attributes, command.nlri)
                queue.add(Announcement(*routes, command.session))
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
            attributes = self._attributes.put(key, build(self._sent(raw)), len(key))
            if command.family == NATIVE:
                hop = str(ipaddress.IPv4Address(command.next_hop))
                attributes.add(NextHop(hop, command.next_hop))
        return attributes

    def _refuse(self, peer: str, reason: str) -> None:
        self._reactor.processes.report(wire.CommandRefused(peer, reason))
