"""The map's columns: who stands left of whom, with work that grows with the arrows."""

from __future__ import annotations

from pe.draw.layout import place
from pe.draw.ranks import ranks_of
from tests.scale.work import lines


def everybody(count: int) -> list[tuple[str, str]]:
    names = [f"g{number:02}" for number in range(count)]
    return [(one, other) for one in names for other in names if one != other]


def steps_of(arrows: list[tuple[str, str]]) -> int:
    """Return lines of the layout that run for these arrows, loops included."""
    names = sorted({name for arrow in arrows for name in arrow})
    return lines(lambda: ranks_of(names, arrows))


def test_ranks_are_found_with_work_that_grows_with_the_arrows() -> None:
    """Ten groups that all call each other took 3 s, eleven 34 s: all ways were tried."""
    few, many = everybody(8), everybody(60)
    assert steps_of(many) / len(many) <= 3 * steps_of(few) / len(few)


def test_callers_stand_left_of_those_whom_they_call() -> None:
    arrows = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("e", "d")]
    found = ranks_of(list("abcdef"), arrows)
    assert all(found[one] < found[other] for one, other in arrows)
    assert found == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0, "f": 0}


def test_a_loop_is_opened_behind_who_calls_most_and_the_rest_keeps_its_order() -> None:
    loop = [("a", "b"), ("b", "c"), ("c", "a")]
    found = ranks_of(list("abcxy"), [*loop, ("x", "b"), ("c", "y"), ("a", "y")])
    assert found["x"] < found["b"]
    assert max(found["a"], found["c"]) < found["y"]
    back = [arrow for arrow in loop if found[arrow[0]] >= found[arrow[1]]]
    assert len(back) == 1


def test_sixty_groups_that_all_talk_and_four_hundred_arrows_are_drawn() -> None:
    whole = everybody(60)
    for arrows in (whole, whole[::9][:400]):
        layout = place(sorted({name for arrow in arrows for name in arrow}), arrows)
        assert len(layout.columns) <= 8
        assert set(layout.ways) == set(arrows)
