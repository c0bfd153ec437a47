"""The ledger of revisions: moves, refusals and the trail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.model.revision import Entry, Signature, State
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.revision import Ledger, MoveError, Revision, enforced_in

SIGNED = Signature("ada", 1_700_000_000.0, "ticket 7")


def _with(*texts: str) -> tuple[Ledger, list[Revision]]:
    ledger, found = Ledger(), []
    for text in texts:
        ledger, revision = ledger.draft(parse_policy(f"rules: [{text}]"))
        found.append(revision)
    return ledger, found


def _states(ledger: Ledger, revisions: list[Revision]) -> list[str]:
    return [ledger.revisions[r.digest].state.value for r in revisions]


def test_the_road_from_draft_to_enforced_and_back() -> None:
    ledger, both = _with("allow any to any", "deny any to any")
    first, second = (revision.digest for revision in both)
    ledger = ledger.stage(first, SIGNED).promote(SIGNED)
    assert _states(ledger, both) == ["enforced", "draft"]
    ledger = ledger.stage(second[:8], SIGNED)
    assert _states(ledger, both) == ["enforced", "staged"]
    ledger = ledger.promote(SIGNED)
    assert _states(ledger, both) == ["superseded", "enforced"]
    ledger = ledger.roll_back(SIGNED)
    assert _states(ledger, both) == ["enforced", "superseded"]
    ledger = ledger.roll_back(SIGNED, second)
    assert _states(ledger, both) == ["superseded", "enforced"]
    assert [(e.move, e.before == first, e.after == second) for e in ledger.trail] == [
        ("stage", False, False),
        ("promote", False, False),
        ("stage", False, True),
        ("promote", True, True),
        ("rollback", False, False),
        ("rollback", True, True),
    ]


def test_staging_another_makes_the_staged_one_a_draft_again() -> None:
    ledger, both = _with("allow any to any", "deny any to any")
    ledger = ledger.stage(both[0].digest, SIGNED).stage(both[1].digest, SIGNED)
    assert _states(ledger, both) == ["draft", "staged"]
    assert ledger.unstage(SIGNED).in_state(State.STAGED) is None


def test_the_same_content_is_the_same_revision() -> None:
    ledger, both = _with("allow any to any", "allow any   to any")
    assert both[0] == both[1]
    assert len(ledger.revisions) == 1


def test_staging_twice_leaves_one_line_in_the_trail() -> None:
    ledger, (revision,) = _with("allow any to any")
    ledger = ledger.stage(revision.digest, SIGNED)
    assert ledger.stage(revision.digest, SIGNED) == ledger


THREE = ("log any to any", "allow any to any", "deny any to any")


def _enforcing(*rules: str) -> tuple[Ledger, list[str]]:
    """A ledger in which one rule after the other was enforced, and their digests."""
    ledger, revisions = _with(*rules)
    for revision in revisions:
        ledger = ledger.stage(revision.digest, SIGNED).promote(SIGNED)
    return ledger, [revision.digest for revision in revisions]


def _now(ledger: Ledger) -> str:
    enforced = ledger.in_state(State.ENFORCED)
    return enforced.digest if enforced else ""


def test_rolling_back_twice_goes_further_back_and_never_to_the_bad_revision() -> None:
    ledger, (first, second, bad) = _enforcing(
        "log any to any", "allow any to any", "deny any to any"
    )
    once = ledger.roll_back(SIGNED)
    assert _now(once) == second
    twice = once.roll_back(SIGNED)
    assert _now(twice) == first
    with pytest.raises(MoveError, match="no earlier"):
        twice.roll_back(SIGNED)
    forward = twice.roll_back(SIGNED, bad)
    assert _now(forward) == bad, "by name it can be had again"
    assert _now(forward.roll_back(SIGNED)) == first


def test_a_promotion_after_a_rollback_is_rolled_back_to_where_it_came_from() -> None:
    ledger, (first, second, third) = _enforcing(
        "log any to any", "allow any to any", "deny any to any"
    )
    back = ledger.roll_back(SIGNED, first)
    again = back.stage(third, SIGNED).promote(SIGNED)
    assert _now(again.roll_back(SIGNED)) == first
    assert second not in enforced_in(again.trail)


def test_a_rollback_that_is_all_that_the_trail_knows_of_leads_nowhere() -> None:
    ledger, _ = _enforcing("allow any to any", "deny any to any")
    short = replace(ledger.roll_back(SIGNED), trail=ledger.roll_back(SIGNED).trail[-1:])
    with pytest.raises(MoveError, match="no earlier"):
        short.roll_back(SIGNED)


def test_what_the_kernel_refused_was_not_enforced() -> None:
    ledger, (first, second) = _enforcing("allow any to any", "deny any to any")
    revert = Entry("revert", second, first, SIGNED)
    assert enforced_in((*ledger.trail, revert)) == [first]
    assert enforced_in(ledger.trail) == [first, second]


def test_staging_what_is_enforced_changes_nothing() -> None:
    ledger, (first, second) = _with("allow any to any", "deny any to any")
    enforced = ledger.stage(first.digest, SIGNED).promote(SIGNED)
    assert enforced.stage(first.digest, SIGNED) == enforced
    both = enforced.stage(second.digest, SIGNED)
    assert both.stage(first.digest, SIGNED) == both, "what is staged stays staged"


def test_moves_that_make_no_sense_are_refused() -> None:
    ledger, (first, second) = _with("allow any to any", "deny any to any")
    with pytest.raises(MoveError, match="nothing is staged"):
        ledger.promote(SIGNED)
    with pytest.raises(MoveError, match="no earlier"):
        ledger.roll_back(SIGNED)
    with pytest.raises(MoveError, match="no revision begins with 'ffffffff': see"):
        ledger.find("f" * 8)
    with pytest.raises(MoveError, match="give more of the digest"):
        ledger.find(first.digest[:3])
    with pytest.raises(MoveError, match="is draft"):
        ledger.roll_back(SIGNED, second.digest)
    with pytest.raises(MoveError, match="no revision begins"):
        ledger.stage("ffff" * 16, SIGNED)
    with pytest.raises(MoveError, match="2 revisions"):
        ledger.find("")
    enforced = ledger.stage(first.digest, SIGNED).promote(SIGNED)
    with pytest.raises(MoveError, match="no earlier"):
        enforced.roll_back(SIGNED)
