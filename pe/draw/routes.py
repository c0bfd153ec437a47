"""Route arrows between placed boxes, and place their labels.

Each side of a box has a slot for each arrow. Between two columns there is room for what arrows
from the left say, then for curves, then for what arrows from the right say: so no text ever lies
on another or on an arrow that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pe.draw.layout import BOX_WIDTH, SLOT, Item, Layout
from pe.draw.ranks import Pair

CURVE = 80
CHARACTER = 6.2
"""Of a label, in its small print."""
STUB, ASIDE = 16, 7


@dataclass(frozen=True, slots=True)
class Way:
    """An SVG path, and where to write beside it; ``anchor`` is the end of the text that is
    there."""

    path: str
    x: float
    y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Routes:
    """Hold the left sides of the columns (``lefts``) and the right end of the last one."""

    lefts: list[float]
    right: float
    ways: dict[Pair, Way]


def route(layout: Layout, labels: Mapping[Pair, str], left: float, top: float) -> Routes:
    """Return ways for all arrows of a layout whose upper left corner is at (left, top)."""
    room = _room(layout, labels)
    lefts = [left]
    for out, into in room[:-1]:
        lefts.append(lefts[-1] + BOX_WIDTH + out + CURVE + into)
    lay = _Router(layout, lefts, room, top)
    ways = {pair: lay.way(pair) for pair in layout.ways}
    return Routes(lefts, lefts[-1] + BOX_WIDTH + room[-1][0], ways)


def _room(layout: Layout, labels: Mapping[Pair, str]) -> list[tuple[float, float]]:
    """Return the room behind each column for labels of arrows to the right and to the left."""
    out, into = ([float(STUB)] * len(layout.columns) for _ in range(2))
    out[-1] = 0.0
    asides = [0] * len(layout.columns)
    for (source, destination), way in layout.ways.items():
        wide = len(labels[source, destination]) * CHARACTER + STUB
        column, start = layout.boxes[source].column, layout.boxes[source]
        if way[0].column == way[-1].column:
            asides[column] += 1
            out[column] = max(out[column], wide + 2 * STUB)
        elif start is way[0]:
            out[column] = max(out[column], wide)
        else:
            into[column - 1] = max(into[column - 1], wide)
    out = [room + ASIDE * count for room, count in zip(out, asides, strict=True)]
    return list(zip(out, into, strict=True))


class _Router:
    """Assign slots: arrows that go up get the upper ones, so that few cross."""

    def __init__(
        self, layout: Layout, lefts: list[float], room: list[tuple[float, float]], top: float
    ) -> None:
        self._layout, self._lefts, self._room, self._top = layout, lefts, room, top
        self._asides = [0] * len(lefts)
        self._slots: dict[tuple[Pair, int, str], float] = {}
        for name, box in layout.boxes.items():
            self._share(name, box)

    def _share(self, name: str, box: Item) -> None:
        sides: dict[str, list[tuple[float, int, Pair]]] = {"left": [], "right": []}
        for number, (pair, way) in enumerate(self._layout.ways.items()):
            if name not in pair:
                continue
            if way[0].column == way[-1].column:
                other = way[1] if way[0] is box else way[0]
                mark = 0 if pair[0] == name else 1
                sides["right"].append((other.y, 2 * number + mark, pair))
                if pair[0] == pair[1]:
                    sides["right"].append((other.y, 2 * number + 1, pair))
            elif way[0] is box:
                sides["right"].append((way[1].y, 2 * number, pair))
            else:
                sides["left"].append((way[-2].y, 2 * number, pair))
        for side, found in sides.items():
            for row, (_, mark, pair) in enumerate(sorted(found)):
                y = self._top + box.y + (row - (len(found) - 1) / 2) * SLOT
                self._slots[pair, mark % 2 if side == "right" else 0, side + name] = y

    def way(self, pair: Pair) -> Way:
        """Return the way of one arrow."""
        items, source = self._layout.ways[pair], self._layout.boxes[pair[0]]
        if items[0].column == items[-1].column:
            return self._aside(pair, source)
        back = source is items[-1]
        heights = [self._top + item.y for item in items]
        heights[0] = self._slots[pair, 0, "right" + items[0].name]
        heights[-1] = self._slots[pair, 0, "left" + items[-1].name]
        points = [*self._points(items, heights)]
        path = _drawn(points[::-1] if back else points)
        x, y = points[-1] if back else points[0]
        return Way(path, x - 8 if back else x + 8, y - 5, "end" if back else "start")

    def _points(self, items: list[Item], heights: list[float]) -> Iterable[tuple[float, float]]:
        """Return points for straight lines beside and through columns; curves between them."""
        for place, (item, y) in enumerate(zip(items, heights, strict=True)):
            x, (out, _) = self._lefts[item.column], self._room[item.column]
            if place:
                yield x - self._room[item.column - 1][1], y
            if place == len(items) - 1:
                yield x, y
            else:
                if not place:
                    yield x + BOX_WIDTH, y
                yield x + BOX_WIDTH + out, y

    def _aside(self, pair: Pair, source: Item) -> Way:
        x = self._lefts[source.column] + BOX_WIDTH
        y1, y2 = (self._slots[pair, mark, "right" + name] for mark, name in enumerate(pair))
        self._asides[source.column] += 1
        out = x + self._room[source.column][0] - STUB - ASIDE * self._asides[source.column]
        path = f"M{x:.1f} {y1:.1f}H{out:.1f}"
        path += f"C{out + STUB:.1f} {y1:.1f} {out + STUB:.1f} {y2:.1f} {out:.1f} {y2:.1f}"
        return Way(f"{path}H{x:.1f}", x + 8, y1 - 5, "start")


def _drawn(points: list[tuple[float, float]]) -> str:
    """Return a path: a line to the first point, then curves and lines in turn."""
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for number, (x2, y2) in enumerate(points[1:]):
        if number % 2 == 0:
            parts.append(f"H{x2:.1f}")
        else:
            bend = (x2 - x) / 2
            parts.append(f"C{x + bend:.1f} {y:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}")
        x, y = x2, y2
    return "".join(parts)
