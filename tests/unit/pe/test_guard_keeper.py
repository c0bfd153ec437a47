"""Who changed the ruleset: what is taken for ours, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from pe.filters.manager import FilterManager
from pe.nft import text_loader as nft
from pe.nft.generations import RulesetGenerations, following
from pe.nft.text_model import Ruleset, Table

WANTED: Ruleset = {"inet": Table("inet")}
OTHER: Ruleset = {"inet": Table("inet"), "netdev": Table("netdev")}


class Kernel:
    """Hold the ruleset of the last writer. ``behind`` runs after a load, before any reader sees
    it."""

    def __init__(self) -> None:
        self.number, self.content = 0xFFFFFFFF, "none"
        self.loads = 0
        self.behind: Callable[[], object] = lambda: None
        self.refuses = 0

    def change(self, content: str) -> None:
        self.number, self.content = following(self.number), content

    async def load(self, text: str) -> None:
        del text
        self.loads += 1
        if self.refuses:
            self.refuses -= 1
            raise nft.RulesetRefusedError(22, "no")
        self.change("ours")
        self.behind()

    def generation(self) -> int:
        return self.number

    def fingerprint(self) -> str:
        return self.content

    def names(self, family: str) -> None:
        del family


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(nft, "load", found.load)
    return found


def keeper_of(kernel: Kernel) -> FilterManager:
    return FilterManager(cast(nft.NftReader, kernel), RulesetGenerations())


def test_what_was_loaded_has_not_drifted(kernel: Kernel) -> None:
    keeper = keeper_of(kernel)
    assert asyncio.run(keeper.bring(WANTED))
    assert not keeper.drifted()
    assert not asyncio.run(keeper.bring(WANTED))
    assert kernel.loads == 1


def test_a_change_by_others_is_seen_and_put_right(kernel: Kernel) -> None:
    keeper = keeper_of(kernel)
    asyncio.run(keeper.bring(WANTED))
    kernel.change("theirs")
    assert keeper.drifted()
    assert asyncio.run(keeper.bring(WANTED))
    assert not keeper.drifted()


def test_a_change_of_what_is_not_ours_is_none(kernel: Kernel) -> None:
    keeper = keeper_of(kernel)
    asyncio.run(keeper.bring(WANTED))
    kernel.change("ours")  # to us it looks as before
    assert not keeper.drifted()


def test_a_change_in_the_moment_of_a_load_is_not_taken_for_ours(kernel: Kernel) -> None:
    """Right behind it, before the node has looked at what the kernel made of it."""
    keeper = keeper_of(kernel)
    kernel.behind = lambda: kernel.change("theirs")
    asyncio.run(keeper.bring(WANTED))
    kernel.behind = lambda: None
    assert keeper.drifted()
    assert asyncio.run(keeper.bring(WANTED))
    assert kernel.content == "ours"
    assert not keeper.drifted()


def test_a_doubt_in_the_moment_of_a_load_stays(kernel: Kernel) -> None:
    """A device that went meanwhile took the chains that were bound to it."""
    keeper = keeper_of(kernel)
    kernel.behind = keeper.doubt
    asyncio.run(keeper.bring(WANTED))
    kernel.behind = lambda: None
    assert asyncio.run(keeper.bring(WANTED))
    assert not asyncio.run(keeper.bring(WANTED))


def test_a_refused_load_is_done_anew_and_then_doubted(kernel: Kernel) -> None:
    keeper = keeper_of(kernel)
    asyncio.run(keeper.bring(WANTED))
    kernel.refuses = 1
    assert asyncio.run(keeper.bring(OTHER))
    assert kernel.loads == 3
    kernel.refuses = 2
    with pytest.raises(nft.RulesetRefusedError):
        asyncio.run(keeper.bring(WANTED))
    assert asyncio.run(keeper.bring(OTHER)), "the content is unknown: even the same is loaded again"
