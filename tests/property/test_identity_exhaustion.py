"""What one tenant or one BGP peer does with sets of groups costs the other tenants nothing."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.prefix import host_prefix, parse_prefix
from controlplane.model.verdict_tables import Tables, apply
from controlplane.model.workload import Inventory, Packet, RemotePrefix, Workload
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.compile.identity import OUTSIDE, PENDING, Identity
from controlplane.policy.compile.identity_quota import IdentityAllocator
from controlplane.policy.compile.incremental import IncrementalCompiler
from controlplane.policy.compile.pair_table import MOST_UNUSED
from controlplane.policy.compile.reader import Reader
from controlplane.policy.language.document import parse_policy
from controlplane.policy.language.policy import Policy

BITS = 16
VRFS = frozenset({"red", "blue"})
ADDRESS = parse_prefix("10.0.0.1")
TCP = Packet(4, 6, dport=1)


def policy(*, several: bool = True) -> Policy:
    """A rule for each group, or one for all of them."""
    groups = "".join(f"  g{bit}: {{id: {bit + 1}, selector: t{bit}=x}}\n" for bit in range(BITS))
    rules = "".join(f"  - allow g{bit} to any on tcp/{bit + 1}\n" for bit in range(BITS))
    if not several:
        names = ", ".join(f"g{bit}" for bit in range(BITS))
        rules = f"  - allow {names} to any on tcp/1\n"
    return parse_policy(f"groups:\n{groups}modes: {{default: full}}\nrules:\n{rules}")


def tags(number: int) -> dict[str, str]:
    return {f"t{bit}": "x" for bit in range(BITS) if number >> bit & 1}


def workload(number: int, vrf: str = "red", name: str = "w") -> Workload:
    return Workload(name, vrf, "p1", (ADDRESS,), tags(number))


def numbers(*, last: int, most_of_vrf: int, reserved: int, last_resort: int) -> IdAllocators:
    return IdAllocators(
        IdentityAllocator(
            last=last, most_of_vrf=most_of_vrf, reserved=reserved, last_resort=last_resort
        )
    )


def test_one_workload_may_have_more_sets_of_tags_than_there_are_numbers() -> None:
    books, few = IdAllocators(), policy(several=False)
    compiler = IncrementalCompiler(few, Inventory(VRFS), books)
    held = compiler.tables.copy()
    for number in range(40_000):
        apply(compiler.put(workload(number)), held)
        if number % 100 == 0:
            books.confirm()
    assert held == compiler.tables
    assert len(books.identities) <= 4
    assert not compiler.refused
    assert same_verdicts(held, compile_policy(few, Inventory(VRFS, (workload(39_999),))).tables)


def test_contracts_of_changing_tags_are_given_back() -> None:
    books = IdAllocators()
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    for number in range(1, 3_000):
        compiler.put(workload(number))
    assert len(books.contracts) <= MOST_UNUSED + 64


def test_in_the_same_change_a_number_never_passes_from_one_owner_to_another() -> None:
    books = numbers(last=12, most_of_vrf=12, reserved=0, last_resort=2)
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    owners = dict(compiler.compiled().identities)
    for number in range(1, 500):
        compiler.put(workload(number))
        now = compiler.compiled().identities
        for id_, identity in now.items():
            assert owners.get(id_, identity) == identity, "since the last confirmation"
        owners |= now
        if number % 3 == 0:
            books.confirm()
            owners = dict(now)


def test_a_peer_with_too_many_sets_has_pending_addresses_and_others_are_not_hurt() -> None:
    books = numbers(last=200, most_of_vrf=20, reserved=100, last_resort=10)
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    held = compiler.tables.copy()
    for number in range(1, 400):
        groups = frozenset(bit + 1 for bit in range(BITS) if number >> bit & 1)
        prefix = host_prefix(ip_address(0x0A010000 + number))
        apply(compiler.put(RemotePrefix("red", prefix, groups)), held)
    assert held == compiler.tables
    assert compiler.refused == {"red": 399 - 19}, "outside has one of the twenty"
    reader, target = Reader(held), ip_address("10.9.9.9")
    assert reader.verdict("red", ip_address(0x0A010001), target, TCP).allowed, "the first one"
    late = ip_address(0x0A010000 + 399)
    assert reader.identity("red", late) == books.identities.get(Identity("red", PENDING))
    assert not reader.verdict("red", late, target, TCP).allowed
    # Another VRF is as it was.
    assert not compiler.refusal(workload(1, "blue"))
    apply(compiler.put(workload(1, "blue")), held)
    assert Reader(held).verdict("blue", ip_address("10.0.0.1"), target, TCP).allowed
    assert "VRF red" in compiler.refusal(workload(2**BITS - 1))


def test_a_pending_address_gets_its_identity_when_there_is_room() -> None:
    books = numbers(last=200, most_of_vrf=6, reserved=100, last_resort=10)
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    for number in range(1, 9):
        compiler.put(replace(workload(number, name=f"w{number}"),
                             addresses=(host_prefix(ip_address(number)),)))  # fmt: skip
    assert sum(compiler.refused.values()) == 3
    for number in range(1, 5):
        compiler.drop(f"workload w{number}")
        books.confirm()
    compiler.put(workload(5, name="w5"))  # any later change
    assert not compiler.refused
    left = tuple(
        replace(workload(n, name=f"w{n}"), addresses=(host_prefix(ip_address(n)),))
        for n in range(6, 9)
    )
    inventory = Inventory(VRFS, (*left, workload(5, name="w5")))
    assert same_verdicts(compiler.tables, compile_policy(policy(), inventory).tables)


def same_verdicts(one: Tables, other: Tables) -> bool:
    ends = [ip_address(number) for number in range(12)] + [ip_address("10.0.0.1")]
    return all(
        Reader(one).verdict("red", a, b, replace(TCP, dport=port))[0]
        == Reader(other).verdict("red", a, b, replace(TCP, dport=port))[0]
        for a in ends
        for b in ends
        for port in range(1, 5)
    )


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(8, 30))
def test_any_changes_within_any_limits_never_raise_and_never_leak(rng: Random, last: int) -> None:
    books = numbers(last=last, most_of_vrf=last // 2, reserved=last // 4, last_resort=2)
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    held = compiler.tables.copy()
    names = ("a", "b", "c", "d", "e", "f", "g", "h")
    for _ in range(60):
        name, vrf = rng.choice(names), rng.choice(sorted(VRFS))
        made = replace(workload(rng.randrange(64), vrf, name),
                       addresses=(host_prefix(ip_address(rng.randrange(1, 9))),))  # fmt: skip
        change = compiler.change([made], [f"workload {rng.choice(names)}"])
        apply(change, held)
        if rng.randrange(2):
            books.confirm()
    assert held == compiler.tables
    for name in names:
        apply(compiler.change([], [f"workload {name}"]), held)
    books.confirm()
    apply(compiler.change([], []), held)
    left = {identity.membership for identity, _ in books.identities.items()}
    assert left <= {OUTSIDE, PENDING}
    assert not compiler.refused
    for _ in compiler.close():
        pass
    assert (len(books.identities), len(books.contracts), len(books.rules)) == (0, 0, 0)


def test_the_quota_is_said_before_anything_changes() -> None:
    books = numbers(last=100, most_of_vrf=3, reserved=10, last_resort=2)
    compiler = IncrementalCompiler(policy(), Inventory(VRFS), books)
    compiler.put(workload(1, name="w1"))
    before = compiler.tables.copy()
    assert not compiler.refusal(workload(1, name="w2")), "a set that is there"
    full = replace(workload(2, name="w3"), addresses=(parse_prefix("10.0.0.3"),))
    compiler.put(full)
    assert "3 different sets" in compiler.refusal(workload(4, name="w4"))
    compiler.drop(full.key)
    assert compiler.tables == before
