"""Whose changes made the ruleset's number what it is.

Several parts of a node keep tables of their own, and the kernel counts the changes of all of
them, and of strangers, with one number (nft_net.base_seq). Each part knows up to which number
nobody touched its table; a change by another part of the same node moves that on, so that nobody
looks at its table again for it.
"""

from __future__ import annotations

import asyncio


def following(generation: int) -> int:
    """The ruleset's number after one more change (nft_base_seq_inc): 32 bits, never 0."""
    return generation % 0xFFFFFFFF + 1


class RulesetGenerations:
    """What the parts of one node know. ``turn`` is held while any of them changes rulesets."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._known: dict[str, int] = {}

    def know(self, part: str, generation: int) -> None:
        """A part has looked: its table is as it should be at that number."""
        self._known[part] = generation

    def is_known(self, part: str, generation: int) -> bool:
        """True if nobody but this node changed the ruleset since that part looked."""
        return self._known.get(part) == generation

    def changed(self, part: str, before: int) -> None:
        """A part made the one change that followed on a number: no other table was touched."""
        after = following(before)
        self._known |= {p: after for p, known in self._known.items() if known == before}
        self._known[part] = after
