"""The ingress PE and the egress PE of a packet decide the same, for any placement."""

# ruff: noqa: S311 - seeded worlds, not secrets

from __future__ import annotations

from collections import Counter
from random import Random

from controlplane.model.workload import Inventory, RemotePrefix, Workload
from controlplane.policy.compile.directory import group_ids
from controlplane.policy.compile.full import compile_policy
from controlplane.policy.compile.reader import Reader
from controlplane.policy.compile.reference import evaluate
from controlplane.policy.language.policy import Policy
from tests.property import segment_worlds as worlds

SEEDS = 150


def _seen_by(policy: Policy, here: list[Workload], there: list[Workload]) -> Inventory:
    """A PE: its own workloads, and those of the other by what their routes carry."""
    remotes = [
        RemotePrefix(each.vrf, prefix, group_ids(policy, each))
        for each in there
        for prefix in each.addresses
    ]
    return Inventory(frozenset(worlds.ZONES), tuple(here), tuple(remotes))


def test_both_pes_say_the_same_of_every_packet() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        rng = Random(seed)
        policy, everybody = worlds.policy(rng), worlds.workloads_apart(rng)
        half = [each for each in everybody if rng.randrange(2)]
        rest = [each for each in everybody if each not in half]
        sides = (_seen_by(policy, half, rest), _seen_by(policy, rest, half))
        readers = [Reader(compile_policy(policy, side).tables) for side in sides]
        for probe in worlds.probes(rng):
            flow = (probe.zone, probe.source, probe.destination, probe.packet)
            one, other = (evaluate(policy, side, *flow) for side in sides)
            assert one == other, (seed, probe)
            assert {reader.verdict(*flow).allowed for reader in readers} == {one.allowed}
            seen["allowed" if one.allowed else "denied"] += 1
            seen["by a rule"] += one.tier is not None
    assert min(seen.values()) > 3000, seen
