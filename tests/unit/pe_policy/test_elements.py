"""Tables as keys and values, and deltas as one change."""

from __future__ import annotations

from random import Random

from controlplane.model.source_bindings import ELSEWHERE, SourceBindings
from controlplane.model.verdict import Verdict
from controlplane.model.verdict_tables import MapDelta, Slot, Tables, diff
from controlplane.policy.compile.full import IdAllocators, compile_policy
from controlplane.policy.compile.incremental import IncrementalCompiler
from pe.nft.diff import Change, difference, merge
from pe.nft.expression import host32
from pe.policy.desired import Wanted, combined
from pe.policy.elements import Encoder, gates
from pe.policy.lookup import VERDICT_MAPS
from pe.policy.ports import Port
from pe.policy.program import GATES, TABLE
from tests.property import segment_worlds as worlds

ZONES = {"red": 10, "blue": 20}


def _random_tables(seed: int, books: IdAllocators) -> Tables:
    rng = Random(seed)  # noqa: S311 - a seeded world
    inventory = worlds.inventory_of(worlds.claimants(rng))
    return compile_policy(worlds.policy(rng), inventory, books).tables


def test_keys_are_registers_one_after_the_other() -> None:
    tables = Tables()
    tables.addresses4["red", b"\x0a\x00\x00\x01"] = 7
    tables.ports[1 << 31, 6, 443] = Verdict(True, 64)
    tables.port_ranges[1 << 31, 17, 1, 2] = Verdict(False, 65)
    tables.icmp[1 << 31, 1, 8] = Verdict(True, 66, (3,))
    made = Encoder(ZONES).tables(Slot.STAGED, tables)
    assert made["s_addresses4"] == {host32(10) + b"\x0a\x00\x00\x01": host32(7)}
    contract = host32(1 << 31)
    assert made["s_ports"] == {contract + b"\x06\0\0\0\x01\xbb\0\0": host32(1 << 31 | 64)}
    udp = contract + b"\x11\0\0\0"
    assert made["s_port_ranges"] == {udp + b"\0\x01\0\0" + udp + b"\0\x02\0\0": host32(65)}
    assert made["s_icmp"] == {contract + b"\x01\0\0\0\x08\0\0\0": host32(3 << 30 | 66)}


def test_every_key_has_the_length_of_its_map() -> None:
    for seed in range(30):
        made = Encoder(ZONES).tables(Slot.ENFORCED, _random_tables(seed, IdAllocators()))
        for name, elements in made.items():
            kind = VERDICT_MAPS[name.removeprefix("e_")]
            size = kind.key_length * (2 if kind.interval else 1)
            assert {len(key) for key in elements} <= {size}, name
            assert {len(value) for value in elements.values()} <= {4}, name
    for name, elements in gates(ZONES, {"pe-a": Port("red", 3), "pe-x": Port("green", 4)}).items():
        assert {len(key) for key in elements} == {GATES[name].key_length}


def test_other_vrfs_are_left_out() -> None:
    tables = Tables(addresses4={("green", bytes(4)): 1}, ranges4={("green", bytes(4), bytes(4)): 1})
    made = Encoder(ZONES).tables(Slot.ENFORCED, tables)
    assert not made["e_addresses4"]
    assert not made["e_ranges4"]


def test_a_difference_leads_from_one_to_the_other() -> None:
    for seed in range(30):
        books = IdAllocators()
        encoder = Encoder(ZONES)
        old, new = (
            encoder.tables(Slot.ENFORCED, _random_tables(seed + n * 1000, books)) for n in (0, 1)
        )
        merge(old, difference(old, new))
        assert old == new
        assert not difference(old, new)


def test_deltas_in_a_row_are_one_change_and_equal_the_whole() -> None:
    for seed in range(40):
        rng, wanted = Random(seed), Wanted()  # noqa: S311 - a seeded world
        before = worlds.claimants(rng, 6)
        compiler = IncrementalCompiler(worlds.policy(rng), worlds.inventory_of(before))
        wanted.set_zones(ZONES)
        wanted.set_tables(Slot.ENFORCED, compiler.tables)
        held = wanted.take_parts().ruleset()[TABLE].elements
        for _ in range(12):
            wanted.change_tables(Slot.ENFORCED, compiler.put(worlds.claimant(rng)))
        change = wanted.take_change()
        assert change is not None
        for gone, put in change.values():
            assert len(set(gone)) == len([*gone])
            del put
        merge(held, change)
        assert held == wanted.take_parts().ruleset()[TABLE].elements


def test_an_element_that_comes_and_goes_is_no_change() -> None:
    there: Change = {"e_pairs": ((), {b"k": b"1"})}
    gone: Change = {"e_pairs": ((b"k",), {})}
    assert combined([there, gone]) == {"e_pairs": ((), {})}
    assert combined([gone, there]) == {"e_pairs": ({b"k"}, {b"k": b"1"})}


