"""What the packet-filter self-test found: one row per requirement and kind of packet."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol


class Verdict(enum.Enum):
    """What a trial of a selftest found. UNPROVEN: what should have passed did not pass either, so
    that nothing follows from what was dropped."""

    HELD = "held"
    NOT_HELD = "not held"
    UNPROVEN = "unproven"
    NOT_TESTED = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialView:
    """One requirement, one kind of packet. ``counter`` is that of the guard, with its packets
    before and after; "" where there is no counter. ``evidence`` is for people."""

    requirement: str
    sent: str
    verdict: Verdict
    evidence: str = ""
    counter: str = ""
    before: int = 0
    after: int = 0
    family: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """An auditor's evidence. Times are seconds of the epoch; ``config_digest`` is the SHA-256 of
    the configuration file in force."""

    node: str
    version: str
    kernel: str
    config_file: str
    config_digest: str
    began: float
    ended: float
    trials: tuple[TrialView, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many trials ended so."""
        return sum(trial.verdict is verdict for trial in self.trials)


class SelftestUnavailableError(Exception):
    """A selftest cannot be made now; the text says why."""


class SelftestBusyError(SelftestUnavailableError):
    """Another one is under way."""


class SelftestRunner(Protocol):
    """Who makes selftests (``pe.selftest``)."""

    async def run(self) -> SelftestReport:
        """Run one and remove all of it afterwards. Raises SelftestUnavailableError."""
        ...
