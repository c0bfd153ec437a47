"""Print `pe show routes` line by line as rows arrive: a table may hold a million."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from bulkhead.v1 import node_pb2 as pb

from pe.cli.table import duration

_CODES = {
    pb.Route.SOURCE_CONNECTED: "C",
    pb.Route.SOURCE_STATIC: "S",
    pb.Route.SOURCE_EBGP: "B",
    pb.Route.SOURCE_VPN: "V",
    pb.Route.SOURCE_LEAKED: "L",
    pb.Route.SOURCE_WORKLOAD: "W",
    pb.Route.SOURCE_FOREIGN: "K",
}
LEGEND = (
    "Codes: C connected, S static, B BGP from a CE, V VPN route of another PE, L leaked,",
    "       W workload, K of another program; > best, * in the kernel, s stale",
    "",
)


def table(*, received: bool, advertised: bool) -> pb.ShowRoutesRequest.Table:
    """Return which table is asked for; neither: the VRF's."""
    if received:
        return pb.ShowRoutesRequest.TABLE_RECEIVED
    if advertised:
        return pb.ShowRoutesRequest.TABLE_ADVERTISED
    return pb.ShowRoutesRequest.TABLE_UNSPECIFIED


def listing(rows: Iterable[pb.Route]) -> Iterator[str]:
    """Return one line per route, under the name of its VRF."""
    rows = iter(rows)
    first = next(rows, None)  # a refusal comes with it: nothing is to be printed before
    yield from LEGEND
    vrf = None
    for row in chain(() if first is None else (first,), rows):
        if row.vrf != vrf:
            if vrf is not None:
                yield ""
            yield f"VRF {row.vrf}:"
            vrf = row.vrf
        yield f"{_marks(row)} {row.prefix:<20} {_way(row)}{_age(row)}"
    if vrf is None:
        yield "no routes"


def _marks(row: pb.Route) -> str:
    best = ">" if row.best else " "
    active = "*" if row.active else " "
    stale = "s" if row.stale else " "
    return f"{_CODES.get(row.source, '?')}{best}{active}{stale}"


def _way(row: pb.Route) -> str:
    labels = f", label {'/'.join(map(str, row.labels))}" if row.labels else ""
    port = f", {row.port}" if row.port else ""
    if row.refused:
        return f"from {row.neighbor} (refused: {row.refused})"
    if row.source == pb.Route.SOURCE_FOREIGN:
        return f"{_foreign_way(row)}{port}{labels}{_foreign_key(row)}"
    if row.source == pb.Route.SOURCE_CONNECTED and not row.next_hop:
        return f"is directly connected{port}"
    unused = f" (inactive: {row.inactive_reason})" if row.inactive_reason else ""
    if not row.next_hop and row.source == pb.Route.SOURCE_WORKLOAD and not row.port:
        return f"no way to it{unused}"
    if not row.next_hop:
        return f"on the link{port}" if row.port else "discards (blackhole)"
    if row.advertised_to:
        path = row.as_path or "(empty)"
        return f"to {row.advertised_to} via {row.next_hop}{labels}, AS path {path}"
    return f"via {row.next_hop}{unused}{port}{labels}"


def _foreign_way(row: pb.Route) -> str:
    way = f"via {row.next_hop}" if row.next_hop else ""
    return f"{row.type} {way}".strip() or ("on the link" if row.port else "no way out")


def _foreign_key(row: pb.Route) -> str:
    """Return maker and key of a foreign route in the words of ``ip route``."""
    words = (
        (f"proto {row.protocol}", True),
        (f"from {row.from_prefix}", row.from_prefix),
        (f"tos {row.tos:#x}", row.tos),
        (f"metric {row.metric}", row.metric),
    )
    unused = f" (inactive: {row.inactive_reason})" if row.inactive_reason else ""
    return "".join(f", {word}" for word, given in words if given) + unused


def _age(row: pb.Route) -> str:
    """Return the age of a route; links, static and advertised routes have none."""
    return f", {duration(row.age_seconds)}" if row.HasField("age_seconds") else ""


def details(rows: Iterable[pb.Route]) -> Iterator[str]:
    """Print each route with all its attributes."""
    for row in rows:
        yield f"{row.prefix} in VRF {row.vrf}"
        yield f"  {_marks(row)} {_way(row)}{_age(row)}"
        yield from (f"    {name}: {value}" for name, value in _attributes(row) if value)


def _attributes(row: pb.Route) -> Iterator[tuple[str, str]]:
    yield "from", row.neighbor
    yield "to", row.advertised_to
    yield "route distinguisher", row.rd
    yield "AS path", row.as_path or ("(empty)" if row.neighbor or row.advertised_to else "")
    yield "origin", row.origin
    if row.HasField("local_preference"):
        yield "local preference", str(row.local_preference)
    if row.HasField("med"):
        yield "MED", str(row.med)
    yield "route targets", " ".join(row.route_targets)
    yield "sites of origin", " ".join(row.sites_of_origin)
    yield "communities", " ".join(row.communities)
    yield "large communities", " ".join(row.large_communities)
    yield "extended communities", " ".join(row.extended_communities)
    yield "atomic aggregate", "yes" if row.atomic_aggregate else ""
    yield "aggregator", row.aggregator
    yield "originator id", row.originator_id
    yield "cluster list", " ".join(row.cluster_list)
    yield "passed on unread", ", ".join(row.unknown_attributes)
