"""The one owner of nftables in a node: one lock, and what each user's tables hold.

Packet filters and policy maps keep tables of their own. Each has a ``TableHolder``, which brings
the kernel from what it holds to what is wanted, in one transaction, and finds out when another
program changed it.

The kernel counts the changes of all tables, by any program, with one number
(nft_net.base_seq). A holder knows up to which number its tables are as it left them; a change by
another holder of the same node moves that on, so that nothing is read again for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from pe.nft.diff import Operation, recreation, transaction, union
from pe.nft.model import NamedSet, Ruleset, TableId
from pe.nft.reader import CounterView, RulesetReader
from pe.nft.socket import BatchRefusedError, GenerationMovedError, RulesetWriter

ELEMENTS_AT_ONCE = 2000
"""Elements that are read before a change of ours is looked for."""
ATTEMPTS = 5
"""How often another program may change the ruleset under one transaction."""


SetName: TypeAlias = tuple[TableId, str]
NamedElements: TypeAlias = tuple[TableId, str, NamedSet]
Dated: TypeAlias = tuple[int, dict[bytes, bytes]]
"""Elements, and the generation in which a set had them."""


def following(generation: int) -> int:
    """The ruleset's number after one more change (nft_base_seq_inc): 32 bits, never 0."""
    return generation % 0xFFFFFFFF + 1


class RulesetOwner:
    """Sockets, the lock, and who knows which number of the ruleset."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        """Held while rulesets are changed or compared."""
        self._known: dict[str, int] = {}
        self._is_open = False

    def open(self) -> None:
        """Open the sockets, unless they are. Raises OSError."""
        if self._is_open:
            return
        self.writer, self.reader = RulesetWriter(), RulesetReader()
        # Figures are asked for at any time, also while a thread writes: a reader on the same
        # socket would take the batch's acknowledgement, and what the kernel took would be
        # reported as refused.
        self._readings = RulesetReader()
        self._is_open = True

    def close(self) -> None:
        """Close the sockets. The kernel's tables stay."""
        if self._is_open:
            self._is_open = False
            for part in (self.writer, self.reader, self._readings):
                part.close()

    def holder(
        self, part: str, tables: Sequence[TableId], on_drift: Callable[[], None] = lambda: None
    ) -> TableHolder:
        """The holder of these tables; no other may have one of them."""
        return TableHolder(self, part, tables, on_drift)

    def counters(self, tables: Sequence[TableId]) -> list[CounterView]:
        """Every named counter of these tables with its figures now."""
        return [view for table in tables for view in self._readings.counters(table)]

    @staticmethod
    def counters_apart(tables: Sequence[TableId]) -> list[CounterView]:
        """The same over a socket of its own, for a thread: a dump of the 16,000 counters of 1,000
        ports took 350 ms, for which the loop stood still."""
        with contextlib.closing(RulesetReader()) as reader:
            return [view for table in tables for view in reader.counters(table)]

    @staticmethod
    def elements_apart(sets: Sequence[NamedElements]) -> list[Dated | None]:
        """Return the elements of these sets, each with its generation (``elements_at``), over a
        socket of its own: for a thread that does not have the turn."""
        with contextlib.closing(RulesetReader()) as reader:
            return [reader.elements_at(*each) for each in sets]

    def generation(self) -> int:
        """Return the number of the ruleset's last change, by any program. Raises OSError."""
        return self._readings.generation()

    def packets(self, table: TableId, counter: str) -> int | None:
        """What one counter has counted; None if there is none of that name."""
        return self._readings.packets(table, counter)

    def know(self, part: str, generation: int) -> None:
        """A part has looked: its tables are as it left them at that number."""
        self._known[part] = generation

    def is_known(self, part: str, generation: int) -> bool:
        """True if only this node changed the ruleset since that part looked."""
        return self._known.get(part) == generation

    def changed(self, part: str, before: int) -> None:
        """A part made the one change that followed on a number: no other table was touched."""
        after = following(before)
        self._known |= {p: after for p, known in self._known.items() if known == before}
        self._known[part] = after


