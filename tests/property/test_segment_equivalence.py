"""The meaning of a policy is one: reference, compiled tables and incremental tables agree."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.segment.compile import Books, Compiled, compile_policy
from controlplane.segment.incremental import IncrementalCompiler
from controlplane.segment.policy import Policy
from controlplane.segment.reference import evaluate
from controlplane.segment.tables import Reader, apply, diff
from controlplane.segment.workload import Claimant, Inventory
from tests.property import segment_worlds as worlds

QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _assert_same_verdicts(
    policy: Policy, inventory: Inventory, compiled: Compiled, probes: list[worlds.Probe]
) -> None:
    reader = Reader(compiled.tables)
    for probe in probes:
        flow = (probe.zone, probe.source, probe.destination, probe.packet)
        wanted = evaluate(policy, inventory, *flow)
        found = reader.verdict(*flow)
        named = tuple(compiled.rule_ids[number] for number in (found.rule, *found.logs))
        assert (found.allowed, *named) == (wanted.allowed, wanted.rule, *wanted.logged), probe


@settings(QUICK, max_examples=150)
@given(worlds.policies(), worlds.inventories, worlds.probe_lists())
def test_the_compiled_tables_say_what_the_reference_says(
    policy: Policy, inventory: Inventory, probes: list[worlds.Probe]
) -> None:
    _assert_same_verdicts(policy, inventory, compile_policy(policy, inventory), probes)


@settings(QUICK, max_examples=70)
@given(
    worlds.policies(),
    st.lists(worlds.claimants, max_size=6),
    st.lists(worlds.claimants | st.integers(0, 9), min_size=1, max_size=10),
)
def test_every_incremental_step_equals_a_full_compilation(
    policy: Policy, before: list[Claimant], steps: list[Claimant | int]
) -> None:
    books = Books()
    present = {claimant.key: claimant for claimant in before}
    compiler = IncrementalCompiler(policy, worlds.inventory_of(before), books)
    for step in steps:
        old = compiler.tables.copy()
        if not isinstance(step, int):
            present[step.key] = step
            delta = compiler.put(step)
        elif present:
            delta = compiler.drop(sorted(present)[step % len(present)])
            del present[sorted(present)[step % len(present)]]
        else:
            continue
        full = compile_policy(policy, worlds.inventory_of([*present.values()]), books)
        assert compiler.tables == full.tables
        assert compiler.compiled().identities == full.identities
        assert delta == diff(old, full.tables)


@settings(QUICK, max_examples=30)
@given(worlds.policies(), worlds.policies(), worlds.inventories, worlds.inventories)
def test_applying_a_difference_gives_the_other_tables(
    first: Policy, second: Policy, before: Inventory, after: Inventory
) -> None:
    books = Books()
    old = compile_policy(first, before, books).tables
    new = compile_policy(second, after, books).tables
    apply(diff(old, new), old)
    assert old == new
    assert not diff(old, new)


@settings(QUICK, max_examples=30)
@given(worlds.policies(), worlds.inventories)
def test_ranges_of_addresses_and_ports_are_disjoint(policy: Policy, inventory: Inventory) -> None:
    tables = compile_policy(policy, inventory).tables
    for width, elements in ((4, tables.ranges4), (16, tables.ranges6)):
        for zone in worlds.ZONES:
            ends = sorted((first, last) for where, first, last in elements if where == zone)
            assert ends[0][0] == bytes(width)
            assert ends[-1][1] == b"\xff" * width
            for (_, last), (first, _) in itertools.pairwise(ends):
                assert int.from_bytes(last) + 1 == int.from_bytes(first)
    taken: dict[tuple[int, int], set[int]] = {}
    spans = [(c, p, port, port) for c, p, port in tables.ports] + [*tables.port_ranges]
    for contract, protocol, low, high in spans:
        ports = set(range(low, high + 1))
        assert not ports & taken.setdefault((contract, protocol), set())
        taken[contract, protocol] |= ports