def _taken() -> Wanted:
    wanted = Wanted()
    wanted.set_zones(ZONES)
    wanted.set_tables(Slot.ENFORCED, Tables())
    wanted.take_parts()
    return wanted


def test_a_port_that_comes_changes_its_gates_alone() -> None:
    wanted = _taken()
    wanted.set_ports({"pe-a": Port("red", 3), "eth9": Port("green", 4)})
    change = wanted.take_change()
    assert change is not None
    assert {name for name, (gone, put) in change.items() if gone or put} == {
        "ports_in",
        "ports_out",
    }
    assert [*change["ports_in"][1].values()] == [b"goto binding_10"]
    assert [*change["ports_out"][1].values()] == [b"goto untracked_out_10"]


def test_bindings_are_numbers_of_ports_and_a_port_keeps_its_number() -> None:
    wanted, place = _taken(), ("red", b"\x0a\x00\x00\x01")
    key, away = host32(10) + place[1], ("red", bytes(4))
    wanted.change_bindings({"bindings4": MapDelta(frozenset(), {place: "pe-b", away: ELSEWHERE})})
    change = wanted.take_change()
    assert change is not None
    name = b"pe-b".ljust(16, b"\0")
    assert change["binding_ports"] == ((), {host32(1) + name: host32(1)})
    assert change["bindings4"] == ((), {key: host32(1), host32(10) + bytes(4): host32(0)})
    assert change["port_bindings4"] == ((), {}), (
        "no port has an index yet, and elsewhere is no port"
    )
    wanted.change_bindings({"bindings4": MapDelta(frozenset({place}), {place: "pe-a"})})
    wanted.change_bindings({"bindings4": MapDelta(frozenset({place}), {place: "pe-b"})})
    assert wanted.take_change() == {
        "bindings4": ({key}, {key: host32(1)}),
        "port_bindings4": ((), {}),
        "binding_ports": ((), {host32(2) + b"pe-a".ljust(16, b"\0"): host32(1)}),
    }
    stepped = wanted.take_parts().ruleset()[TABLE].elements
    wanted.set_bindings(SourceBindings(bindings4={place: "pe-b", away: ELSEWHERE}))
    assert wanted.take_parts().ruleset()[TABLE].elements == stepped


def test_the_shorter_way_home_follows_the_index_of_the_port() -> None:
    wanted, place = _taken(), ("red", b"\x0a\x00\x00\x01")
    at = {index: host32(index) + place[1] for index in (3, 7, 8)}
    wanted.set_ports({"pe-a": Port("red", 3), "pe-b": Port("red", 7)})
    wanted.change_bindings({"bindings4": MapDelta(frozenset(), {place: "pe-b"})})
    held = wanted.take_change()
    assert held is not None
    assert held["port_bindings4"] == ((), {at[7]: host32(1)})
    wanted.change_bindings({"bindings4": MapDelta(frozenset({place}), {place: "pe-a"})})
    wanted.change_bindings({"bindings4": MapDelta(frozenset({place}), {place: "pe-b"})})
    assert _of_at_home(wanted) == ({at[7]}, {at[7]: host32(1)}), "as it was"
    wanted.set_ports({"pe-a": Port("red", 3), "pe-b": Port("red", 8)})
    assert _of_at_home(wanted) == ({at[7]}, {at[8]: host32(1)}), "another device of that name"
    wanted.set_ports({"pe-a": Port("red", 3), "pe-b": Port("blue", 8)})
    assert _of_at_home(wanted) == ({at[8]}, {}), "it lives in red, and the port does not"
    wanted.set_ports({"pe-a": Port("red", 3), "pe-b": Port("red", 8)})
    assert _of_at_home(wanted) == (set(), {at[8]: host32(1)})
    stepped = wanted.take_parts().ruleset()[TABLE].elements
    wanted.set_bindings(SourceBindings(bindings4={place: "pe-b"}))
    assert (
        wanted.take_parts().ruleset()[TABLE].elements["port_bindings4"]
        == stepped["port_bindings4"]
        == {at[8]: host32(1)}
    )


def _of_at_home(wanted: Wanted) -> tuple[set[bytes], dict[bytes, bytes]]:
    change = wanted.take_change()
    assert change is not None
    gone, put = change["port_bindings4"]
    return set(gone), dict(put)


def test_zones_change_everything() -> None:
    wanted = Wanted()
    wanted.set_zones(ZONES)
    wanted.set_tables(Slot.ENFORCED, diff_target())
    wanted.take_parts()
    wanted.set_zones({"red": 10})
    assert wanted.take_change() is None
    assert not wanted.take_parts().ruleset()[TABLE].sets.keys() & {"s_pairs"}


def diff_target() -> Tables:
    """Tables with one address, and nothing else."""
    tables = Tables(addresses4={("red", bytes(4)): 1})
    assert diff(Tables(), tables)
    return tables
