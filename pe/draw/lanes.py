"""Ways for arrows that do not lead to the next column: above the boxes, or below them backwards.

Each such arrow goes through the gutter behind its box to a lane of its own, along it, and down the
gutter before the box that it is for: never through a box.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pe.draw.layout import BOX_HEIGHT, BOX_WIDTH, COLUMN, Spot

LANE = 22
ROUND = 9.0
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Way:
    """An SVG path, and where to write on it."""

    path: str
    x: float
    y: float


def span(start: Spot, end: Spot) -> int:
    """Columns from one box to another; negative ones lead back."""
    return round((end.x - start.x) / COLUMN)


def lanes(pairs: list[Pair], spots: Mapping[str, Spot], *, back: bool) -> dict[Pair, int]:
    """A lane for every pair that needs one: short ways inside, equal lanes where they fit."""
    wanted = [p for p in pairs if _needs(spots[p[0]], spots[p[1]], back=back)]
    wanted.sort(key=lambda p: (abs(span(spots[p[0]], spots[p[1]])), p))
    taken: list[list[tuple[float, float]]] = []
    found: dict[Pair, int] = {}
    for pair in wanted:
        low, high = sorted((spots[pair[0]].x, spots[pair[1]].x))
        lane = next((n for n, used in enumerate(taken) if _free(used, low, high)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        found[pair] = lane
    return found


def _needs(start: Spot, end: Spot, *, back: bool) -> bool:
    columns = span(start, end)
    return columns < 0 if back else columns > 1


def _free(used: list[tuple[float, float]], low: float, high: float) -> bool:
    return all(high <= first or last <= low for first, last in used)


def along(start: Spot, end: Spot, lane: int, height: float, shift: float) -> Way:
    """The way over the lane at `height`. `shift` keeps arrows at one box apart."""
    back = span(start, end) < 0
    out = start.x + (-1 if back else 1) * (14 + 7 * lane) + (0 if back else BOX_WIDTH)
    into = end.x + (1 if back else -1) * (14 + 7 * lane) + (BOX_WIDTH if back else 0)
    first = start.x + (0 if back else BOX_WIDTH)
    last = end.x + (BOX_WIDTH if back else 0)
    y1, y2 = start.middle + shift, end.middle + shift
    corners = [(first, y1), (out, y1), (out, height), (into, height), (into, y2), (last, y2)]
    return Way(_rounded(corners), (out + into) / 2, height - 5)


def _rounded(corners: list[tuple[float, float]]) -> str:
    x, y = corners[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        one, other = _towards(corner, before), _towards(corner, after)
        parts.append(f"L{one[0]:.1f} {one[1]:.1f}")
        parts.append(f"Q{corner[0]:.1f} {corner[1]:.1f} {other[0]:.1f} {other[1]:.1f}")
    parts.append(f"L{corners[-1][0]:.1f} {corners[-1][1]:.1f}")
    return "".join(parts)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """A point ROUND from the corner, or half the way if that is shorter."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = math.hypot(dx, dy) or 1.0
    part = min(ROUND, length / 2) / length
    return corner[0] + dx * part, corner[1] + dy * part


def next_column(start: Spot, end: Spot, number: int) -> Way:
    """A curve to the column beside, or within one column, or back to the same box."""
    lift = (number % 3 - 1) * 9.0
    if start == end:
        x, y = start.x + BOX_WIDTH / 2, start.y
        path = f"M{x - 34:.1f} {y} C{x - 40:.1f} {y - 34} {x + 40:.1f} {y - 34} {x + 34:.1f} {y}"
        return Way(path, x, y - 28)
    y1, y2 = start.middle + lift, end.middle + lift
    x1 = start.x + BOX_WIDTH
    if start.x == end.x:
        out = x1 + 70 + lift
        path = f"M{x1} {y1} C{out} {y1} {out} {y2} {x1} {y2}"
        return Way(path, out - 12, (start.y + end.y + BOX_HEIGHT) / 2)
    x2, bend = end.x, (end.x - x1) / 2
    path = f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return Way(path, (x1 + x2) / 2, (y1 + y2) / 2 - 6)
