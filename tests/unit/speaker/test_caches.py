"""What is kept of attributes is bounded in octets: a peer chooses how many and how long they are.

One CE that announces one prefix again and again, each time with nearly a thousand other
communities, must not make the worker or the node grow.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from controlplane.model.attributes import Attributes as ModelAttributes
from controlplane.model.attributes import Nlri
from controlplane.model.effects import Announce
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family, parse_address, parse_prefix
from controlplane.speaker import wire
from controlplane.speaker.attributes import CACHE_OCTETS as JSON_OCTETS
from controlplane.speaker.attributes import AttributeReader
from controlplane.speaker.commands import CommandQueue
from controlplane.speaker.octet_cache import CACHE_OCTETS, OctetCache
from controlplane.speaker.worker import surface, updates
from controlplane.speaker.worker.commands import Commands
from labs.attack import bgp
from labs.attack.cases import CE4
from tests.unit.speaker.test_rfc7606 import Negotiated

FLOOD, COMMUNITIES = 100, 985


def communities(turn: int) -> list[tuple[int, int]]:
    return [(turn + 1, n) for n in range(COMMUNITIES)]


def test_the_worker_is_bounded(reports: list[wire.Malformed]) -> None:
    negotiated: Any = Negotiated(CE4)
    hop = bgp.attribute(3, CE4.next_hop)
    for turn in range(FLOOD):
        packed = b"".join(struct.pack("!HH", *c) for c in communities(turn))
        body = bgp.update(CE4.basis + hop + bgp.attribute(8, packed), CE4.nlri())[19:]
        updates.decode(body, surface.Direction.IN, negotiated)
    assert reports == []
    cache = negotiated.bulkhead_attributes
    assert CACHE_OCTETS / 2 < cache.octets <= CACHE_OCTETS


def test_the_node_is_bounded() -> None:
    reader = AttributeReader()
    for turn in range(FLOOD):
        sent = wire.PathAttributes(communities=tuple(communities(turn)))
        reader.read(msgspec.Raw(msgspec.json.encode(sent)))
    assert 0 < reader._known.octets <= JSON_OCTETS


def test_commands_are_bounded_at_both_ends() -> None:
    queue, peer = CommandQueue(1000), PeerId("red", parse_address("10.0.0.9"))
    commands = Commands(None)
    route, hop = Nlri(parse_prefix("10.1.0.0/16")), parse_address("10.0.0.1")
    for turn in range(FLOOD):
        attributes = ModelAttributes(communities=tuple(communities(turn)))
        queue.put(1, Announce(peer, Family.IPV4_UNICAST, hop, attributes, [route]))
        command = msgspec.json.decode(queue.take(1 << 20), type=wire.Command)
        assert isinstance(command, wire.SendRoutes)
        commands._parsed(command)
    for cache in (queue._known, commands._attributes):
        assert 0 < cache.octets <= JSON_OCTETS


def test_equal_octets_give_the_same_object_until_there_is_no_room() -> None:
    cache: OctetCache[bytes, object] = OctetCache(100)
    first, second = object(), object()
    assert cache.get(b"x") is None
    assert cache.put(b"x", first, 60) is first
    assert cache.get(b"x") is first
    cache.put(b"y", second, 60)
    assert (cache.get(b"x"), cache.get(b"y"), cache.octets) == (None, second, 60)
    cache.put(b"z", first, 101)
    assert cache.get(b"z") is None, "what alone is too long is not kept"
    assert cache.get(b"y") is second
