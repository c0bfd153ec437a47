"""Numbers that tenants share: given back, held down, and in fair parts."""

from __future__ import annotations

import pytest

from controlplane.policy.compile.identity import (
    OUTSIDE,
    PENDING,
    EndpointKind,
    Identity,
    Membership,
)
from controlplane.policy.compile.identity_quota import (
    GUARANTEED,
    IdentityAllocator,
    IdentityQuotaError,
    admitted,
)
from controlplane.policy.compile.numbers import IdAllocator, IdsExhaustedError


def test_a_number_stays_while_either_slot_refers_to_it() -> None:
    ids: IdAllocator[str] = IdAllocator(1, 2)
    assert [ids.acquire(key) for key in ("a", "a", "b")] == [1, 1, 2]
    ids.release("a")
    ids.confirm()
    assert ids.get("a") == 1
    with pytest.raises(IdsExhaustedError):
        ids.acquire("c")
    ids.release("a")
    ids.confirm()
    assert ids.acquire("c") == 1


def test_a_freed_number_is_held_down_until_the_kernel_has_dropped_it() -> None:
    ids: IdAllocator[str] = IdAllocator(1, 1)
    ids.acquire("a")
    ids.release("a")
    with pytest.raises(IdsExhaustedError, match="held down"):
        ids.acquire("b")
    ids.confirm()
    assert ids.acquire("b") == 1


def test_numbers_never_used_go_first_and_then_the_one_freed_first() -> None:
    ids: IdAllocator[str] = IdAllocator(1, 4)
    for key in "abc":
        ids.acquire(key)
    for key in "ba":
        ids.release(key)
        ids.confirm()
    assert [ids.acquire(key) for key in "xyz"] == [4, 2, 1]


def test_a_release_too_many_is_an_error() -> None:
    ids: IdAllocator[str] = IdAllocator(1, 2)
    ids.acquire("a")
    ids.release("a")
    with pytest.raises(KeyError):
        ids.release("a")


def test_numbers_handed_in_are_kept() -> None:
    again = IdAllocator(1, 3, {"b": 2})
    assert [again.assign(key) for key in "bxy"] == [2, 3, 1]


def identity(vrf: str, number: int) -> Identity:
    return Identity(vrf, Membership(EndpointKind.WORKLOAD, frozenset({f"g{number}"})))


def test_one_vrf_cannot_have_more_than_its_quota() -> None:
    ids = IdentityAllocator(last=100, most_of_vrf=10, reserved=0, last_resort=0)
    for number in range(10):
        ids.acquire(identity("red", number))
    assert "VRF red has 10 different sets of groups" in ids.refusal(identity("red", 10))
    with pytest.raises(IdentityQuotaError):
        ids.acquire(identity("red", 10))
    assert admitted(identity("red", 10), ids) == Identity("red", PENDING)
    assert ids.acquire(identity("red", 3)) == 4, "one that it has already"
    assert not ids.refusal(identity("blue", 10))
    ids.acquire(identity("blue", 10))
    ids.release(identity("red", 5))
    assert not ids.refusal(identity("red", 10)), "room again"


def test_all_vrfs_together_leave_each_vrf_its_guaranteed_part() -> None:
    ids = IdentityAllocator(last=200, most_of_vrf=150, reserved=100, last_resort=10)
    used = 0
    for vrf in ("a", "b", "c"):
        while not ids.refusal(identity(vrf, used)):
            ids.acquire(identity(vrf, used))
            used += 1
    assert ids.used_by("a") == 100, "all that is not reserved"
    assert ids.used_by("b") == ids.used_by("c") == GUARANTEED
    small = 0
    while not ids.refusal(Identity(f"s{small}", OUTSIDE)):
        ids.acquire(Identity(f"s{small}", OUTSIDE))
        small += 1
    assert ids.room == 10
    for number in range(10):
        ids.acquire(Identity(f"s{number}", PENDING))
    assert not ids.room