class TableHolder:
    """The tables of one user: ``loaded`` is what they hold as far as is known, unless they are
    ``doubted``: then only their names are believed, which are read before the next load."""

    def __init__(
        self,
        owner: RulesetOwner,
        part: str,
        tables: Sequence[TableId],
        on_drift: Callable[[], None],
    ) -> None:
        self._owner, self._part, self._tables, self._on_drift = owner, part, tables, on_drift
        self.loaded: Ruleset = {}
        self.doubted = True
        self._doubts = 0
        self._shapes: list[str] = []
        self._unread = False  # another program changed something since our elements were read
        self._contested = False

    def doubt(self) -> None:
        """Believe names only from here on: as at start, when a former run may have left its
        tables, or when a device took the chains that were bound to it with it."""
        self.doubted = True
        self._doubts += 1

    async def bring(self, wanted: Ruleset, *, keep: bool = False) -> bool:
        """Make the kernel hold this, in one transaction; with ``keep``, beside what it holds that
        ``wanted`` does not speak of. True if something had to be loaded. Raises OSError; then all
        is as before, and doubted."""
        async with self._owner.turn:
            for attempt in range(1, ATTEMPTS + 1):
                is_last = attempt == ATTEMPTS
                try:
                    loaded = await self._bring(wanted, keep=keep, is_last=is_last)
                except BaseException:
                    self.doubt()
                    raise
                if loaded is not None:
                    return loaded
        return True

    async def _bring(self, wanted: Ruleset, *, keep: bool, is_last: bool) -> bool | None:
        """Try once; None if another program was there in that moment."""
        generation = self._owner.reader.generation()
        if not self.doubted and not await asyncio.to_thread(self._is_alone, generation):
            self.doubted = True
        doubts, doubted = self._doubts, self.doubted
        if doubted:
            self.loaded = await asyncio.to_thread(self._present, wanted)
        whole = union(self.loaded, wanted) if keep else dict(wanted)
        operations = await asyncio.to_thread(transaction, self.loaded, whole)
        if operations:
            expected = None if is_last else generation
            try:
                whole = await asyncio.to_thread(self._load, operations, whole, wanted, expected)
            except GenerationMovedError:
                return None
            except BatchRefusedError:
                if doubted:
                    raise
                self.doubt()  # it is not what we took it for
                return None
        elif not doubted:
            return False
        self.loaded = whole
        shapes = await asyncio.to_thread(self._shapes_now)
        now = self._owner.reader.generation()
        if now != (following(generation) if operations else generation):
            self.doubted, self._contested = True, is_last
            return True if is_last else None
        if operations:
            self._owner.changed(self._part, generation)
        else:
            self._owner.know(self._part, generation)
        self._shapes, self.doubted = shapes, doubts != self._doubts
        if doubted:
            self._unread = False
        return bool(operations)

    def _load(
        self,
        operations: Sequence[Operation],
        whole: Ruleset,
        wanted: Ruleset,
        generation: int | None,
    ) -> Ruleset:
        """Send a transaction; what is loaded then. Where the kernel refuses what was made from
        names, our tables are deleted and made anew in one transaction: guards are never away, only
        counters start again."""
        try:
            self._owner.writer.apply(operations, generation)
        except BatchRefusedError:
            if not self.doubted:
                raise
            self._owner.writer.apply(recreation(wanted), generation)
            return dict(wanted)
        return whole

    def _present(self, wanted: Ruleset) -> Ruleset:
        present = ((t, self._owner.reader.present(t, wanted.get(t))) for t in self._tables)
        return {table: found for table, found in present if found is not None}

    def _shapes_now(self) -> list[str]:
        return [self._owner.reader.shape(table) for table in self._tables]

    async def change(self, operations: Sequence[Operation]) -> bool:
        """Do something small at once, in the caller's turn: nothing but elements. False if
        another program changed our tables; nothing is done then. Raises BatchRefusedError."""
        for _ in range(ATTEMPTS):
            generation = self._owner.reader.generation()
            known = self._owner.is_known(self._part, generation)
            if not known and not await asyncio.to_thread(self._is_alone, generation):
                self.doubt()
                return False
            try:
                self._owner.writer.apply(operations, generation)
            except GenerationMovedError:
                continue
            self._owner.changed(self._part, generation)
            return True
        return False

    def _is_alone(self, generation: int) -> bool:
        """False if another program changed our chains, sets or rules; what it did to elements is
        seen by the next check, or by the kernel's refusal."""
        if self._owner.is_known(self._part, generation):
            return True
        self._unread = True
        if self._shapes_now() == self._shapes:
            self._owner.know(self._part, generation)
            return True
        self._on_drift()
        return False

    async def has_drifted(self) -> bool:
        """True if another program changed our tables, or may have in the moment of our last load;
        they are doubted then. One small request while no other changed any."""
        async with self._owner.turn:
            if self._contested:
                self._contested = False
                self._on_drift()
                return True
            generation = self._owner.reader.generation()
            known = self._owner.is_known(self._part, generation)
            if self.doubted or (known and not self._unread):
                return False
            doubts = self._doubts
            if not await asyncio.to_thread(self._is_alone, generation):
                self._doubt_unless(doubts)
                return True
        return await self._elements_drifted(doubts)

    def _doubt_unless(self, doubts: int) -> None:
        if doubts == self._doubts:
            self.doubt()

    async def _elements_drifted(self, doubts: int) -> bool:
        """Compare the elements of one set after the other; True if another program changed some.
        Without the turn: 50,000 elements take half a second, which a tag once waited for."""
        self._unread = False  # true again as soon as another program is seen to change something
        for portion in self._portions():
            if self.doubted or doubts != self._doubts:
                break
            differing = await self._differing(portion)
            if differing is None:  # by another program, again and again
                break
            if differing:
                self._on_drift()
                self._doubt_unless(doubts)
                return True
        else:
            return False
        self._unread = True
        return False

    def _portions(self) -> Iterator[list[SetName]]:
        """Yield the names of all sets, some at a time: few large ones, or many small ones."""
        portion, size = list[SetName](), 0
        for table, held in list(self.loaded.items()):
            for name in list(held.sets):
                portion.append((table, name))
                size += 1 + len(held.elements.get(name, ()))
                if size >= ELEMENTS_AT_ONCE:
                    yield portion
                    portion, size = [], 0
        if portion:
            yield portion

    async def _differing(self, names: Sequence[SetName]) -> bool | None:
        """Return whether a set has other elements than it is known to have; None if that cannot be
        said, as other programs change the ruleset all the time."""
        kinds = [(t, n, k) for t, n in names if (k := self._kind_of(t, n)) is not None]
        found = await asyncio.to_thread(self._owner.elements_apart, kinds)
        for (table, name, _), dated in zip(kinds, found, strict=True):
            # What is known now is of the same generation, or a change of ours came in between.
            if dated and self._owner.is_known(self._part, dated[0]):
                same: bool | None = self._has(table, name, dated[1])
            else:
                async with self._owner.turn:
                    same = await asyncio.to_thread(self._is_same_set_in_turn, table, name)
            if not same:
                return None if same is None else True
        return False

    def _is_same_set_in_turn(self, table: TableId, name: str) -> bool | None:
        if (kind := self._kind_of(table, name)) is None:
            return True
        for _ in range(ATTEMPTS):
            if found := self._owner.reader.elements_at(table, name, kind):
                return self._has(table, name, found[1])
        return None

    def _kind_of(self, table: TableId, name: str) -> NamedSet | None:
        """Return a set whose elements are ours to know; None if it is gone, or the kernel's."""
        held = self.loaded.get(table)
        kind = held.sets.get(name) if held else None
        return None if kind is None or kind.is_dynamic else kind

    def _has(self, table: TableId, name: str, elements: dict[bytes, bytes]) -> bool:
        return self.loaded[table].elements.get(name, {}) == elements
