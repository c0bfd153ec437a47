"""Test that ruleset generations distinguish own changes from those of other processes."""

from __future__ import annotations

from pe.nft.generations import RulesetGenerations, following


def test_a_change_by_another_part_of_the_node_is_no_reason_to_look() -> None:
    known = RulesetGenerations()
    known.know("guards", 7)
    known.know("segment", 7)
    known.changed("segment", 7)
    assert known.is_known("guards", 8)
    assert known.is_known("segment", 8)


def test_another_programs_change_is_not_hidden_by_one_of_ours() -> None:
    known = RulesetGenerations()
    known.know("guards", 7)
    known.know("segment", 8)  # it looked after the stranger's change, the guards have not yet
    known.changed("segment", 8)
    assert not known.is_known("guards", 9)
    assert known.is_known("segment", 9)


def test_the_number_goes_round_and_is_never_nothing() -> None:
    assert [following(n) for n in (1, 0xFFFFFFFE, 0xFFFFFFFF)] == [2, 0xFFFFFFFF, 1]
    assert not RulesetGenerations().is_known("guards", 0)
