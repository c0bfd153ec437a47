"""Keeps pairs and contracts in line with the identities in use, as they enter and leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from controlplane.model.verdict_tables import Tables
from controlplane.policy.compile.change_recorder import ABSENT, ChangeRecorder
from controlplane.policy.compile.contract import contract_elements
from controlplane.policy.compile.identity import Identity
from controlplane.policy.compile.pairing import CompiledSide, Pairing

MOST_UNUSED = 1_024
"""Contracts that are remembered while no pair uses them."""


class PairTable:
    """One row and one column of pairs per identity; contracts live while a pair uses them."""

    def __init__(self, pairing: Pairing, tables: Tables, journal: ChangeRecorder) -> None:
        self._pairing = pairing
        self._tables = tables
        self._journal = journal
        self._zones: dict[str, dict[int, CompiledSide]] = {}
        self._present: set[int] = set()
        self._users: Counter[int] = Counter()
        self._unused: dict[int, None] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._present

    def enter(self, number: int, identity: Identity) -> Iterator[int]:
        """Pair an identity that has its first address with all others of its VRF.

        Yields the units of each piece of work; nothing else may enter or leave meanwhile.
        """
        side = self._pairing.side(identity)
        sides = self._zones.setdefault(identity.zone, {})
        sides[number] = side
        self._present.add(number)
        self._bind("destinations", number, self._pairing.to_destination(side))
        self._bind("sources", number, self._pairing.from_source(side))
        for other, its in sides.items():
            self._pair(number, side, other, its)
            if other != number:
                self._pair(other, its, number, side)
            yield 2 + self._pairing.take_work()

    def leave(self, number: int, identity: Identity) -> int:
        """Remove the pairs of an identity that has lost its last address; return the units of
        that work."""
        sides = self._zones[identity.zone]
        for other in sides:
            self._bind("pairs", (number, other), None)
            self._bind("pairs", (other, number), None)
        del sides[number]
        self._present.discard(number)
        self._bind("sources", number, None)
        self._bind("destinations", number, None)
        return len(sides)

    def _pair(self, source: int, src: CompiledSide, destination: int, dst: CompiledSide) -> None:
        contract: int | None = self._pairing.between(src, dst)
        usual = self._tables.sources.get(source) or self._tables.destinations[destination]
        self._bind("pairs", (source, destination), None if contract == usual else contract)

    def _bind(self, name: str, key: Any, contract: int | None) -> None:
        """Point an element at a contract (None: at nothing); contracts come and go with use."""
        before: int | None = getattr(self._tables, name).get(key)
        if before == contract:
            return
        self._journal.put(name, key, ABSENT if contract is None else contract)
        if contract is not None:
            self._users[contract] += 1
            if self._users[contract] == 1:
                self._unused.pop(contract, None)
                self._write(contract, present=True)
        if before is not None:
            self._users[before] -= 1
            if not self._users[before]:
                del self._users[before]
                self._unused[before] = None
                self._write(before, present=False)

    def release_unused(self) -> None:
        """Give back the contracts that no pair uses, but for the ones that lost theirs last: a
        workload that is tagged to and fro does not have its contracts made anew each time."""
        while len(self._unused) > MOST_UNUSED:
            contract = next(iter(self._unused))
            del self._unused[contract]
            self._pairing.release(contract)

    def _write(self, contract: int, *, present: bool) -> None:
        for name, key, verdict in contract_elements(contract, self._pairing.contract(contract)):
            self._journal.put(name, key, verdict if present else ABSENT)
