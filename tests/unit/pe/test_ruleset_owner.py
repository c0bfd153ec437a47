"""Who changed the ruleset: what is taken for ours, and what is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from pe.nft import owner as owner_module
from pe.nft.diff import Operation, Simple
from pe.nft.model import Chain, NamedSet, Ruleset, Table, TableId
from pe.nft.owner import RulesetOwner, TableHolder, following
from pe.nft.reader import RulesetReader
from pe.nft.socket import BatchRefusedError, GenerationMovedError, RulesetWriter

INET, ARP, THEIRS = TableId("inet", "ours"), TableId("arp", "ours"), TableId("inet", "theirs")
PORTS = NamedSet(("mark",))
WANTED: Ruleset = {INET: Table({"a": Chain(())}, {"ports": PORTS}, elements={"ports": {b"1": b""}})}
OTHER: Ruleset = {**WANTED, ARP: Table({"b": Chain(())})}


class Kernel:
    """Holds the rulesets of the last writers. ``behind`` runs after a load, before any reader sees
    it."""

    def __init__(self) -> None:
        self.number, self.content, self.found = 0xFFFFFFFF, "none", dict[bytes, bytes]()
        self.loads: list[Sequence[Operation]] = []
        self.before: Callable[[], object] = lambda: None
        self.behind: Callable[[], object] = lambda: None
        self.refuses = 0
        self.reading: Callable[[], object] = lambda: None
        self.looks = self.reads = 0

    def change(self, content: str) -> None:
        self.number, self.content = following(self.number), content

    def apply(self, operations: Sequence[Operation], generation: int | None) -> None:
        self.before()
        if generation not in (None, self.number):
            raise GenerationMovedError(0, "moved")
        self.loads.append(operations)
        if self.refuses:
            self.refuses -= 1
            raise BatchRefusedError(22, "no")
        self.change("ours")
        self.found = {b"1": b""}
        self.behind()

    def generation(self) -> int:
        return self.number

    def shape(self, _table: TableId) -> str:
        self.looks += 1
        return self.content

    def present(self, table: TableId, _wanted: Table | None) -> Table | None:
        return Table(counters=frozenset({"kept"})) if table == INET else None

    def elements_at(
        self, _table: TableId, _name: str, _kind: NamedSet
    ) -> tuple[int, dict[bytes, bytes]] | None:
        self.reads += 1
        generation, found = self.number, dict(self.found)
        self.reading()
        return (generation, found) if self.number == generation else None

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(owner_module, "RulesetReader", lambda: made)
    return made


def owner_of(kernel: Kernel) -> RulesetOwner:
    owner = RulesetOwner()
    owner.reader, owner.writer = cast(RulesetReader, kernel), cast(RulesetWriter, kernel)
    return owner


def holder_of(kernel: Kernel) -> TableHolder:
    return owner_of(kernel).holder("guards", (INET, ARP))


def once(kernel: Kernel, at: str, content: str) -> None:
    """Another program changes the ruleset once, at the next load."""

    def meddle() -> None:
        setattr(kernel, at, lambda: None)
        kernel.change(content)

    setattr(kernel, at, meddle)


def test_what_was_loaded_has_not_drifted(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    assert asyncio.run(holder.bring(WANTED))
    assert not asyncio.run(holder.has_drifted())
    assert not asyncio.run(holder.bring(WANTED))
    assert len(kernel.loads) == 1


def test_a_change_by_others_is_seen_and_put_right(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.change("theirs")
    assert asyncio.run(holder.has_drifted())
    assert asyncio.run(holder.bring(WANTED))
    assert not asyncio.run(holder.has_drifted())


def test_a_change_of_elements_alone_is_seen(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.change("ours")
    kernel.found = {b"1": b"", b"2": b""}
    assert asyncio.run(holder.has_drifted())
    assert asyncio.run(holder.bring(WANTED))
    assert not asyncio.run(holder.has_drifted())


def test_a_change_does_not_wait_for_a_check_of_elements(kernel: Kernel) -> None:
    """A check of 50,000 elements held the turn for half a second."""
    holder, begun, ended = holder_of(kernel), threading.Event(), threading.Event()

    def reading() -> None:
        begun.set()
        assert ended.wait(10)

    async def test() -> None:
        await holder.bring(WANTED)
        kernel.change("ours")  # by another program, so that elements are read
        kernel.reading = reading
        check = asyncio.create_task(holder.has_drifted())
        await asyncio.to_thread(begun.wait, 10)
        async with asyncio.timeout(5), holder._owner.turn:
            assert await holder.change(())
        assert not check.done()
        ended.set()
        assert not await check, "what changed meanwhile is read again, in turn"
        assert kernel.reads == 2

    asyncio.run(test())


def test_a_check_of_elements_alone_reads_once(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.change("ours")
    assert not asyncio.run(holder.has_drifted())
    assert kernel.reads == 1
    assert not asyncio.run(holder.has_drifted())
    assert kernel.reads == 1, "no program has changed anything since"


def test_a_change_of_elements_is_not_forgotten_over_a_load(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.change("ours")
    kernel.behind = lambda: kernel.found.update({b"2": b""})  # it was there before, and stays
    assert asyncio.run(holder.bring(OTHER))
    assert asyncio.run(holder.has_drifted())


def test_a_change_before_a_load_is_not_taken_for_ours(kernel: Kernel) -> None:
    holder, seen = holder_of(kernel), []
    holder._on_drift = lambda: seen.append(1)
    asyncio.run(holder.bring(WANTED))
    kernel.change("theirs")
    assert asyncio.run(holder.bring(WANTED)), "even the same is loaded again"
    assert seen == [1]
    assert kernel.content == "ours"


def test_a_change_of_what_is_not_ours_is_none(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.change("ours")  # to us it looks as before
    assert not asyncio.run(holder.has_drifted())


def test_a_change_in_the_moment_of_a_load_is_not_taken_for_ours(kernel: Kernel) -> None:
    """Right behind it, before the node has looked at what the kernel made of it."""
    holder = holder_of(kernel)
    once(kernel, "behind", "theirs")
    asyncio.run(holder.bring(WANTED))
    assert kernel.content == "ours"
    assert len(kernel.loads) == 2
    assert not asyncio.run(holder.has_drifted())


def test_a_change_right_before_a_load_makes_it_wait_for_another_look(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    once(kernel, "before", "theirs")
    assert asyncio.run(holder.bring(OTHER))
    assert kernel.content == "ours"
    assert not asyncio.run(holder.has_drifted())


def test_changes_without_end_do_not_keep_rules_out(kernel: Kernel) -> None:
    """What was loaded in the end may be another program's by now: the next check looks."""
    holder = holder_of(kernel)
    kernel.before = kernel.behind = lambda: kernel.change("theirs")
    assert asyncio.run(holder.bring(WANTED))
    assert kernel.loads
    kernel.before = kernel.behind = lambda: None
    assert asyncio.run(holder.has_drifted())
    assert asyncio.run(holder.bring(WANTED))
    assert kernel.content == "ours"
    assert not asyncio.run(holder.has_drifted())


