"""Labels: kept, held down after release, reused by the same VRF only, refused if none is free."""

from __future__ import annotations

import pytest

from controlplane.model.effects import Answer, LogEvent, SaveLabels
from controlplane.model.events import IntentChanged
from controlplane.model.instant import BootTime
from controlplane.model.label import LabelBlock, LabelLedger
from controlplane.model.rd import parse_rd
from controlplane.vpn.labels import LabelAllocator, LabelsExhaustedError, zone_of
from tests.unit.controlplane.rig import PE2, Rig, node, static, vrf

BLOCK = LabelBlock(100, 103)


def at(seconds: float, boot: str = "boot-1") -> BootTime:
    return BootTime(boot, seconds)


def allocator(ledger: LabelLedger | None = None, block: LabelBlock = BLOCK) -> LabelAllocator:
    return LabelAllocator(block, 600, ledger or LabelLedger())


def test_every_vrf_has_its_own_and_keeps_it() -> None:
    labels = allocator()
    assert labels.assign(["a", "b"], at(0)) == {"a": 100, "b": 101}
    assert labels.assign(["b", "c", "a"], at(1)) == {"b": 101, "c": 102, "a": 100}


def test_a_freed_label_is_held_down_before_another_vrf_gets_it() -> None:
    labels = allocator()
    labels.assign(["a"], at(0))
    labels.assign([], at(10))
    assert labels.assign(["b"], at(11)) == {"b": 101}
    assert labels.assign(["b", "c"], at(609.9))["c"] == 102
    assert labels.assign(["b", "c", "d"], at(610))["d"] == 100


def test_the_same_vrf_gets_its_held_down_label_back() -> None:
    labels = allocator()
    labels.assign(["a", "b"], at(0))
    labels.assign(["a"], at(10))
    assert labels.assign(["c", "b", "a"], at(20)) == {"c": 102, "b": 101, "a": 100}


def test_after_a_reboot_the_uptime_counts_for_the_hold_down() -> None:
    labels = allocator(LabelLedger({}, {100: (at(5000.0), "a")}))
    assert labels.assign(["b"], at(20, "boot-2"))["b"] == 101
    assert labels.assign(["b", "c"], at(599, "boot-2"))["c"] == 102
    assert labels.assign(["b", "c", "d"], at(600, "boot-2"))["d"] == 100


@pytest.mark.parametrize("released", [at(0, ""), at(9000)], ids=["unknown-boot", "clock-set-back"])
def test_a_release_that_cannot_be_dated_is_held_down_in_full_once(released: BootTime) -> None:
    labels = allocator(LabelLedger({}, {100: (released, "a")}))
    assert labels.assign(["b"], at(1000))["b"] == 101
    assert labels.assign(["b", "c"], at(1599))["c"] == 102
    assert labels.assign(["b", "c", "d"], at(1600))["d"] == 100


def test_no_label_left_is_an_error_that_says_why() -> None:
    labels = allocator()
    labels.assign(["a", "b"], at(0))
    with pytest.raises(LabelsExhaustedError, match=r"100-103 \(2 are in hold-down\)"):
        labels.assign(["c", "d", "e"], at(1))


def test_a_label_outside_a_new_block_is_held_down_too() -> None:
    ledger = LabelLedger({"a": 100}, {})
    moved = allocator(ledger, LabelBlock(200, 203))
    assert moved.assign(["a"], at(0)) == {"a": 200}
    assert ledger.held_down == {100: (at(0), "a")}
    back = allocator(ledger)
    assert back.assign(["b", "a"], at(10)) == {"b": 101, "a": 100}


def test_zones_are_never_shared_and_never_that_of_the_core() -> None:
    labels = LabelAllocator(LabelBlock(65534, 200_000), 600, LabelLedger({"old": 131_073}))
    given = labels.assign(["old", *"abcdef"], at(0))
    zones = [zone_of(label) for label in given.values()]
    assert 0 not in zones
    assert len(set(zones)) == len(zones)
    assert given == {
        "old": 131_073, "a": 65534, "b": 65535, "c": 65538, "d": 65539, "e": 65540, "f": 65541,
    }  # fmt: skip


# -- in the router ------------------------------------------------------------------------------


def test_a_restart_keeps_every_label() -> None:
    rig = Rig(vrf("red", 1), vrf("blue", 2))
    (saved,) = rig.actions(SaveLabels)
    again = Rig(vrf("blue", 2), vrf("red", 1), ledger=LabelLedger(saved.held, saved.held_down))
    assert again.actions(SaveLabels) == []
    assert {b.vrf: label for label, b in again.kernel.labels.items()} == saved.held


