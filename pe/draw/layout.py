"""Place the boxes of one VRF: callers left, called right, in columns.

An arrow that leads further than to the next column has a place of its own in each column between
(a dummy, as in Sugiyama, Tagawa and Toda 1981), so it never runs through a box. Arrows back are
laid like arrows forth and drawn from their other end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pe.draw.ranks import Pair, ranks_of

BOX_WIDTH, BOX_HEIGHT = 150, 58
SLOT = 20
"""Between two arrows at one side of a box: a line of text fits."""
GAP, EDGES = 30, 18
"""Between two boxes of a column; and the part of a box's side that is left free."""
SWEEPS = 8
MOST_COLUMNS = 4


@dataclass(slots=True)
class Item:
    """Place a box, or an arrow in a column that it only crosses. ``y`` is its middle."""

    column: int
    name: str = ""
    y: float = 0.0
    left: list[Item] = field(default_factory=list)
    right: list[Item] = field(default_factory=list)
    aside: int = 0
    """Arrows to itself or to its own column: they are at the right as well."""

    @property
    def slots(self) -> int:
        """Return the number of arrows at its fuller side."""
        return max(len(self.left), len(self.right) + self.aside)

    @property
    def height(self) -> float:
        """Return the height of the box, which grows with its arrows."""
        return max(BOX_HEIGHT, self.slots * SLOT + EDGES) if self.name else SLOT


@dataclass(slots=True)
class Layout:
    """Hold boxes by name, columns of items in order, and for each arrow the items on its way,
    always from left to right."""

    boxes: dict[str, Item]
    columns: list[list[Item]]
    ways: dict[Pair, list[Item]]

    @property
    def height(self) -> float:
        """Return the room it takes; the uppermost item touches 0."""
        return max(item.y + item.height / 2 for column in self.columns for item in column)


def place(names: list[str], arrows: Iterable[Pair]) -> Layout:
    """Lay out unique names and the arrows that join them."""
    pairs = list(dict.fromkeys(arrows))
    ranks = _compact(ranks_of(names, pairs))
    boxes = {name: Item(ranks[name], name) for name in names}
    columns: list[list[Item]] = [[] for _ in range(max(ranks.values(), default=-1) + 1)]
    for name in sorted(names):
        columns[ranks[name]].append(boxes[name])
    ways = {pair: _way(boxes, columns, pair) for pair in pairs}
    for _ in range(SWEEPS):
        _order(columns)
    for number in range(2 * SWEEPS):
        _align(columns if number % 2 else columns[::-1])
    top = min((i.y - i.height / 2 for column in columns for i in column), default=0.0)
    for item in (item for column in columns for item in column):
        item.y -= top
    return Layout(boxes, columns, ways)


def _way(boxes: Mapping[str, Item], columns: list[list[Item]], pair: Pair) -> list[Item]:
    first, last = sorted((boxes[pair[0]], boxes[pair[1]]), key=lambda item: item.column)
    if first.column == last.column:
        for end in (boxes[pair[0]], boxes[pair[1]]):
            end.aside += 1
        return [boxes[pair[0]], boxes[pair[1]]]
    way = [first, *(Item(c) for c in range(first.column + 1, last.column)), last]
    for item in way[1:-1]:
        columns[item.column].append(item)
    for one, other in itertools.pairwise(way):
        one.right.append(other)
        other.left.append(one)
    return way


def _order(columns: list[list[Item]]) -> None:
    """Sort each column by the mean place of its neighbours, once from either side."""
    for sweep, side in ((columns, "left"), (columns[::-1], "right")):
        for column in sweep:
            column.sort(key=lambda item, side=side: _mean(getattr(item, side), item.y))  # type: ignore[misc]
            for row, item in enumerate(column):
                item.y = row - len(column) / 2


def _mean(neighbours: list[Item], otherwise: float) -> float:
    return sum(n.y for n in neighbours) / len(neighbours) if neighbours else otherwise


def _align(columns: list[list[Item]]) -> None:
    """Move items towards the middle of their neighbours as far as others leave room."""
    for column in columns:
        offsets = [0.0]
        for above, below in itertools.pairwise(column):
            gap = GAP if above.name and below.name else GAP / 2
            offsets.append(offsets[-1] + (above.height + below.height) / 2 + gap)
        wished = [_mean(item.left + item.right, item.y) for item in column]
        slack = _rising([wish - offset for wish, offset in zip(wished, offsets, strict=True)])
        for item, at, offset in zip(column, slack, offsets, strict=True):
            item.y = at + offset


def _rising(values: list[float]) -> list[float]:
    """Return the nearest sequence that never falls (pool adjacent violators)."""
    pools: list[list[float]] = []
    for value in values:
        pools.append([value, 1.0])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (one, n), (other, m) = pools[-2:]
            pools[-2:] = [[(one * n + other * m) / (n + m), n + m]]
    return [mean for mean, count in pools for _ in range(round(count))]


def _compact(ranks: Mapping[str, int]) -> dict[str, int]:
    """Remove empty columns, and merge neighbouring ones until there are hardly more than rows."""
    order = {rank: place for place, rank in enumerate(sorted(set(ranks.values())))}
    most = max(MOST_COLUMNS, math.ceil(math.sqrt(len(ranks))))
    share = min(1.0, most / len(order)) if order else 1.0
    return {name: int(order[rank] * share) for name, rank in ranks.items()}