def test_a_doubt_in_the_moment_of_a_load_stays(kernel: Kernel) -> None:
    """A device that went meanwhile took the chains that were bound to it."""
    holder = holder_of(kernel)
    kernel.behind = holder.doubt
    asyncio.run(holder.bring(WANTED))
    kernel.behind = lambda: None
    assert asyncio.run(holder.bring(WANTED))
    assert not asyncio.run(holder.bring(WANTED))


def test_a_refused_load_is_made_from_names_then_anew_and_then_doubted(kernel: Kernel) -> None:
    holder = holder_of(kernel)
    asyncio.run(holder.bring(WANTED))
    kernel.refuses = 1
    assert asyncio.run(holder.bring(OTHER))
    assert Simple("delete", "table", INET) not in kernel.loads[-1], "counters go on counting"
    kernel.refuses = 2
    assert asyncio.run(holder.bring(WANTED))
    assert Simple("delete", "table", INET) in kernel.loads[-1]
    kernel.refuses = 3
    with pytest.raises(BatchRefusedError):
        asyncio.run(holder.bring(OTHER))
    assert not kernel.refuses
    assert asyncio.run(holder.bring(OTHER)), "the content is unknown: even the same is loaded again"


def test_a_change_by_another_part_of_the_node_is_no_reason_to_look(kernel: Kernel) -> None:
    owner = owner_of(kernel)
    guards, segment = owner.holder("guards", (INET, ARP)), owner.holder("segment", (THEIRS,))
    asyncio.run(guards.bring(WANTED))
    asyncio.run(segment.bring({THEIRS: Table({"c": Chain(())})}))
    kernel.looks = 0
    assert not asyncio.run(guards.has_drifted())
    assert not kernel.looks


def test_a_strangers_change_is_not_hidden_by_one_of_ours(kernel: Kernel) -> None:
    owner = owner_of(kernel)
    guards, segment = owner.holder("guards", (INET, ARP)), owner.holder("segment", (THEIRS,))
    asyncio.run(guards.bring(WANTED))
    asyncio.run(segment.bring({THEIRS: Table({"c": Chain(())})}))
    kernel.change("theirs")
    asyncio.run(segment.bring({}))
    kernel.change("theirs")
    assert asyncio.run(guards.has_drifted())


def test_the_number_goes_round_and_is_never_nothing() -> None:
    assert [following(n) for n in (1, 0xFFFFFFFE, 0xFFFFFFFF)] == [2, 0xFFFFFFFF, 1]
    assert not RulesetOwner().is_known("guards", 0)
