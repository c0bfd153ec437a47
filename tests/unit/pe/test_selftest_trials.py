"""Test the evaluation of trials on a scripted bench, and the catalog of trials."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest

from controlplane.model.events import SelftestBegan
from controlplane.model.selftest_report import TrialView, Verdict
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.netlink.ownership import TABLE
from pe.nft.model import TableId
from pe.selftest import access, core, labels, settings, sources
from pe.selftest import frame as fr
from pe.selftest.bench import Mark, Seen, SelftestBed
from pe.selftest.catalog import NOT_TESTED, TRIED
from pe.selftest.maker import Maker
from pe.selftest.run import AREAS, order
from pe.selftest.trial import Attack, Control, Kit, Observation, Settings, Trial
from pe.selftest.world import B1, CORE, R1, R2, TAPS, SelftestBedSettings, scratch
from tests.unit.controlplane.rig import Rig, vrf
from tests.unit.documents.test_security import rows

AROUND = SelftestBedSettings(
    red=16099, blue=16098, unused=16097, loopbacks=("10.255.0.1", "2001:db8:ff::1"),
    peers=("10.255.0.2", "2001:db8:ff::2"), in_use=(16000, 16098, 16099),
)  # fmt: skip
COUNTER = "lbl_06__x"


@dataclass
class World:
    """What the guards would do: where frames with these first bytes come out, and what counts."""

    passes: dict[bytes, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=lambda: {COUNTER: 100})
    counted: tuple[bytes, ...] = (b"bad",)
    seen_now: list[Seen] = field(default_factory=list)
    numbers: int = 0

    def mark(self) -> Mark:
        self.numbers += 1
        return Mark(b"mark-%06d" % self.numbers, 40000 + self.numbers)

    def mac(self, _station: str) -> bytes:
        return bytes.fromhex("020000000001")

    def send(self, _station: str, frames: list[bytes]) -> None:
        for frame in frames:
            for start, at in self.passes.items():
                if frame.startswith(start):
                    self.seen_now.append(Seen(at, frame, fr.parse(frame)))
            if frame.startswith(self.counted) and COUNTER in self.counters:
                self.counters[COUNTER] += 1

    def seen(self, mark: Mark) -> Iterator[Seen]:
        return (s for s in self.seen_now if mark.is_on(s))

    def received(self) -> list[Seen]:
        return self.seen_now

    def forget(self) -> None:
        self.seen_now.clear()

    async def until(self, holds: Callable[[], bool], _seconds: float) -> bool:
        return holds()


def judged(trial: Trial, world: World, read: dict[str, str | None] | None = None) -> TrialView:
    def reader(paths: Iterable[str]) -> dict[str, str | None]:
        return {path: (read or {}).get(path) for path in paths}

    kit = Kit(cast(SelftestBed, world), lambda _table, name: world.counters.get(name), reader)
    return asyncio.run(trial.judge(kit))


def frames(start: bytes) -> Callable[[Mark], list[bytes]]:
    return lambda mark: [start + mark.token]


GOOD = Control(CORE, frames(b"good"), B1)
ATTACK = Attack(requirement="LBL-1", sent="x", origin=R1, frames=frames(b"bad"), control=GOOD,
                counter=COUNTER)  # fmt: skip


def test_held_when_it_is_counted_and_nothing_comes_out() -> None:
    found = judged(ATTACK, World({b"good": B1}))
    assert (found.verdict, found.before, found.after) == (Verdict.HELD, 100, 102)


def test_not_held_when_it_comes_out() -> None:
    found = judged(ATTACK, World({b"good": B1, b"bad": R2}))
    assert found.verdict is Verdict.NOT_HELD
    assert R2 in found.evidence


def test_not_held_when_the_sender_gets_an_answer() -> None:
    found = judged(ATTACK, World({b"good": B1, b"bad": R1}))
    assert (found.verdict, found.evidence) == (Verdict.NOT_HELD, "it was answered")


def test_not_held_when_it_is_not_counted() -> None:
    found = judged(ATTACK, World({b"good": B1}, counted=(b"other",)))
    assert (found.verdict, found.evidence) == (Verdict.NOT_HELD, "0 of 2 counted")


def test_not_held_without_its_guard() -> None:
    found = judged(ATTACK, World({b"good": B1}, counters={}))
    assert (found.verdict, found.evidence) == (Verdict.NOT_HELD, "no such guard is in force")


def test_unproven_when_the_legitimate_packet_is_dropped_too() -> None:
    assert judged(ATTACK, World()).verdict is Verdict.UNPROVEN


def test_an_answer_without_a_mark_counts() -> None:
    """As an ARP answer, which has no room for one."""
    answers = Attack(requirement="HIDE-5", sent="x", origin=R1, frames=frames(b"ask"), control=GOOD,
                     answers=lambda seen: seen.payload.startswith(b"xx"))  # fmt: skip

    def asked(mark: Mark) -> list[bytes]:
        return [b"ask" + bytes(11) + b"xx"]

    asking = Attack(requirement="HIDE-5", sent="x", origin=R1, frames=asked, control=GOOD,
                    answers=answers.answers)  # fmt: skip
    assert judged(asking, World({b"good": B1, b"ask": R1})).verdict is Verdict.NOT_HELD
    assert judged(asking, World({b"good": B1})).verdict is Verdict.HELD


def test_a_ration_lets_some_pass() -> None:
    flood = Attack(requirement="CPP-1", sent="x", origin=R1, control=GOOD, counter=COUNTER,
                   frames=lambda m: [b"bad" + m.token] * 40, copies=1, least=10)  # fmt: skip
    assert judged(flood, World({b"good": B1, b"bad": R1})).verdict is Verdict.HELD
    assert judged(flood, World({b"good": B1}, counted=(b"x",))).verdict is Verdict.NOT_HELD


@pytest.mark.parametrize(
    ("passes", "verdict"),
    [
        ({b"it": R2}, Verdict.HELD),
        ({b"it": B1}, Verdict.NOT_HELD),
        ({b"it": R2, b"it\x00": R2}, Verdict.HELD),
        ({}, Verdict.NOT_HELD),
    ],
)
def test_what_has_to_be_seen(passes: dict[bytes, str], verdict: Verdict) -> None:
    trial = Observation(requirement="ISO-1", sent="x", origin=R1, frames=frames(b"it"), at=R2,
                        shows=lambda _seen: True, expected="there")  # fmt: skip
    assert judged(trial, World(passes)).verdict is verdict
    wrong = Observation(requirement="ISO-1", sent="x", origin=R1, frames=frames(b"it"), at=R2,
                        shows=lambda _seen: False, expected="there")  # fmt: skip
    assert judged(wrong, World(passes)).verdict is Verdict.NOT_HELD


def test_settings() -> None:
    trial = Settings(requirement="LBL-17", sent="x", wanted={"a": "0", "b": "0", "c": "0"})
    assert judged(trial, World(), {"a": "0", "b": "0"}).verdict is Verdict.HELD
    found = judged(trial, World(), {"a": "0", "b": "1"})
    assert (found.verdict, found.evidence) == (Verdict.NOT_HELD, "b is 1")
    assert judged(trial, World(), {}).verdict is Verdict.NOT_HELD


def trials() -> list[Trial]:
    make = Maker(cast(SelftestBed, World()), AROUND)
    found: list[Trial] = []
    for room in (core, labels, sources, access):
        found += room.trials(make)
    return [*found, *labels.tagged(make), *access.floods(make),
            *settings.trials(["lo", "core0", R1], [CORE, "core0"])]  # fmt: skip


def test_every_requirement_is_tried_or_the_reason_is_given() -> None:
    tried = {trial.requirement for trial in trials()}
    assert tried == TRIED
    assert tried | NOT_TESTED.keys() == rows().keys()
    assert tried & NOT_TESTED.keys() == set()


def test_every_trial_can_be_made_and_bears_its_mark() -> None:
    mark = Mark(b"selftest-000001", 40001)
    for trial in trials():
        if isinstance(trial, Attack | Observation):
            made = trial.frames(mark)
            assert made
            assert all(len(frame) >= 14 for frame in made)
    closed = next(t for t in trials() if isinstance(t, Settings) and t.requirement == "LBL-17")
    assert closed.wanted == {"mpls/conf/lo/input": "0", f"mpls/conf/{R1}/input": "0"}


def test_order() -> None:
    names = ["LBL-10", "ISO-2", "LBL-9", "FAIL-1"]
    assert sorted(names, key=order) == ["ISO-2", "LBL-9", "LBL-10", "FAIL-1"]
    assert len(AREAS) == 12


def test_every_counter_is_one_that_the_product_renders() -> None:
    """Of the very ports that a selftest makes, in the family that it reads."""
    rig = Rig(vrf("red", 1)).started()
    rig.do(SelftestBegan(scratch(65000)))
    rendered = ruleset(RenderContext(rig.kernel, {*TAPS, R2, "lo"}))
    named = {(t.table, t.counter) for t in trials() if isinstance(t, Attack) and t.counter}
    assert len(named) > 15
    assert [n for n in named if n[1] not in rendered[TableId(n[0], TABLE)].counters] == []
