"""The rulesets' sockets: one user at a time, and counters over one of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pe.nft import owner
from pe.nft.diff import Operation
from pe.nft.model import NamedSet, Table, TableId
from pe.nft.owner import RulesetOwner
from pe.nft.reader import CounterView
from pe.policy.manager import PolicyMapManager
from pe.policy.program import TABLE
from tests.parts import LonePart


class Reader:
    """A socket; while a batch is on its way over it, its next answer is the acknowledgement."""

    busy = False

    def counters(self, table: TableId) -> list[CounterView]:
        assert not self.busy, "the reading took the acknowledgement of a batch"
        return [CounterView(table.family, "judged_10", 3, 100)]


def manager_of(rulesets: RulesetOwner) -> PolicyMapManager:
    part = LonePart()
    return PolicyMapManager(log=lambda *_: None, part=part, flows=part, rulesets=rulesets)


def test_a_scrape_does_not_read_from_the_socket_that_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, "RulesetReader", Reader)
    monkeypatch.setattr(owner, "RulesetWriter", Reader)
    rulesets = RulesetOwner()
    rulesets.open()
    for each in (rulesets.reader, rulesets.writer):
        monkeypatch.setattr(each, "busy", True, raising=False)
    assert manager_of(rulesets).counters() == {"judged_10": 3}


def test_a_change_of_maps_waits_while_a_thread_loads_the_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sockets are the same: an accepted promotion was once reported as refused."""
    rulesets, sent = RulesetOwner(), list[Sequence[Operation]]()
    manager = manager_of(rulesets)

    async def change(operations: Sequence[Operation]) -> bool:
        sent.append(operations)
        return True

    monkeypatch.setattr(manager._holder, "change", change)
    manager._holder.loaded = {TABLE: Table({}, {"addresses4": NamedSet(("mark",))})}

    async def story() -> None:
        async with rulesets.turn:
            change = manager._bring_change({"addresses4": ({}, {b"key": b""})})
            waiting = asyncio.create_task(change)
            for _ in range(5):
                await asyncio.sleep(0)
            assert not sent
        await waiting
        assert len(sent) == 1

    asyncio.run(story())
