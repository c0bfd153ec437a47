"""Flows as they were observed, and the baselines that an operator records of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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


class Recorded(NamedTuple):
    """The answer to recording a baseline, and the names of those that were pruned for it."""

    baseline: Baseline
    pruned: tuple[str, ...] = ()


def prune(baselines: dict[str, Baseline]) -> tuple[str, ...]:
    """Remove the baselines beyond their bound; return their names."""
    by_end = sorted(baselines.values(), key=lambda each: (each.until, each.name))
    gone = tuple(each.name for each in by_end[: max(0, len(by_end) - MOST_BASELINES)])
    for name in gone:
        del baselines[name]
    return gone
