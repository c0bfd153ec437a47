"""What is advertised to a CE and to the core: attributes, one row per rule."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.bgp.outbound import (
    NO_ADVERTISE,
    NO_EXPORT,
    NO_EXPORT_SUBCONFED,
    ce_attributes,
    may_go_to_ce,
    prepend,
    to_core,
)
from controlplane.bgp.path import Path, RouteProtocol, Source
from controlplane.model.attributes import AsSegment, Attributes, Origin
from controlplane.model.desired import NextHopKey
from controlplane.model.peer import PeerId
from controlplane.model.prefix import Afi
from controlplane.model.rd import parse_soo
from tests.unit.controlplane.rig import OWN_AS, PE2, ce_peer, path_of, targets

CE = ce_peer("red", "192.0.2.2", 65101)


def path(peer: PeerId | None = PE2, **attributes: Any) -> Path:
    source = Source(RouteProtocol.BGP, peer.vrf if peer else "", peer)
    return Path(source, Attributes(**attributes), NextHopKey(Afi.IPV4, None))


@pytest.mark.parametrize(
    ("options", "before", "after"),
    [
        ({}, (65102,), (65000, 65102)),
        ({}, (), (65000,)),
        ({}, (65101, 65101), (65000, 65101, 65101)),
        ({"as_override": True}, (65101, 65102, 65101), (65000, 65000, 65102, 65000)),
        ({"remove_private_as": True}, (64512, 3356, 4200000001), (65000, 3356)),
        ({"remove_private_as": True}, (64512,), (65000,)),
    ],
)
def test_as_path_to_a_ce(options: Any, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    peer = ce_peer("red", "192.0.2.2", 65101, **options)
    assert ce_attributes(peer, Attributes(as_path=path_of(*before))).as_path == path_of(*after)


@pytest.mark.parametrize("asn", [65000, 65101], ids=["internal", "external"])
def test_no_ce_sees_the_members_of_a_confederation(asn: int) -> None:
    peer = ce_peer("red", "192.0.2.2", asn)
    path = (AsSegment("confed-sequence", (64600, 64601)), *path_of(7))
    sent = ce_attributes(peer, Attributes(as_path=path)).as_path
    assert sent == (path_of(65000, 7) if peer.is_ebgp else path_of(7))


def test_overriding_a_full_segment() -> None:
    peer = ce_peer("red", "192.0.2.2", 65101, as_override=True)
    sent = ce_attributes(peer, Attributes(as_path=path_of(*[65101] * 255))).as_path
    assert sent == (*path_of(65000), *path_of(*[65000] * 255))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((AsSegment("set", (1, 2)),), (AsSegment("sequence", (9,)), AsSegment("set", (1, 2)))),
        (path_of(*range(1, 256)), (*path_of(9), *path_of(*range(1, 256)))),
        (path_of(*range(1, 255)), path_of(9, *range(1, 255))),
    ],
)
def test_prepending_to_a_set_or_a_full_segment_begins_another(before: Any, after: Any) -> None:
    assert prepend(before, 9) == after


def test_to_an_ebgp_ce_only_what_crosses_an_as_border() -> None:
    sent = ce_attributes(CE, Attributes(
        origin=Origin.EGP, med=5, local_pref=300, atomic_aggregate=True, aggregator="1 10.0.0.1",
        communities=((65101, 1), (OWN_AS, 2)), large_communities=((1, 2, 3), (OWN_AS, 2, 3)),
        route_targets=targets("65000:1"), sites_of_origin=frozenset({parse_soo("1:1")}),
        extended=("bandwidth:1",), originator_id="1.1.1.1", cluster_list=("1.1.1.1",),
    ))  # fmt: skip
    assert sent == Attributes(
        origin=Origin.EGP,
        as_path=path_of(OWN_AS),
        atomic_aggregate=True,
        aggregator="1 10.0.0.1",
        communities=((65101, 1),),
        large_communities=((1, 2, 3),),
    )


@pytest.mark.parametrize(("given", "sent"), [(None, 100), (0, 0), (300, 300)])
def test_inside_the_as_preferences_stay(given: int | None, sent: int) -> None:
    inside = ce_peer("red", "192.0.2.2", OWN_AS)
    attributes = ce_attributes(inside, Attributes(local_pref=given, med=5, as_path=path_of(7)))
    assert (attributes.local_pref, attributes.med, attributes.as_path) == (sent, 5, path_of(7))


@pytest.mark.parametrize(
    ("communities", "outside", "inside"),
    [
        ((), True, True),
        (((65101, 1),), True, True),
        ((NO_EXPORT,), False, True),
        ((NO_EXPORT_SUBCONFED,), False, True),
        ((NO_ADVERTISE,), False, False),
    ],
)
def test_well_known_communities(communities: Any, outside: bool, inside: bool) -> None:
    said = path(communities=communities)
    assert may_go_to_ce(CE, said) is outside
    assert may_go_to_ce(ce_peer("red", "192.0.2.2", OWN_AS), said) is inside


def test_not_back_to_where_it_came_from() -> None:
    assert not may_go_to_ce(CE, path(CE.peer))
    assert may_go_to_ce(ce_peer("red", "192.0.2.6"), path(CE.peer))


def test_not_to_another_ce_of_the_same_site() -> None:
    site = frozenset({parse_soo("65000:5")})
    same = ce_peer("red", "192.0.2.2", site_of_origin=parse_soo("65000:5"))
    other = ce_peer("red", "192.0.2.2", site_of_origin=parse_soo("65000:6"))
    assert not may_go_to_ce(same, path(sites_of_origin=site))
    assert may_go_to_ce(other, path(sites_of_origin=site))
    assert may_go_to_ce(CE, path(sites_of_origin=site))
    assert may_go_to_ce(same, path())


@pytest.mark.parametrize(("given", "sent"), [(None, 100), (0, 0), (300, 300)])
def test_to_the_core_with_the_vrfs_targets_and_a_preference(given: int | None, sent: int) -> None:
    attributes = to_core(
        path(local_pref=given, med=5, route_targets=targets("1:1")), targets("65000:1")
    )
    assert attributes == Attributes(local_pref=sent, med=5, route_targets=targets("65000:1"))
