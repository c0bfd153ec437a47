"""The meaning of a policy is one: reference, compiled tables and incremental tables agree."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.model.verdict_tables import apply, diff
from controlplane.model.workload import Endpoint, Inventory
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import Decision, evaluate
from controlplane.policy.language.policy import Policy
from tests.property import segment_worlds as worlds

shrinkable = st.randoms(use_true_random=False)
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SEEDS = 200


def _assert_same_verdicts(
    policy: Policy, inventory: Inventory, probes: list[worlds.Probe]
) -> list[Decision]:
    compiled = compile_policy(policy, inventory)
    reader = Reader(compiled.tables)
    decisions = []
    for probe in probes:
        flow = (probe.zone, probe.source, probe.destination, probe.packet)
        wanted = evaluate(policy, inventory, *flow)
        found = reader.verdict(*flow)
        named = tuple(compiled.rule_ids[number] for number in (found.rule, *found.logs))
        assert (found.allowed, *named) == (wanted.allowed, wanted.rule, *wanted.logged), probe
        decisions.append(wanted)
    return decisions


def _compare(rng: Random) -> list[Decision]:
    inventory = worlds.inventory_of(worlds.claimants(rng))
    return _assert_same_verdicts(worlds.policy(rng), inventory, worlds.probes(rng))


@settings(QUICK, max_examples=40)
@given(shrinkable)
def test_the_compiled_tables_say_what_the_reference_says(rng: Random) -> None:
    _compare(rng)


def test_they_agree_in_many_worlds_and_the_worlds_are_worth_it() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        for decision in _compare(Random(seed)):
            seen["all"] += 1
            seen[decision.rule if decision.tier is None else "rule"] += 1
            seen["logged"] += bool(decision.logged)
    # Were the worlds to degenerate, agreement in them would mean little.
    assert seen["rule"] > seen["all"] * 0.25
    assert seen["logged"] > seen["all"] * 0.1
    for mode in ("visibility", "selective", "full", "pending", "malformed"):
        assert seen[f"default/{mode}"] > seen["all"] * 0.01, mode


def _walk(rng: Random, length: int) -> None:
    """Attach, change, detach at random; after each step the tables are those of a full run."""
    books, policy, before = IdAllocators(), worlds.policy(rng), worlds.claimants(rng, 6)
    present: dict[str, Endpoint] = {each.key: each for each in before}
    compiler = IncrementalCompiler(policy, worlds.inventory_of(before), books)
    for _ in range(length):
        old = compiler.tables.copy()
        if present and rng.randrange(3) == 0:
            key = rng.choice(sorted(present))
            del present[key]
            delta = compiler.drop(key)
        else:
            step = worlds.claimant(rng)
            present[step.key] = step
            delta = compiler.put(step)
        full = compile_policy(policy, worlds.inventory_of([*present.values()]), books)
        assert compiler.tables == full.tables
        assert compiler.compiled().identities == full.identities
        assert delta == diff(old, full.tables)


@settings(QUICK, max_examples=15)
@given(shrinkable, st.integers(1, 6))
def test_every_incremental_step_equals_a_full_compilation(rng: Random, length: int) -> None:
    _walk(rng, length)


def test_incremental_steps_equal_full_compilations_on_many_walks() -> None:
    for seed in range(60):
        _walk(Random(seed), 8)


def test_applying_a_difference_gives_the_other_tables() -> None:
    for seed in range(50):
        rng, books = Random(seed), IdAllocators()
        old, new = (
            compile_policy(
                worlds.policy(rng), worlds.inventory_of(worlds.claimants(rng)), books
            ).tables
            for _ in range(2)
        )
        delta = diff(old, new)
        assert delta
        apply(delta, old)
        assert old == new
        assert not diff(old, new)


def test_ranges_of_addresses_and_ports_are_disjoint_and_address_ranges_leave_no_gap() -> None:
    ranges = 0
    for seed in range(100):
        rng = Random(seed)
        inventory = worlds.inventory_of(worlds.claimants(rng))
        tables = compile_policy(worlds.policy(rng), inventory).tables
        for width, elements in ((4, tables.ranges4), (16, tables.ranges6)):
            for zone in set(worlds.ZONES):
                ends = sorted((first, last) for where, first, last in elements if where == zone)
                assert ends[0][0] == bytes(width)
                assert ends[-1][1] == b"\xff" * width
                for (_, last), (first, _) in itertools.pairwise(ends):
                    assert int.from_bytes(last) + 1 == int.from_bytes(first)
        taken: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for contract, protocol, low, high in tables.port_ranges:
            assert low < high
            taken.setdefault((contract, protocol), []).append((low, high))
        for contract, protocol, port in tables.ports:
            taken.setdefault((contract, protocol), []).append((port, port))
        for spans in taken.values():
            ranges += len(spans) > 1
            assert all(a[1] < b[0] for a, b in itertools.pairwise(sorted(spans)))
    assert ranges > 50
