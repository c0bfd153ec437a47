"""The difference of two rulesets as one transaction: operations in the kernel's order. Pure.

The kernel takes a transaction as a whole and switches to it at once (nf_tables_commit): every
packet is judged by the state before or by the state after, however large the change.

Named counters are never deleted while a rule wants them, so they go on counting over any number
of changes. Sets get their differences as elements; a chain that changed is flushed and filled
again, and keeps its hook: a new chain with a policy of ``drop`` would drop, from the moment in
which it is made, until the transaction is through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pe.nft.model import Chain, Elements, Hook, NamedSet, Rule, Ruleset, Table, TableId

UNKNOWN_SET = NamedSet(())
"""A set of which nothing but the name is known: it is made anew."""


@dataclass(frozen=True, slots=True)
class _Unknown:
    words: str = "?"

    def compile(self, _rule: object) -> None:
        raise ValueError("rules that are not known cannot be loaded")


UNKNOWN_RULES: tuple[Rule, ...] = ((_Unknown(),),)
"""In the place of the rules of a chain of which only the name is known."""

UNKNOWN_ELEMENTS: dict[bytes, bytes] = {b"?": b""}
"""In the place of a set's elements that were not read."""

Change: TypeAlias = dict[str, tuple[Iterable[bytes], Mapping[bytes, bytes]]]
"""Set -> keys to delete, then elements to add."""


@dataclass(frozen=True, slots=True)
class Simple:
    """``add``, ``delete`` or ``flush`` something that is no more than its name."""

    verb: str
    what: str
    table: TableId
    name: str = ""


@dataclass(frozen=True, slots=True)
class AddSet:
    """Make a set or a map."""

    table: TableId
    name: str
    made: NamedSet


@dataclass(frozen=True, slots=True)
class AddChain:
    """Make a chain, or see that it has this hook."""

    table: TableId
    name: str
    hook: Hook | None


