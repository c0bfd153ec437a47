"""Flows as they were seen: the baseline that what-if and the recommender work on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Packet
from controlplane.policy.compile.reader import Reader


@dataclass(frozen=True, slots=True)
class Flow:
    """Openings of one kind: who asked whom for what in a VRF, how often, first and last when.

    Times are seconds since the epoch; `allowed` is what was done with the latest one.
    """

    zone: str
    source: IPAddress
    destination: IPAddress
    packet: Packet
    hits: int = 1
    first: float = 0.0
    last: float = 0.0
    allowed: bool = True


def forbidden(reader: Reader, flows: Iterable[Flow]) -> list[Flow]:
    """Established flows (as they were opened) that the tables no longer allow: end these."""
    return [
        flow
        for flow in flows
        if not reader.verdict(flow.zone, flow.source, flow.destination, flow.packet).allowed
    ]
