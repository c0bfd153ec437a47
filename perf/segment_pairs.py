"""Configurations compared pair by pair: figures of the same round only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perf.segment_results import Pace


@dataclass(frozen=True, slots=True)
class Ratio:
    """How one pace stands to another: the middle of all rounds, and between what nine of ten of
    them lie."""

    middle: float
    low: float
    high: float

    @property
    def below(self) -> float:
        """By which share it is slower."""
        return 1 - self.middle


def ratio(pace: Pace, other: Pace) -> Ratio:
    """Of two configurations, measured in the same rounds."""
    found = [a / b for a, b in zip(pace.rounds, other.rounds, strict=True)]
    return Ratio(median(found), percentile(found, 0.05), percentile(found, 0.95))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that so many do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
