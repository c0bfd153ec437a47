"""Define a trial: an attack, the guard that has to stop it, and a legitimate packet of the same
shape. That packet has to pass before the attack, else the trial proves nothing, and after it: once
it has come out, the attack has been processed, so that no trial needs a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from controlplane.model.selftest_report import TrialView, Verdict
from pe.selftest.bench import Mark, SelftestBed
from pe.selftest.frame import Frame

Frames: TypeAlias = Callable[[Mark], list[bytes]]

SECONDS = 5.0
"""What a legitimate packet may take; neighbours are looked for on the way."""
TRIES = 10
COPIES = 2
AT_ONCE = 64
"""Frames between which the node does other things."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What trials are made with. ``packets`` reads a counter: table family and name, None if there
    is none of that name; ``read`` reads settings by path, None for those that do not exist."""

    bench: SelftestBed
    packets: Callable[[str, str], int | None]
    read: Callable[[Iterable[str]], dict[str, str | None]]


@dataclass(frozen=True, slots=True)
class Control:
    """Define a legitimate packet and the station where it comes out; ``shows`` recognizes it where
    it bears no mark."""

    origin: str
    frames: Frames
    at: str
    shows: Callable[[Frame], bool] | None = None

    async def passes(self, bench: SelftestBed) -> bool:
        """Send it until it comes out, a few times at most."""
        mark, start = bench.mark(), len(bench.received())

        def came() -> bool:
            return any(
                seen.station == self.at
                and (self.shows(seen.frame) if self.shows else mark.is_on(seen))
                for seen in bench.received()[start:]
            )

        for _ in range(TRIES):
            bench.send(self.origin, self.frames(mark))
            if await bench.until(came, SECONDS / TRIES):
                return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Define what all kinds have in common; ``family`` is the IP version, 0 for neither."""

    requirement: str
    sent: str
    family: int = 0

    async def judge(self, kit: Kit) -> TrialView:
        """Make the trial."""
        raise NotImplementedError

    def outcome(
        self, verdict: Verdict, evidence: str, counter: str = "", before: int = 0, after: int = 0
    ) -> TrialView:
        """Return the outcome of the trial."""
        return TrialView(
            requirement=self.requirement, sent=self.sent, family=self.family, verdict=verdict,
            evidence=evidence, counter=counter, before=before, after=after,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack(Trial):
    """Send frames that must not come out again. ``counter`` has to count each, or ``least`` of them
    if a rate limit lets some pass; it is "" if the kernel drops them itself. ``answers`` recognizes
    an answer that bears no mark."""

    origin: str
    frames: Frames
    control: Control
    counter: str = ""
    table: str = "netdev"
    copies: int = COPIES
    least: int = 0
    answers: Callable[[Frame], bool] | None = None

    async def judge(self, kit: Kit) -> TrialView:
        """Return *held* if the attack is not seen, not answered and counted."""
        bench, packets = kit.bench, kit.packets
        bench.forget()
        if not await self.control.passes(bench):
            return self.outcome(
                Verdict.UNPROVEN, "nor did the legitimate packet pass", self.counter
            )
        before = packets(self.table, self.counter) if self.counter else 0
        if before is None:
            return self.outcome(Verdict.NOT_HELD, "no such guard is in force", self.counter)
        mark, start = bench.mark(), len(bench.received())
        frames = [frame for _ in range(self.copies) for frame in self.frames(mark)]
        for start in range(0, len(frames), AT_ONCE):
            bench.send(self.origin, frames[start : start + AT_ONCE])
            await asyncio.sleep(0)
        if not await self.control.passes(bench):
            return self.outcome(Verdict.UNPROVEN, "the legitimate packet behind it was lost")
        seen = [s.station for s in bench.seen(mark)] if not self.least else []
        if self.answers:
            seen += [s.station for s in bench.received()[start:] if self.answers(s.frame)]
        after = (packets(self.table, self.counter) if self.counter else 0) or 0
        return self._judged(seen, len(frames), before, after)

    def _judged(self, seen: list[str], sent: int, before: int, after: int) -> TrialView:
        wanted = self.least or sent
        if self.origin in seen:
            verdict, evidence = Verdict.NOT_HELD, "it was answered"
        elif seen:
            verdict, evidence = Verdict.NOT_HELD, f"{len(seen)} of {sent} came out at {seen[0]}"
        elif self.counter and after - before < wanted:
            verdict, evidence = Verdict.NOT_HELD, f"{after - before} of {wanted} counted"
        else:
            verdict, evidence = Verdict.HELD, f"{sent} sent, none came out, none was answered"
        if verdict is Verdict.HELD and self.least:
            evidence = f"{sent} sent, {after - before} dropped"
        return self.outcome(verdict, evidence, self.counter, before, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Trial):
    """A packet that has to be dealt with in a certain way: something with its mark comes out at
    ``at``, for which ``shows`` holds, and nothing at any other port."""

    origin: str
    frames: Frames
    at: str
    shows: Callable[[Frame], bool]
    expected: str

    async def judge(self, kit: Kit) -> TrialView:
        """Return *held* if the packet comes out where and as it should, and nowhere else."""
        bench = kit.bench
        bench.forget()
        mark = bench.mark()

        def came() -> bool:
            return any(s.station == self.at and self.shows(s.frame) for s in bench.seen(mark))

        for _ in range(TRIES):
            bench.send(self.origin, self.frames(mark))
            if await bench.until(came, SECONDS / TRIES):
                break
        elsewhere = {seen.station for seen in bench.seen(mark)} - {self.at}
        if elsewhere:
            return self.outcome(Verdict.NOT_HELD, f"it came out at {', '.join(sorted(elsewhere))}")
        if not came():
            other = any(bench.seen(mark))
            evidence = f"not seen: {self.expected}"
            return self.outcome(
                Verdict.NOT_HELD, f"{evidence}; it came out otherwise" if other else evidence
            )
        return self.outcome(Verdict.HELD, self.expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Trial):
    """Check that kernel settings have these values; those that do not exist are left out."""

    wanted: dict[str, str]

    async def judge(self, kit: Kit) -> TrialView:
        """Return *held* if every setting has its value."""
        found = {path: value for path, value in kit.read(self.wanted).items() if value}
        wrong = [f"{p} is {v}" for p, v in found.items() if v != self.wanted[p]]
        if wrong or not found:
            return self.outcome(Verdict.NOT_HELD, "; ".join(wrong) or "there are no such settings")
        return self.outcome(Verdict.HELD, f"{len(found)} settings are as they should be")
