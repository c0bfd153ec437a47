"""Property: routes by target leave an Adj-RIB-In as if each had been looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.bgp.adj_rib_in import MOST_TARGETS, AdjRibIn
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Afi, Family, Prefix
from controlplane.model.rd import RouteDistinguisher, RouteTarget, parse_rd, parse_rt
from tests.unit.controlplane.rig import prefix, vpn_attributes

FAMILY = Family.IPV4_VPN
RDS = tuple(parse_rd(f"65001:{n}") for n in range(3))
RTS = tuple(f"65000:{n}" for n in range(5))
PREFIXES = tuple(prefix(f"10.0.{n}.0/24") for n in range(6))

Put = tuple[RouteDistinguisher, list[Prefix], frozenset[str]]
PUTS = st.lists(
    st.tuples(
        st.sampled_from(RDS),
        st.lists(st.sampled_from(PREFIXES), unique=True, min_size=1),
        st.frozensets(st.sampled_from(RTS), min_size=1),
    )
)
SOME = st.frozensets(st.sampled_from(RTS))


def put(
    held: AdjRibIn, rd: RouteDistinguisher, prefixes: list[Prefix], rts: frozenset[str]
) -> None:
    source = Source(RouteProtocol.BGP)
    path = Path(source, vpn_attributes(*rts), NextHopKey(Afi.IPV4, None, 1), rd, 0.0)
    held.put(FAMILY, rd, prefixes, path)


def targets(texts: frozenset[str]) -> frozenset[RouteTarget]:
    return frozenset(map(parse_rt, texts))


@given(PUTS, PUTS, SOME, SOME, st.booleans())
def test_routes_whose_targets_do_not_stay_are_gone(
    before: list[Put], after: list[Put], touched: frozenset[str], kept: frozenset[str],
    restarting: bool,
) -> None:  # fmt: skip
    held = AdjRibIn()
    for rd, prefixes, rts in before:
        put(held, rd, prefixes, rts)
    if restarting:
        held.mark_stale(FAMILY)
    for rd, prefixes, rts in after:
        put(held, rd, prefixes, rts)
    all_routes = list(held.routes(FAMILY))
    stays = targets(kept)
    gone = targets(touched)

    def is_kept(path: Path) -> bool:
        found = path.attributes.route_targets
        return not stays.isdisjoint(found) or gone.isdisjoint(found)

    wanted = [(rd, p) for rd, p, path in all_routes if is_kept(path)]
    stale = [(rd, p) for rd, p in wanted if held.is_stale(FAMILY, rd, p)]
    # What is not touched has an importer.
    held.drop_unless(
        FAMILY, gone, lambda found: not stays.isdisjoint(found) or gone.isdisjoint(found)
    )
    assert [(rd, p) for rd, p, _ in held.routes(FAMILY)] == wanted
    assert held.count(FAMILY) == len(wanted)
    assert held.stale_count(FAMILY) == len(stale)
    assert sorted((r, p) for r, p, _ in held.take_stale(FAMILY)) == sorted(stale)


def test_of_an_rd_with_more_sets_of_targets_than_are_remembered_each_route_is_looked_at() -> None:
    held, many = AdjRibIn(), MOST_TARGETS + 5
    for n in range(many):
        put(held, RDS[0], [prefix(f"10.{n}.0.0/16")], frozenset({f"65000:{n}"}))
    last = targets(frozenset({f"65000:{many - 1}"}))
    held.drop_unless(FAMILY, last, last.isdisjoint)
    assert held.count(FAMILY) == many - 1
