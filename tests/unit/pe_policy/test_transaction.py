"""Batches, taken apart again."""

from __future__ import annotations

from collections import Counter

from pe.netlink import codec as nl
from pe.nft import diff as tx
from pe.nft.diff import Names, State, batch, change, rebuild
from pe.policy.program import Layout, program


def _state(*zones: int, staged: bool = False, **elements: dict[bytes, bytes]) -> State:
    made = program(Layout(frozenset(zones), staged=staged))
    return State(made, {name: elements.get(name, {}) for name in made.maps})


def _kinds(messages: list[bytes]) -> Counter[int]:
    parsed = nl.messages(memoryview(b"".join(messages)))
    return Counter(message.type & 0xFF for message in parsed)


def _elements(*numbers: int) -> dict[bytes, bytes]:
    return {n.to_bytes(4, "big") * 2: bytes(4) for n in numbers}


def test_nothing_to_do_is_nothing_to_say() -> None:
    assert change(_state(10), _state(10)) == []
    assert change(State(), State()) == []
    assert rebuild(None, State()) == []


def test_elements_alone_change_by_themselves() -> None:
    old, new = _state(10, e_pairs=_elements(1, 2)), _state(10, e_pairs=_elements(2, 3))
    assert _kinds(change(old, new)) == {tx.DEL_ELEMENT: 1, tx.NEW_ELEMENT: 1}


def test_a_staged_revision_comes_and_goes_without_a_word_about_the_enforced_elements() -> None:
    plain = _state(10, e_pairs=_elements(*range(100)))
    both = _state(10, staged=True, e_pairs=_elements(*range(100)), s_pairs=_elements(1))
    coming, going = change(plain, both), change(both, plain)
    names = [name for m in coming if m[4] == tx.NEW_ELEMENT for name in (_second(m),)]
    assert names == ["s_pairs"]
    assert _kinds(coming)[tx.NEW_SET] == _kinds(going)[tx.DEL_SET] == 12
    assert not _kinds(going)[tx.NEW_ELEMENT]
    assert not _kinds(coming)[tx.DEL_SET]


def _second(message: bytes) -> str:
    return nl.text(nl.attributes(memoryview(message)[20:])[2])


def test_a_rebuild_makes_everything_anew_but_lets_counters_count() -> None:
    state = _state(10)
    fresh, again = rebuild(None, state), rebuild(state.names, state)
    assert _kinds(fresh)[tx.NEW_OBJECT] == len(state.program.counters)
    assert not _kinds(again)[tx.NEW_OBJECT]
    assert _kinds(again)[tx.DEL_CHAIN] == _kinds(again)[tx.NEW_CHAIN] == len(state.program.chains)
    assert _kinds(again)[tx.DEL_SET] == len(state.program.maps)
    strange = Names(frozenset({"x"}), frozenset({"y"}), frozenset({"judged_9"}))
    assert _kinds(rebuild(strange, state))[tx.DEL_OBJECT] == 1


def test_the_last_vrf_takes_the_table_with_it() -> None:
    assert _kinds(change(_state(10), State())) == {tx.DEL_TABLE: 1}
    assert _kinds(rebuild(Names(), State())) == {tx.DEL_TABLE: 1}


def test_lists_of_elements_fit_an_attribute() -> None:
    many = {n.to_bytes(8, "big"): bytes(4) for n in range(5000)}
    messages = change(_state(10), _state(10, e_pairs=many))
    assert len(messages) > 2
    assert all(len(message) < 1 << 16 for message in messages)
    found = sum(m.count(bytes(4) + b"\x10\x00") for m in messages)
    del found
    lists = [nl.attributes(memoryview(m)[20:])[3] for m in messages]
    assert sum(len(each) for each in lists) == 5000 * len(lists[0]) // _count(lists[0])


def _count(listed: memoryview) -> int:
    at = count = 0
    while at < len(listed):
        at += int.from_bytes(listed[at : at + 2], "little")
        count += 1
    return count


def test_a_batch_is_numbered_and_asks_for_one_answer() -> None:
    data = batch(change(State(), _state(10)), 77)
    first, *body, last = nl.messages(memoryview(data))
    assert (first.type, last.type) == (tx.BATCH_BEGIN, tx.BATCH_END)
    assert int.from_bytes(nl.attributes(first.body[4:])[1], "big") == 77
    assert [message.seq for message in body] == [*range(1, len(body) + 1)]
    assert [m.seq for m in body if m.flags & nl.NLM_F_ACK] == [len(body)]
