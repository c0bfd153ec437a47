"""When a destination has moved: it was seen on the new link, and not on the old one since."""

from __future__ import annotations

from perf.network import LINKS
from perf.probes import Seen

OLD, NEW = LINKS
RED, BLUE = (0, 0), (1, 0)


def seen(old: dict[tuple[int, int], float], new: dict[tuple[int, int], float]) -> Seen:
    return Seen({OLD: old, NEW: new})


def test_all_on_the_new_link_is_moved() -> None:
    assert seen({RED: 1.0}, {RED: 2.0, BLUE: 2.0}).moved(OLD, NEW, 2)


def test_a_destination_that_was_not_seen_at_all_has_not_moved() -> None:
    assert not seen({}, {RED: 2.0}).moved(OLD, NEW, 2)


def test_one_that_came_back_to_the_old_link_has_not_moved() -> None:
    assert not seen({RED: 3.0}, {RED: 2.0, BLUE: 2.0}).moved(OLD, NEW, 2)
