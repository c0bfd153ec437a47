"""Compilation: the work follows the pairs of identities, each with the rules that mean it."""

from __future__ import annotations

from ipaddress import IPv4Address

from controlplane.model.prefix import host_prefix
from controlplane.model.workload import Inventory, Workload
from controlplane.policy.compile.contract import OPEN, flatten
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.language.document import parse_policy
from tests.scale.work import lines


def work_per_pair(groups: int) -> float:
    """Lines per pair of groups, of which each has a rule from one group to the next."""
    document = ["groups:"]
    document += [f"  g{n}: {{id: {n + 1}, selector: app=a{n}}}" for n in range(groups)]
    document += ["rules:"]
    document += [
        f"  - allow g{n} to g{(n + step) % groups} on tcp/{1000 + step}"
        for n in range(groups)
        for step in range(5)
    ]
    policy = parse_policy("\n".join(document))
    workloads = tuple(
        Workload(f"w{n}", "red", "p", (host_prefix(IPv4Address(0x0A000000 + n)),), {"app": f"a{n}"})
        for n in range(groups)
    )
    inventory = Inventory(frozenset({"red"}), workloads)
    return lines(lambda: IncrementalCompiler(policy, inventory)) / groups**2


def test_a_pair_is_not_compared_with_every_rule() -> None:
    """It was, which took most of the five seconds of ten thousand rules."""
    assert work_per_pair(60) <= 1.5 * work_per_pair(15)


def work_per_rule(count: int) -> float:
    """Lines per rule of the contract of a pair that all rules mean."""
    document = "rules:\n" + "".join(f"  - allow any to any on tcp/{n + 1}\n" for n in range(count))
    rules = list(enumerate(parse_policy(document).rules))
    return lines(lambda: flatten(rules, OPEN)) / count


def test_a_pair_that_many_rules_mean_costs_as_much_as_they_are() -> None:
    """Each piece between two ports was compared with every rule."""
    assert work_per_rule(400) <= 1.2 * work_per_rule(40)
