"""Counters are read over a socket of their own, also while a thread writes a batch."""

from __future__ import annotations

from typing import cast

from pe.nft.model import TableId
from pe.nft.owner import RulesetOwner
from pe.nft.reader import CounterView, RulesetReader
from pe.policy.manager import PolicyMapManager
from tests.parts import LonePart


class Busy:
    """A socket over which a batch is on its way: its next answer is the acknowledgement."""

    def counters(self, _table: TableId) -> list[CounterView]:
        raise AssertionError("the reading took the acknowledgement of a batch")


class Free:
    def counters(self, table: TableId) -> list[CounterView]:
        return [CounterView(table.family, "judged_10", 3, 100)]


def test_a_scrape_does_not_read_from_the_socket_that_writes() -> None:
    rulesets, part = RulesetOwner(), LonePart()
    rulesets.reader = cast(RulesetReader, Busy())
    rulesets._readings = cast(RulesetReader, Free())
    manager = PolicyMapManager(log=lambda *_: None, part=part, flows=part, rulesets=rulesets)
    assert manager.counters() == {"judged_10": 3}
