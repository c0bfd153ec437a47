"""Tables: shape, stability of numbers, small deltas, growth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.model.prefix import parse_prefix
from controlplane.model.verdict import BY_VISIBILITY, Verdict
from controlplane.model.verdict_tables import Tables, apply, delta_size, diff
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.contract import OPEN, Contract, Span, flatten
from controlplane.policy.compile.coverage import cover
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.compile.identity import OUTSIDE, PENDING, EndpointKind, Membership
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.compile.pairing import CONTRACT_FLAG
from controlplane.policy.language.document import parse_policy
from tests.unit.policy.company import INVENTORY, policy_text


def _contract(*sentences: str) -> Contract:
    rules = parse_policy("rules: [" + ", ".join(f'"{s}"' for s in sentences) + "]").rules
    return flatten([*enumerate(rules, start=64)], OPEN)


def test_overlapping_ranges_become_disjoint_spans_around_exact_ports() -> None:
    made = _contract("allow any to any on tcp/15", "deny any to any on tcp/10-20,tcp/18-30")
    deny = Verdict(False, 65)
    assert made.spans == (
        Span(6, 10, 14, deny),
        Span(6, 15, 15, Verdict(True, 64)),
        Span(6, 16, 30, deny),
    )
    assert (made.verdict, made.protocols) == (BY_VISIBILITY, ())


def test_the_verdict_of_most_ports_becomes_that_of_the_protocol() -> None:
    made = _contract("allow any to any on tcp/443", "deny any to any on tcp")
    assert made.protocols == ((6, Verdict(False, 65)),)
    assert made.spans == (Span(6, 443, 443, Verdict(True, 64)),)


def test_the_longest_claim_wins_and_network_sets_add_up_around_it() -> None:
    claim = Membership(EndpointKind.WORKLOAD, frozenset({"g"}))
    ranges = cover(
        4,
        {parse_prefix("10.0.0.0/30"): claim, parse_prefix("10.0.0.2/31"): PENDING},
        [
            (parse_prefix(prefix), name)
            for prefix, name in (("10.0.0.0/29", "a"), ("10.0.0.0/28", "b"), ("10.0.0.0/31", "c"))
        ],
    )
    named = [(r.first[-1], r.last[-1], m) for r, m in ranges.items() if r.first[0] == 10]
    assert named[:4] == [
        (0, 1, claim),
        (2, 3, PENDING),
        (4, 7, Membership(EndpointKind.OUTSIDE, frozenset({"a", "b"}))),
        (8, 15, Membership(EndpointKind.OUTSIDE, frozenset({"b"}))),
    ]
    assert ranges[(bytes(4), bytes((9, 255, 255, 255)))] == OUTSIDE  # type: ignore[index]


def _fleet(size: int) -> list[Workload]:
    tiers, envs = ("web", "app", "db"), ("prod", "dev")
    return [
        Workload(
            f"w{number}",
            "red",
            f"p{number}",
            (parse_prefix(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"),),
            {"tier": tiers[number % 3], "env": envs[number // 3 % 2]},
        )
        for number in range(size)
    ]


def test_verdict_elements_do_not_grow_with_the_number_of_workloads() -> None:
    policy = parse_policy(policy_text())
    few, many = (
        compile_policy(policy, Inventory(frozenset({"red"}), tuple(_fleet(size)))).tables
        for size in (12, 3000)
    )
    assert many.size() - few.size() == 3000 - 12
    assert len(many.pairs) == len(few.pairs)


def test_a_tag_change_among_thousands_is_one_changed_element() -> None:
    fleet = _fleet(3000)
    compiler = IncrementalCompiler(
        parse_policy(policy_text()), Inventory(frozenset({"red"}), tuple(fleet))
    )
    delta = compiler.put(replace(fleet[7], tags={"tier": "db", "env": "prod"}))
    assert {*delta} == {"addresses4"}
    assert delta_size(delta) == 2
    assert not compiler.put(replace(fleet[7], tags={"tier": "db", "env": "prod", "owner": "x"}))


def test_a_workload_in_a_vrf_that_is_not_here_is_refused_and_changes_nothing() -> None:
    compiler = IncrementalCompiler(parse_policy(policy_text()), INVENTORY)
    before = compiler.tables.copy()
    with pytest.raises(ValueError, match="green"):
        compiler.put(replace(INVENTORY.workloads[0], vrf="green"))
    with pytest.raises(KeyError):
        compiler.drop("workload absent")
    assert compiler.tables == before


def test_numbers_outlive_a_change_of_policy() -> None:
    books = IdAllocators()
    old = compile_policy(parse_policy(policy_text()), INVENTORY, books)
    text = policy_text().replace("  application:", "    - deny dev to any on udp\n  application:")
    new = compile_policy(parse_policy(text), INVENTORY, books)
    assert old.tables.addresses4 == new.tables.addresses4
    kept = {n: name for n, name in new.rule_ids.items() if n in old.rule_ids}
    assert kept == old.rule_ids
    assert len(new.rule_ids) == len(old.rule_ids) + 1


def test_identities_and_contracts_cannot_be_confused_in_a_mark() -> None:
    tables = compile_policy(parse_policy(policy_text()), INVENTORY).tables
    assert all(
        0 < source << 16 | destination < CONTRACT_FLAG for source, destination in tables.pairs
    )
    assert all(contract > CONTRACT_FLAG for contract in tables.contracts)
    assert {*tables.pairs.values()} <= tables.contracts.keys()


def test_a_delta_for_other_tables_is_refused() -> None:
    one = Tables(sources={1: 5})
    delta = diff(Tables(), one)
    apply(delta, Tables())
    with pytest.raises(KeyError):
        apply(delta, one)
