"""Where the boxes of one VRF stand: callers left, called right, few arrows backwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BOX_WIDTH, BOX_HEIGHT = 168, 58
COLUMN, ROW = 330, 112
MARGIN, TITLE = 36, 46


@dataclass(frozen=True, slots=True)
class Spot:
    """The upper left corner of a box."""

    x: float
    y: float

    @property
    def middle(self) -> float:
        """The height at which arrows arrive."""
        return self.y + BOX_HEIGHT / 2


def place(names: list[str], arrows: Iterable[tuple[str, str]], top: float) -> dict[str, Spot]:
    """Spots below `top`. Names must be unique; arrows join names."""
    pairs = sorted({(a, b) for a, b in arrows if a != b})
    ranks = _ranks(names, pairs)
    columns: dict[int, list[str]] = {}
    for name in names:
        columns.setdefault(ranks[name], []).append(name)
    order: dict[str, float] = {}
    spots: dict[str, Spot] = {}
    tallest = max(map(len, columns.values()), default=0)
    for column, rank in enumerate(sorted(columns)):
        members = sorted(columns[rank], key=lambda name: (_pull(name, pairs, order), name))
        shift = (tallest - len(members)) * ROW / 2
        for row, name in enumerate(members):
            order[name] = row + (tallest - len(members)) / 2
            spots[name] = Spot(MARGIN + column * COLUMN, top + TITLE + shift + row * ROW)
    return spots


def _ranks(names: list[str], pairs: list[tuple[str, str]]) -> dict[str, int]:
    """The longest way from somebody whom nobody calls; loops are cut where they close."""
    callers: dict[str, list[str]] = {name: [] for name in names}
    for source, destination in pairs:
        callers[destination].append(source)
    ranks: dict[str, int] = {}

    def rank(name: str, way: frozenset[str]) -> int:
        if name not in ranks:
            above = [rank(c, way | {name}) for c in callers[name] if c not in way | {name}]
            found = 1 + max(above, default=-1)
            if way and any(c in way for c in callers[name]):
                return found  # inside a loop: what is found depends on where it was entered
            ranks[name] = found
        return ranks[name]

    # Those who call most and are called least come first, so that loops open behind them.
    calls = {name: sum(a == name for a, _ in pairs) - len(callers[name]) for name in names}
    for name in sorted(names, key=lambda n: (-calls[n], n)):
        ranks[name] = rank(name, frozenset())
    return ranks


def _pull(name: str, pairs: list[tuple[str, str]], order: Mapping[str, float]) -> float:
    """The mean height of the callers that have a place already."""
    heights = [order[a] for a, b in pairs if b == name and a in order]
    return sum(heights) / len(heights) if heights else 0.0
