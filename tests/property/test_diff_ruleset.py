"""A transaction leads from one ruleset to the other, under nft's rules for references."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.desired import Desired
from pe.filters.context import RenderContext
from pe.filters.ruleset import ruleset
from pe.nft.diff import (
    UNKNOWN_ELEMENTS,
    UNKNOWN_RULES,
    UNKNOWN_SET,
    Operation,
    recreation,
    transaction,
    union,
)
from pe.nft.model import Chain, Ruleset, Table
from pe.nft.text import text
from tests.golden.founding import PRESENT, founding

JUMP = re.compile(r"(?:jump|goto) (\S+)")
SET = re.compile(r"@(?!nh,)(\S+)")
COUNTER = re.compile(r'counter name "([^"]+)"')


@dataclass
class FakeTable:
    chains: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    sets: dict[str, tuple[str, str, set[str]]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)


class FakeNft:
    """Reads a transaction line by line, and refuses what nft and the kernel refuse."""

    def __init__(self) -> None:
        self.tables: dict[str, FakeTable] = {}

    def run(self, text: str) -> None:
        for line in text.splitlines():
            verb, what, family, _, *rest = line.split(" ", 5)
            getattr(self, f"_{verb}_{what}")(family, *rest)
        for table in self.tables.values():
            self._check_references(table)

    def _add_table(self, family: str) -> None:
        self.tables.setdefault(family, FakeTable())

    def _delete_table(self, family: str) -> None:
        del self.tables[family]

    def _add_counter(self, family: str, name: str) -> None:
        self.tables[family].counters.setdefault(name, 0)

    def _delete_counter(self, family: str, name: str) -> None:
        table = self.tables[family]
        assert name not in {n for r in self._rules(table) for n in COUNTER.findall(r)}
        del table.counters[name]

    def _add_chain(self, family: str, name: str, hook: str = "") -> None:
        hook = hook.removeprefix("{ ").removesuffix(" }")
        known = self.tables[family].chains.setdefault(name, (hook, []))
        assert known[0] == hook, "a chain cannot change its hook"

    def _flush_chain(self, family: str, name: str) -> None:
        self.tables[family].chains[name][1].clear()

    def _delete_chain(self, family: str, name: str) -> None:
        table = self.tables[family]
        assert not table.chains[name][1]
        assert name not in self._jumps(table), f"{name} is still jumped to"
        del table.chains[name]

    def _add_rule(self, family: str, chain: str, rule: str) -> None:
        self.tables[family].chains[chain][1].append(rule)

    def _add_set(self, family: str, name: str, body: str, kind: str = "set") -> None:
        declaration = body.removeprefix("{ ").removesuffix("; }")
        assert name not in self.tables[family].sets
        self.tables[family].sets[name] = (kind, declaration, set())

    def _add_map(self, family: str, name: str, body: str) -> None:
        self._add_set(family, name, body, "map")

    def _delete_set(self, family: str, name: str) -> None:
        table = self.tables[family]
        assert name not in {n for r in self._rules(table) for n in SET.findall(r)}
        del table.sets[name]

    _delete_map = _delete_set

    def _flush_set(self, family: str, name: str) -> None:
        self.tables[family].sets[name][2].clear()

    _flush_map = _flush_set

    def _add_element(self, family: str, name: str, body: str) -> None:
        elements = body.removeprefix("{ ").removesuffix(" }").split(", ")
        assert not self.tables[family].sets[name][2] & set(elements)
        self.tables[family].sets[name][2].update(elements)

    def _delete_element(self, family: str, name: str, body: str) -> None:
        keys = set(body.removeprefix("{ ").removesuffix(" }").split(", "))
        held = self.tables[family].sets[name][2]
        gone = {element for element in held if element.partition(" : ")[0] in keys}
        assert len(gone) == len(keys)
        held -= gone

    @staticmethod
    def _rules(table: FakeTable) -> list[str]:
        return [rule for _, rules in table.chains.values() for rule in rules]

    def _jumps(self, table: FakeTable) -> set[str]:
        texts = self._rules(table) + [e for _, _, elements in table.sets.values() for e in elements]
        return {name for text in texts for name in JUMP.findall(text)}

    def _check_references(self, table: FakeTable) -> None:
        assert self._jumps(table) <= table.chains.keys()
        assert {n for r in self._rules(table) for n in SET.findall(r)} <= table.sets.keys()
        assert {n for r in self._rules(table) for n in COUNTER.findall(r)} <= table.counters.keys()


def loaded(*steps: list[Operation]) -> FakeNft:
    """What these transactions make, one after the other."""
    nft = FakeNft()
    for step in steps:
        nft.run(text(step))
    return nft


@st.composite
def rulesets(draw: Any) -> Ruleset:
    """What a node may come to have: parts of the founding one, with other limits and sites."""
    whole, desired = founding(), Desired()
    desired.node = whole.node
    vrfs = draw(st.lists(st.sampled_from(list(whole.vrfs)), unique=True))
    for name in vrfs:
        limit = draw(st.sampled_from((0, 10, 20)))
        desired.vrfs[name] = type(whole.vrfs[name])(name, 1, limit)
    for name, port in whole.ce_ports.items():
        if port.vrf in vrfs and draw(st.booleans()):
            sources = draw(st.sampled_from((None, (), whole.ce_ports["ce-red"].sources)))
            desired.ce_ports[name] = type(port)(
                name, port.vrf, draw(st.integers(1, 2)), port.addresses, sources,
                port.parent, port.vlan,
            )  # fmt: skip
    for peer, session in whole.sessions.items():
        if (not session.port or session.port in desired.ce_ports) and draw(st.booleans()):
            desired.sessions[peer] = session
    core = draw(st.lists(st.sampled_from(list(whole.core_ports)), unique=True))
    desired.core_ports = {name: whole.core_ports[name] for name in core}
    present = draw(st.sets(st.sampled_from(sorted(PRESENT))))
    return ruleset(RenderContext(desired, present, neighbours=draw(st.integers(4, 5))))


@settings(max_examples=30)
@given(st.lists(rulesets(), min_size=1, max_size=4))
def test_any_sequence_of_transactions_ends_in_the_last_ruleset(steps: list[Ruleset]) -> None:
    nft = FakeNft()
    held: Ruleset = {}
    for wanted in steps:
        nft.run(text(transaction(held, wanted)))
        held = wanted
    assert nft.tables == loaded(transaction({}, steps[-1])).tables
    assert transaction(held, steps[-1]) == []


@settings(max_examples=20)
@given(rulesets(), rulesets())
def test_counters_that_are_wanted_go_on_counting(before: Ruleset, after: Ruleset) -> None:
    nft = loaded(transaction({}, before))
    for table in nft.tables.values():
        table.counters = dict.fromkeys(table.counters, 7)
    nft.run(text(transaction(before, after)))
    for name, held in after.items():
        counters = nft.tables[name.family].counters
        for counter in before[name].counters & held.counters:
            assert counters[counter] == 7


@settings(max_examples=20)
@given(rulesets(), rulesets())
def test_a_port_that_goes_keeps_its_guard_until_it_is_down(before: Ruleset, after: Ruleset) -> None:
    nft = loaded(transaction({}, before))
    both = union(before, after)
    nft.run(text(transaction(before, both)))
    for name, table in before.items():
        assert table.chains.keys() <= nft.tables[name.family].chains.keys()
    nft.run(text(transaction(both, after)))
    assert nft.tables == loaded(transaction({}, after)).tables


@settings(max_examples=20)
@given(rulesets(), rulesets())
def test_names_alone_are_enough_to_start_from(before: Ruleset, after: Ruleset) -> None:
    """As after a start: of what a former run left only names, types and hooks are known."""
    nft = loaded(transaction({}, before))
    nft.run(text(transaction(names_of(before, after), after)))
    assert nft.tables == loaded(transaction({}, after)).tables


def names_of(held: Ruleset, wanted: Ruleset) -> Ruleset:
    """What the reader would find."""
    return {
        name: Table(
            {n: Chain(UNKNOWN_RULES, chain.hook) for n, chain in table.chains.items()},
            {n: s if wanted[name].sets.get(n) == s else UNKNOWN_SET for n, s in table.sets.items()},
            table.counters,
            {n: UNKNOWN_ELEMENTS for n, kind in table.sets.items() if not kind.is_dynamic},
        )
        for name, table in held.items()
    }


@settings(max_examples=20)
@given(rulesets(), rulesets())
def test_recreation_works_from_anything(before: Ruleset, after: Ruleset) -> None:
    nft = loaded(transaction({}, before), recreation(after))
    assert nft.tables == loaded(transaction({}, after)).tables