def test_a_label_is_never_taken_over_from_one_vrf_by_the_next() -> None:  # ISO-11
    rig = Rig(vrf("red", 1))
    rig.reload(node(vrf("green", 3)))
    assert {int(label): b.vrf for label, b in rig.kernel.labels.items()} == {16001: "green"}
    assert rig.actions(SaveLabels)[0].held_down == {16000: (rig.boot, "red")}
    rig.wait(600)
    rig.reload(node(vrf("green", 3), vrf("blue", 2)))
    assert {int(label): b.vrf for label, b in rig.kernel.labels.items()} == {
        16001: "green", 16000: "blue",
    }  # fmt: skip


@pytest.mark.parametrize("step", [86400.0, -86400.0])
def test_a_step_of_the_wall_clock_neither_ends_nor_prolongs_a_hold_down(step: float) -> None:
    rig = Rig(vrf("red", 1))
    rig.reload(node(vrf("green", 3)))
    rig.wall += step
    rig.reload(node(vrf("green", 3), vrf("blue", 2)))
    assert {b.vrf: label for label, b in rig.kernel.labels.items()}["blue"] == 16002
    rig.wait(600)
    rig.reload(node(vrf("green", 3), vrf("blue", 2), vrf("grey", 4)))
    assert {b.vrf: label for label, b in rig.kernel.labels.items()}["grey"] == 16000


SMALL = LabelBlock(16000, 16001)


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (node(vrf("a", 1), vrf("b", 2), vrf("c", 3), label_block=SMALL), "no free label"),
        (node(vrf("a", 1), vrf("a", 2)), "VRF name a of a is also that of a"),
        (node(vrf("a", 1), vrf("b", 2, rd=parse_rd("65000:1"))), "route distinguisher 65000:1"),
        (node(vrf("a", 1, table=77), vrf("b", 2, table=77)), "table 77 of b is also that of a"),
    ],
)
def test_an_impossible_intent_is_refused_whole(intent: object, reason: str) -> None:
    statics = (static("10.1.0.0/24"),)
    rig = Rig(vrf("a", 1, static_routes=statics), label_block=SMALL).ready()
    before = (rig.router.intent, rig.table("a"), rig.router.ledger, rig.router.next_deadline)
    rig.do(IntentChanged(intent, ticket=7))  # type: ignore[arg-type]
    notice, answer = rig.last.actions
    assert notice.event == "intent_refused"  # type: ignore[union-attr]
    why = notice.fields["reason"]  # type: ignore[union-attr]
    assert isinstance(why, str)
    assert reason in why
    assert isinstance(answer, Answer)
    assert (answer.ticket, str(answer.error)) == (7, why)
    assert not rig.last.delta
    assert before == (
        rig.router.intent,
        rig.table("a"),
        rig.router.ledger,
        rig.router.next_deadline,
    )
    assert rig.received_by(PE2) == {"65000:1 10.1.0.0/24"}


def test_a_first_intent_that_is_refused_leaves_nothing() -> None:
    rig = Rig(vrf("a", 1), vrf("a", 1))
    assert rig.router.intent is None
    assert rig.notices() == ["intent_refused"]
    rig.reload(node(vrf("a", 1)))
    assert list(rig.kernel.vrfs) == ["a"]


def test_a_table_number_is_not_given_out_as_a_label() -> None:
    rig = Rig(vrf("a", 1, table=16000), vrf("b", 2))
    assert {v.name: v.table for v in rig.kernel.vrfs.values()} == {"a": 16000, "b": 16002}
    assert {b.vrf: label for label, b in rig.kernel.labels.items()} == {"a": 16001, "b": 16002}


def test_a_table_is_not_handed_over_from_one_vrf_to_another_in_one_reload() -> None:
    rig = Rig(vrf("red", 1, table=77))
    rig.reload(node(vrf("blue", 2, table=77)))
    assert rig.notices() == ["intent_refused"]
    reason = str(rig.actions(LogEvent)[0].fields["reason"])
    assert "table 77 of blue is that of red until now" in reason
    assert list(rig.kernel.vrfs) == ["red"]
    rig.reload(node(vrf("red", 1, table=77), vrf("blue", 2, table=78)))
    rig.reload(node(vrf("red", 1, table=78), vrf("blue", 2, table=77)))  # nor swapped
    assert rig.notices() == ["intent_refused"]
    rig.reload(node(vrf("blue", 2, table=78)))
    rig.reload(node(vrf("blue", 2, table=77)))
    assert {v.name: v.table for v in rig.kernel.vrfs.values()} == {"blue": 77}
