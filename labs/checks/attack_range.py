"""What the range for attacks shows before anybody attacks: it is a working network."""

from __future__ import annotations

from collections.abc import Iterator

from labs.checks.reach import mesh
from labs.lab import RunningLab
from labs.topology import Check, Outcome

# The sites numbered 1 speak BGP, and only when an attack does it for them.
QUIET_SITES = (("red", 2), ("red", 3), ("blue", 2), ("blue", 3))


def reach(lab: RunningLab) -> Iterator[Outcome]:
    """The static sites find each other, so that silence under attack means a guard."""
    yield from mesh(lab, QUIET_SITES)


CHECKS: tuple[Check, ...] = (reach,)
