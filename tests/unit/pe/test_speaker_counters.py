"""What the BGP processes count, as metrics."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address
from typing import Any

from controlplane.model.intent import PeerIntent
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Family
from controlplane.speaker.session import SessionSnapshot, WorkerSession
from pe.metrics.counters import meaning
from pe.view.counters import speaker_counters


class Speakers:
    """A pool with one session, which has sent three malformed UPDATEs."""

    def restarts(self) -> dict[str, int]:
        return {"red": 2}

    def snapshot(self) -> Iterator[SessionSnapshot]:
        session = WorkerSession(
            PeerIntent(
                peer=PeerId("red", ip_address("10.0.0.2")),
                asn=65001,
                local_address=IPv4Address("10.0.0.1"),
                local_as=65000,
                families=(Family.IPV4_UNICAST,),
            ),
            0.0,
        )
        session.malformed, session.too_large = 3, 4
        yield session.snapshot()


def test_malformed_updates_are_counted_by_neighbour() -> None:
    speakers: Any = Speakers()
    found = [(c.name, c.value, c.labels) for c in speaker_counters(speakers)]
    assert found == [
        ("speaker_restarts", 2, {"vrf": "red"}),
        ("bgp_updates_malformed", 3, {"vrf": "red", "neighbor": "10.0.0.2"}),
        ("bgp_routes_too_large", 4, {"vrf": "red", "neighbor": "10.0.0.2"}),
    ]
    assert all(meaning(name) for name, _, _ in found)
