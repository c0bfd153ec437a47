"""The code of a boot: no mark that programs set by accident is one of the node's."""

from __future__ import annotations

from itertools import product

from controlplane.model.verdict import ALLOW_BIT, EPOCH_MASK, LOG_BIT, OLDER_BIT, RULE_MASK
from pe.filters.core import OF_A_VPN, UNDER_A_LABEL
from pe.model.mark_code import CODE_MASK, TURNED, MarkCode
from pe.observe.log_entry import BACKWARDS_BIT

CODES = [MarkCode.of(f"boot {number}") for number in range(500)]
CONSTANTS = (0, 1, 0x4000, 0x8000, 0x80000, 0xFF0000, 0xFFFF0000, 0xFFFFFFFF, ALLOW_BIT,
             0xF0000000, 0x90000040)  # fmt: skip


def test_each_boot_has_its_own_and_each_start_the_same() -> None:
    assert MarkCode.of("one") == MarkCode.of("one")
    assert len({code.allowed for code in CODES}) == len(CODES)


def test_allowed_and_denied_cannot_become_each_other() -> None:
    for code in CODES:
        assert code.allowed & ~code.denied & TURNED, "no bits that are cleared make one of other"
        assert code.denied & ~code.allowed & TURNED, "nor bits that are added"
        value, mask = code.common
        assert code.allowed & mask == code.denied & mask == value
        assert code.allowed & ~CODE_MASK == code.denied & ~CODE_MASK == 0


def test_no_mark_of_a_packet_is_that_of_a_connection() -> None:
    """So a packet's mark that is saved says nothing."""
    word = ALLOW_BIT | LOG_BIT | OLDER_BIT | BACKWARDS_BIT | RULE_MASK | UNDER_A_LABEL
    for code in CODES:
        for mark in (code.allowed, code.denied):
            assert mark & ~word, "a verdict, a table's number"
            assert mark != code.passed & CODE_MASK
        assert code.passed & ~(word | OF_A_VPN), "nor is a verdict the mark of a judged packet"
        assert not code.passed & (OF_A_VPN | UNDER_A_LABEL)


def test_constants_of_other_programs_are_no_code() -> None:
    for code, value in product(CODES, CONSTANTS):
        assert value & CODE_MASK not in (code.allowed, code.denied)
        assert value != code.passed


def test_epoch_and_direction_have_room_beside_it() -> None:
    assert CODE_MASK | EPOCH_MASK | OLDER_BIT == 0xFFFFFFFF
    assert not CODE_MASK & (EPOCH_MASK | OLDER_BIT)
    assert TURNED & CODE_MASK == TURNED
