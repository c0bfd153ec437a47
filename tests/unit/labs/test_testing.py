"""How lab tests are portioned out to guests."""

from labs.testing import SHARED_PORTIONS, portions

LAB = ["tests/lab/test_a.py", "tests/lab/test_b.py"]
ATTACK = [f"tests/attack/test_{n}.py" for n in range(9)]


def test_each_module_has_a_guest_and_attacks_go_together() -> None:
    found = portions([*LAB, *ATTACK], {})
    assert sorted(module for part in found for module in part) == sorted([*LAB, *ATTACK])
    assert [LAB[0]] in found
    assert [LAB[1]] in found
    assert len(found) == len(LAB) + SHARED_PORTIONS


def test_the_longest_portion_goes_first() -> None:
    assert portions(LAB, {LAB[0]: 1.0, LAB[1]: 99.0}) == [[LAB[1]], [LAB[0]]]


def test_without_attacks_nothing_is_shared() -> None:
    assert portions(LAB[:1], {}) == [LAB[:1]]
