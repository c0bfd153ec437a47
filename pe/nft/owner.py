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
from collections.abc import Callable, Sequence

from pe.nft.diff import Operation, recreation, transaction, union
from pe.nft.model import Elements, Ruleset, TableId
from pe.nft.reader import CounterView, RulesetReader
from pe.nft.socket import BatchRefusedError, GenerationMovedError, RulesetWriter

ATTEMPTS = 5
"""How often another program may change the ruleset under one transaction."""


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
        reader = RulesetReader()
        try:
            return [view for table in tables for view in reader.counters(table)]
        finally:
            reader.close()

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
            same = await asyncio.to_thread(self._is_same, generation)
            if not same and doubts == self._doubts:
                self.doubt()
            return not same

    def _is_same(self, generation: int) -> bool:
        if not self._is_alone(generation):
            return False
        for table, held in self.loaded.items():
            found = self._owner.reader.elements(table, held.sets)
            if found != _with_empty(held.elements, found):
                self._on_drift()
                return False
        self._unread = False
        return True


def _with_empty(elements: Elements, names: Elements) -> Elements:
    """Elements of these sets, of those that have none as well."""
    return {name: elements.get(name, {}) for name in names}
