"""The difference of two rulesets as one nft transaction: all of it or nothing.

Named counters are never deleted while a rule wants them, so they go on counting over any number
of changes. Sets get their differences as elements; a chain that changed is flushed and filled
again, which no packet sees, because the kernel switches to the new generation as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from pe.netlink.ownership import TABLE
from pe.nft.text_model import Chain, NamedSet, Ruleset, Table

ELEMENTS_PER_LINE = 500
UNKNOWN = "?"
"""A rule or an element in the place of all those that nobody knows."""


def transaction(old: Ruleset, new: Ruleset) -> str:
    """nft text from ``old`` to ``new``; "" if there is nothing to do."""
    lines: list[str] = []
    for family in sorted(old.keys() | new.keys()):
        if family not in new:
            lines.append(f"delete table {family} {TABLE}")
        elif old.get(family) != new[family]:
            lines += _Change(old.get(family, Table(family)), new[family]).lines()
    return "".join(line + "\n" for line in lines)


def recreation(new: Ruleset) -> str:
    """The same from an unknown state: our tables are deleted and made anew in one go."""
    return "".join(f"add table {f} {TABLE}\ndelete table {f} {TABLE}\n" for f in sorted(new)) + (
        transaction({}, new)
    )


def union(old: Ruleset, new: Ruleset) -> Ruleset:
    """``new``, and whatever of ``old`` it does not speak of: the guards of a port that goes stay
    until the port is down."""
    both: Ruleset = dict(old)
    for family, table in new.items():
        before = old.get(family, Table(family))
        both[family] = Table(
            family,
            before.chains | table.chains,
            before.sets | table.sets,
            before.counters | table.counters,
        )
    return both


class _Change:
    """One table's change. The order of its parts is that of nft's references."""

    def __init__(self, old: Table, new: Table) -> None:
        self.old, self.new, self.at = old, new, f"{new.family} {TABLE}"
        self.remade_sets = {
            s.name
            for s in new.sets.values()
            if s.name in old.sets and old.sets[s.name].declaration != s.declaration
        }
        self.refilled = [c for c in new.chains.values() if self._is_refilled(c)]
        self.gone = [c for c in old.chains.values() if c.name not in new.chains]

    def _is_refilled(self, chain: Chain) -> bool:
        text = "\n".join(chain.rules)
        names_remade = any(f"@{name}" in text for name in self.remade_sets)
        return self.old.chains.get(chain.name) != chain or names_remade

    def lines(self) -> Iterator[str]:
        yield f"add table {self.at}"
        for counter in sorted(self.new.counters - self.old.counters):
            yield f"add counter {self.at} {counter}"
        yield from self._empty_chains()
        yield from self._declare_sets()
        for chain in self.refilled:
            hook = f" {{ {chain.hook} }}" if chain.hook else ""
            yield f"add chain {self.at} {chain.name}{hook}"
        for named in self.new.sets.values():
            yield from self._elements(named)
        for chain in self.refilled:
            for rule in chain.rules:
                yield f"add rule {self.at} {chain.name} {rule}"
        yield from self._delete_what_is_gone()

    def _empty_chains(self) -> Iterator[str]:
        for chain in self.gone:
            yield f"flush chain {self.at} {chain.name}"
        again = [c for c in self.refilled if c.name in self.old.chains]
        for chain in again:
            yield f"flush chain {self.at} {chain.name}"
        for chain in again:
            if self.old.chains[chain.name].hook != chain.hook:
                yield f"delete chain {self.at} {chain.name}"

    def _declare_sets(self) -> Iterator[str]:
        for name in sorted(self.remade_sets):
            yield f"delete {self.old.sets[name].keyword} {self.at} {name}"
        for named in self.new.sets.values():
            if named.name not in self.old.sets or named.name in self.remade_sets:
                yield f"add {named.keyword} {self.at} {named.name} {{ {named.declaration}; }}"

    def _elements(self, named: NamedSet) -> Iterator[str]:
        before = self.old.sets.get(named.name)
        if before is None or named.name in self.remade_sets:
            had: frozenset[str] = frozenset()
        else:
            had = before.elements
        if named.dynamic or had == named.elements:
            return
        if named.interval or UNKNOWN in had:
            if had:
                yield f"flush {named.keyword} {self.at} {named.name}"
            had = frozenset()
        yield from self._element_lines("delete", named.name, had - named.elements)
        yield from self._element_lines("add", named.name, named.elements - had)

    def _element_lines(self, verb: str, name: str, elements: frozenset[str]) -> Iterator[str]:
        ordered = sorted(elements)
        for start in range(0, len(ordered), ELEMENTS_PER_LINE):
            part = ", ".join(ordered[start : start + ELEMENTS_PER_LINE])
            yield f"{verb} element {self.at} {name} {{ {part} }}"

    def _delete_what_is_gone(self) -> Iterator[str]:
        # Maps that jump to chains which go are emptied before, by their own deletion.
        for named in self.old.sets.values():
            if named.name not in self.new.sets:
                yield f"delete {named.keyword} {self.at} {named.name}"
        for chain in self.gone:
            yield f"delete chain {self.at} {chain.name}"
        for counter in sorted(self.old.counters - self.new.counters):
            yield f"delete counter {self.at} {counter}"
