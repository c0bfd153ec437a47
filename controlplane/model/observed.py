"""Flows as they were observed, and the baselines that an operator records of them."""

from __future__ import annotations

from dataclasses import dataclass

from controlplane.model.prefix import IPAddress
from controlplane.model.workload import Packet


@dataclass(frozen=True, slots=True)
class Flow:
    """Openings of one kind in a VRF, how often, and when first and last.

    Times are seconds since the epoch; `allowed` is the verdict on the latest one.
    """

    zone: str
    source: IPAddress
    destination: IPAddress
    packet: Packet
    hits: int = 1
    first: float = 0.0
    last: float = 0.0
    allowed: bool = True


MOST_BASELINES = 32
"""Beyond it the baseline that ends first is pruned."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A span of time whose flows an operator declared good. `lost`: flows not recorded in it."""

    name: str
    since: float
    until: float
    who: str
    lost: int
    flows: tuple[Flow, ...] = ()


def prune(baselines: dict[str, Baseline]) -> None:
    """Remove the baselines beyond their bound."""
    by_end = sorted(baselines.values(), key=lambda each: (each.until, each.name))
    for baseline in by_end[: max(0, len(by_end) - MOST_BASELINES)]:
        del baselines[baseline.name]
