"""Property: however VRFs change places, no portion of a reload has anything twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.model.intent import VrfIntent
from controlplane.model.label import Label
from controlplane.routing.portions import portions
from tests.unit.controlplane.rig import node, port, vrf

MOST = 8
Configuration = tuple[tuple[VrfIntent, ...], dict[str, Label]]


def _configuration(
    names: list[int], rds: list[int], ports: list[int], tables: list[int], labels: list[int],
    limits: list[int],
) -> Configuration:  # fmt: skip
    vrfs = tuple(
        vrf(
            f"v{name}", rds[n] + 1, ports=(port(f"p{ports[n]}", "192.0.2.1/30"),),
            table=500 + tables[n], route_limit=limits[n],
        )
        for n, name in enumerate(names)
    )  # fmt: skip
    return vrfs, {v.name: Label(100 + labels[n]) for n, v in enumerate(vrfs)}


NUMBERS = st.permutations(range(MOST + 2))
"""Of what no two VRFs may have, each configuration draws from the same few."""

CONFIGURATIONS = st.builds(
    _configuration,
    st.lists(st.integers(0, MOST - 1), unique=True, min_size=1),
    NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    st.lists(st.integers(0, 1), min_size=MOST, max_size=MOST),
)  # fmt: skip


@given(CONFIGURATIONS, CONFIGURATIONS, st.integers(1, 6))
def test_no_portion_has_anything_twice(
    old: Configuration, new: Configuration, at_once: int
) -> None:
    (before, held), (vrfs, labels) = old, new
    former, wanted = node(*before), node(*vrfs)
    found = list(portions(former, [(v, held[v.name]) for v in before], wanted, labels, at_once))
    assert (found[-1].intent, found[-1].labels) == (wanted, labels)
    for portion in found:
        present = portion.intent.vrfs
        for values in (
            [v.name for v in present],
            [v.table for v in present],
            [v.rd for v in present],
            [p.name for v in present for p in v.ports],
            [portion.labels[v.name] for v in present],
        ):
            assert len(set(values)) == len(values), portion
