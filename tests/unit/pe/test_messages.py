"""Transactions as batches, taken apart again."""

from __future__ import annotations

from collections import Counter

from pe.netlink import codec as nl
from pe.nft import messages as tx
from pe.nft.diff import UNKNOWN_ELEMENTS, UNKNOWN_RULES, Operation, transaction
from pe.nft.model import Chain, NamedSet, Ruleset, Table
from pe.policy.program import TABLE, Layout, program


def _state(*zones: int, staged: bool = False, **elements: dict[bytes, bytes]) -> Ruleset:
    made = program(Layout(frozenset(zones), staged=staged))
    filled = {name: elements.get(name, {}) for name in made.sets}
    return {TABLE: Table(made.chains, made.sets, made.counters, filled)}


def _change(old: Ruleset, new: Ruleset) -> list[bytes]:
    return tx.messages(transaction(old, new))[0]


def _kinds(messages: list[bytes]) -> Counter[int]:
    parsed = nl.messages(memoryview(b"".join(messages)))
    return Counter(message.type & 0xFF for message in parsed)


def _elements(*numbers: int) -> dict[bytes, bytes]:
    return {n.to_bytes(4, "big") * 2: bytes(4) for n in numbers}


def _names_of(ruleset: Ruleset) -> Ruleset:
    """As it is known when only names were read."""
    table = ruleset[TABLE]
    chains = {n: Chain(UNKNOWN_RULES, chain.hook) for n, chain in table.chains.items()}
    unread = dict.fromkeys(table.sets, UNKNOWN_ELEMENTS)
    return {TABLE: Table(chains, table.sets, table.counters, unread)}


def test_nothing_to_do_is_nothing_to_say() -> None:
    assert _change(_state(10), _state(10)) == []
    assert _change({}, {}) == []


def test_elements_alone_change_by_themselves() -> None:
    old, new = _state(10, e_pairs=_elements(1, 2)), _state(10, e_pairs=_elements(2, 3))
    assert _kinds(_change(old, new)) == {tx.DEL_ELEMENT: 1, tx.NEW_ELEMENT: 1}


def test_a_staged_revision_comes_and_goes_without_a_word_about_the_enforced_elements() -> None:
    plain = _state(10, e_pairs=_elements(*range(100)))
    both = _state(10, staged=True, e_pairs=_elements(*range(100)), s_pairs=_elements(1))
    coming, going = _change(plain, both), _change(both, plain)
    names = [name for m in coming if m[4] == tx.NEW_ELEMENT for name in (_second(m),)]
    assert names == ["s_pairs"]
    assert _kinds(coming)[tx.NEW_SET] == _kinds(going)[tx.DEL_SET] == 12
    assert not _kinds(going)[tx.NEW_ELEMENT]
    assert not _kinds(coming)[tx.DEL_SET]


def _second(message: bytes) -> str:
    return nl.text(nl.attributes(memoryview(message)[20:])[2])


def test_from_names_all_is_filled_anew_but_counters_count_on() -> None:
    state = _state(10, e_pairs=_elements(1))
    fresh, again = _change({}, state), _change(_names_of(state), state)
    table = state[TABLE]
    assert _kinds(fresh)[tx.NEW_OBJECT] == len(table.counters)
    assert not _kinds(again)[tx.NEW_OBJECT]
    assert _kinds(again)[tx.DEL_RULE] == _kinds(again)[tx.NEW_CHAIN] == len(table.chains)
    assert not _kinds(again)[tx.DEL_CHAIN], "a chain that drops would drop until all is through"
    assert _kinds(again)[tx.NEW_RULE] == _kinds(fresh)[tx.NEW_RULE]
    assert _kinds(again)[tx.DEL_ELEMENT] == len(table.sets), "each is flushed"
    assert _kinds(again)[tx.NEW_ELEMENT] == 1
    strange = {TABLE: Table({}, {}, frozenset({"judged_9"}))}
    assert _kinds(_change(strange, state))[tx.DEL_OBJECT] == 1


def test_a_set_of_another_type_is_made_anew_with_the_rules_that_name_it() -> None:
    state = _state(10)
    table = state[TABLE]
    other = {**table.sets, "e_pairs": NamedSet(("mark",), "mark")}
    old = {TABLE: Table(table.chains, other, table.counters, table.elements)}
    kinds = _kinds(_change(old, state))
    assert (kinds[tx.DEL_SET], kinds[tx.NEW_SET]) == (1, 1)
    assert kinds[tx.DEL_RULE] > 0
    assert kinds[tx.DEL_RULE] < len(table.chains)


def test_the_last_vrf_takes_the_table_with_it() -> None:
    assert _kinds(_change(_state(10), {})) == {tx.DEL_TABLE: 1}


def test_lists_of_elements_fit_an_attribute() -> None:
    many = {n.to_bytes(8, "big"): bytes(4) for n in range(5000)}
    messages = _change(_state(10), _state(10, e_pairs=many))
    assert len(messages) > 2
    assert all(len(message) < 1 << 16 for message in messages)
    lists = [nl.attributes(memoryview(m)[20:])[3] for m in messages]
    assert sum(len(each) for each in lists) == 5000 * len(lists[0]) // _count(lists[0])


def _count(listed: memoryview) -> int:
    at = count = 0
    while at < len(listed):
        at += int.from_bytes(listed[at : at + 2], "little")
        count += 1
    return count


def test_a_batch_is_numbered_and_asks_for_one_answer() -> None:
    data = tx.batch(_change({}, _state(10)), 77)
    first, *body, last = nl.messages(memoryview(data))
    assert (first.type, last.type) == (tx.BATCH_BEGIN, tx.BATCH_END)
    assert int.from_bytes(nl.attributes(first.body[4:])[1], "big") == 77
    assert [message.seq for message in body] == [*range(1, len(body) + 1)]
    assert [m.seq for m in body if m.flags & nl.NLM_F_ACK] == [len(body)]


def test_each_message_knows_its_operation() -> None:
    operations: list[Operation] = transaction({}, _state(10, e_pairs=_elements(1)))
    messages, whose = tx.messages(operations)
    assert len(messages) == len(whose)
    assert [o for n, o in enumerate(whose) if not n or whose[n - 1] is not o] == operations
