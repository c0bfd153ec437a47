"""Path attributes with a value for each that the speaker carries."""

from __future__ import annotations

from controlplane.model.attributes import AsSegment, Attributes, Origin
from controlplane.model.rd import parse_rt, parse_soo


def every_attribute(*as_path: AsSegment) -> Attributes:
    """Return attributes with this AS path and every other attribute set."""
    return Attributes(
        origin=Origin.EGP,
        as_path=as_path,
        med=5,
        local_pref=200,
        atomic_aggregate=True,
        aggregator="65001:1.2.3.4",
        communities=((65000, 1), (65535, 65281)),
        route_targets=frozenset(map(parse_rt, ("65000:1", "10.0.0.1:2", "1L:3"))),
        sites_of_origin=frozenset([parse_soo("65000:9")]),
        extended=("0x030c000000000001",),
        large_communities=((65000, 1, 2),),
        originator_id="9.9.9.9",
        cluster_list=("8.8.8.8", "7.7.7.7"),
    )