@dataclass(frozen=True, slots=True)
class AddRule:
    """Append a rule to a chain."""

    table: TableId
    chain: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class AddElements:
    """Put elements into a set or a map."""

    table: TableId
    name: str
    made: NamedSet
    elements: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Take elements out of a set or a map."""

    table: TableId
    name: str
    made: NamedSet
    keys: Iterable[bytes]


Operation: TypeAlias = Simple | AddSet | AddChain | AddRule | AddElements | DeleteElements


def transaction(old: Ruleset, new: Ruleset) -> list[Operation]:
    """From ``old`` to ``new``; empty if there is nothing to do. A table that ``new`` has not is
    deleted."""
    found: list[Operation] = []
    for table in sorted(old.keys() | new.keys()):
        found += table_change(table, old.get(table), new.get(table))
    return found


def table_change(table: TableId, old: Table | None, new: Table | None) -> list[Operation]:
    """From one state of a table (None: there is none) to another."""
    if new is None:
        return [Simple("delete", "table", table)] if old is not None else []
    if old is None:
        return list(_Change(table, Table(), new).operations())
    alike = old.chains == new.chains and old.sets == new.sets and old.counters == new.counters
    if alike and UNKNOWN_ELEMENTS not in old.elements.values():
        return elements_change(table, new.sets, difference(old.elements, new.elements))
    return list(_Change(table, old, new).operations())


def recreation(new: Ruleset) -> list[Operation]:
    """To ``new`` from a state that is not known: its tables are deleted and made anew in one go."""
    found: list[Operation] = []
    for table in sorted(new):
        found += [Simple("add", "table", table), Simple("delete", "table", table)]
    return found + transaction({}, new)


def union(old: Ruleset, new: Ruleset) -> Ruleset:
    """``new``, and what ``old`` has beside it: the guards of a port that goes stay until the port
    is down."""
    both: Ruleset = dict(old)
    for name, table in new.items():
        before = old.get(name, Table())
        both[name] = Table(
            {**before.chains, **table.chains},
            {**before.sets, **table.sets},
            before.counters | table.counters,
            before.elements | table.elements,
        )
    return both


def difference(old: Mapping[str, Mapping[bytes, bytes]], new: Elements) -> Change:
    """What turns the elements of the sets in ``new`` into it; a changed one is in both halves."""
    change: Change = {}
    for name, after in new.items():
        before = old.get(name, {})
        if before is after:
            continue
        put = dict(after.items() - before.items()) if before else after
        gone = [key for key in before if key not in after or key in put] if before else []
        if put or gone:
            change[name] = (gone, put)
    return change


def merge(elements: Elements, change: Change) -> None:
    """Change elements in place."""
    for name, (gone, put) in change.items():
        held = elements.setdefault(name, {})
        for key in gone:
            held.pop(key, None)
        held.update(put)


def elements_change(
    table: TableId, sets: Mapping[str, NamedSet], changes: Change
) -> list[Operation]:
    """Operations that delete and add elements."""
    found: list[Operation] = []
    for name, (gone, _) in changes.items():
        if gone:
            found.append(DeleteElements(table, name, sets[name], gone))
    for name, (_, put) in changes.items():
        if put:
            found.append(AddElements(table, name, sets[name], put))
    return found


class _Change:
    """A change of more than elements. The order of its parts is that of the kernel's references."""

    def __init__(self, at: TableId, old: Table, new: Table) -> None:
        self.at, self.old, self.new = at, old, new
        self.remade = {n for n, s in new.sets.items() if n in old.sets and old.sets[n] != s}
        self.refilled = {n: c for n, c in new.chains.items() if self._is_refilled(n, c)}
        self.gone = sorted(old.chains.keys() - new.chains.keys())
        self.kept = (new.sets.keys() & old.sets.keys()) - self.remade
        self.unread = {
            name
            for name in self.kept
            if old.elements.get(name) is UNKNOWN_ELEMENTS
            and new.elements.get(name) is not UNKNOWN_ELEMENTS
        }
        held = {n: e for n, e in old.elements.items() if n in self.kept - self.unread}
        self.elements = difference(held, new.elements)

    def _is_refilled(self, name: str, chain: Chain) -> bool:
        if self.old.chains.get(name) != chain:
            return True
        if not self.remade:
            return False
        words = " ".join(part.words for rule in chain.rules for part in rule)
        return any(f"@{name}" in words for name in self.remade)

    def operations(self) -> Iterator[Operation]:
        yield self._simple("add", "table")
        for counter in sorted(self.new.counters - self.old.counters):
            yield self._simple("add", "counter", counter)
        yield from self._empty_chains()
        yield from self._make_sets()
        for name, chain in self.refilled.items():
            yield AddChain(self.at, name, chain.hook)
        yield from elements_change(self.at, self.new.sets, self.elements)
        for name, chain in self.refilled.items():
            for rule in chain.rules:
                yield AddRule(self.at, name, rule)
        yield from self._delete_what_is_gone()

    def _empty_chains(self) -> Iterator[Operation]:
        again = [name for name in self.refilled if name in self.old.chains]
        for name in [*self.gone, *again]:
            yield self._simple("flush", "chain", name)
        for name in again:
            if _place(self.old.chains[name].hook) != _place(self.new.chains[name].hook):
                yield self._simple("delete", "chain", name)

    def _make_sets(self) -> Iterator[Operation]:
        for name in sorted(self.remade):
            yield self._delete_set(name)
        for name, made in self.new.sets.items():
            if name not in self.kept:
                yield AddSet(self.at, name, made)
        for name in sorted(self.unread):
            yield self._simple("flush", "map" if self.new.sets[name].value else "set", name)

    def _delete_what_is_gone(self) -> Iterator[Operation]:
        # Maps that jump to chains which go are emptied before, by their own deletion.
        for name in self.old.sets:
            if name not in self.new.sets:
                yield self._delete_set(name)
        for name in self.gone:
            yield self._simple("delete", "chain", name)
        for counter in sorted(self.old.counters - self.new.counters):
            yield self._simple("delete", "counter", counter)

    def _delete_set(self, name: str) -> Operation:
        return self._simple("delete", "map" if self.old.sets[name].value else "set", name)

    def _simple(self, verb: str, what: str, name: str = "") -> Simple:
        return Simple(verb, what, self.at, name)


def _place(hook: Hook | None) -> tuple[str, int, str] | None:
    """What of a hook cannot be changed; its policy can."""
    return (hook.name, hook.priority, hook.device) if hook else None
