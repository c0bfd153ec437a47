"""When a destination has moved: it was seen on the new link, and not on the old one since."""

from __future__ import annotations

from perf.network import LINKS
from perf.probes import Seen

OLD, NEW = LINKS
RED, BLUE = (0, 0), (1, 0)


def seen(old: dict[tuple[int, int], float], new: dict[tuple[int, int], float]) -> Seen:
    return Seen(
        sorted(
            (at, link, *key)
            for link, found in ((OLD, old), (NEW, new))
            for key, at in found.items()
        )
    )


def test_all_on_the_new_link_is_moved() -> None:
    assert seen({RED: 1.0}, {RED: 2.0, BLUE: 2.0}).moved(OLD, NEW, 2)


def test_a_destination_that_was_not_seen_at_all_has_not_moved() -> None:
    assert not seen({}, {RED: 2.0}).moved(OLD, NEW, 2)


def test_one_that_came_back_to_the_old_link_has_not_moved() -> None:
    assert not seen({RED: 3.0}, {RED: 2.0, BLUE: 2.0}).moved(OLD, NEW, 2)


def test_the_path_has_moved_when_the_last_vrf_arrives_over_the_new_link() -> None:
    probes = seen({RED: 1.0, BLUE: 1.5}, {RED: 1.2, BLUE: 1.75, (0, 1): 1.8, (0, 2): 1.9})
    assert probes.last(OLD) == 1.5
    assert probes.all_on(NEW, 1.5) == 1.8
