"""Replaced tables begin an epoch; a change of them does not, and a promotion changes few chains."""

from __future__ import annotations

from controlplane.model.verdict import ALLOW_BIT, EPOCHS, LOG_BIT, OLDER_BIT, RULE_MASK
from controlplane.model.verdict_tables import Slot, Tables, diff
from pe.filters.core import OF_A_VPN, UNDER_A_LABEL
from pe.observe.log_entry import BACKWARDS_BIT
from pe.policy.desired import Wanted
from pe.policy.lookup import KEEP
from pe.policy.program import Layout, program


def test_no_two_of_what_a_packets_mark_holds_share_a_bit() -> None:
    masks = (
        ALLOW_BIT, LOG_BIT, OLDER_BIT, BACKWARDS_BIT, OF_A_VPN, UNDER_A_LABEL, RULE_MASK,
    )  # fmt: skip
    assert sum(mask.bit_count() for mask in masks) == sum(masks).bit_count()


def test_tables_that_take_the_place_of_others_begin_an_epoch() -> None:
    wanted = Wanted()
    wanted.set_zones({"red": 10})
    epochs = []
    for _ in range(EPOCHS + 1):
        wanted.set_tables(Slot.ENFORCED, Tables())
        epochs.append(wanted.take_parts().epoch)
    assert len(set(epochs)) == EPOCHS
    assert epochs[-1] == epochs[0]
    wanted.set_tables(Slot.STAGED, Tables())
    wanted.change_tables(Slot.ENFORCED, diff(Tables(), Tables()))
    assert wanted.take_parts().epoch == epochs[-1]


def test_an_epoch_changes_three_rules_however_many_vrfs_there_are() -> None:
    for zones in (frozenset({1}), frozenset(range(1, 50))):
        one, two = (program(Layout(zones, epoch=epoch)).chains for epoch in (1, 2))
        changed = {name for name, chain in one.items() if two[name] != chain}
        assert changed == {"forward", "output", KEEP}


def test_an_epoch_that_began_is_loaded_once_by_itself_or_with_the_whole() -> None:
    wanted = Wanted()
    wanted.set_zones({"red": 10})
    wanted.set_tables(Slot.ENFORCED, Tables())
    assert wanted.take_parts().epoch == wanted.epoch
    assert wanted.take_epoch() == {}, "it went with the whole"
    wanted.begin_epoch()
    assert not wanted.whole
    chains = program(Layout(frozenset({10}), epoch=wanted.epoch)).chains
    assert wanted.take_epoch() == {name: chains[name] for name in ("forward", "output", KEEP)}
    assert wanted.take_epoch() == {}
