"""What rows of routes have in common: their attributes as text, their order, what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from controlplane.bgp.path import Path, RouteProtocol
from controlplane.model.attributes import AsSegment, Attributes
from controlplane.model.prefix import Prefix, parse_prefix
from controlplane.model.route_view import RouteFilter, RouteSource


def attribute_fields(a: Attributes) -> dict[str, Any]:
    """Return the fields of a ``RouteView`` that show path attributes."""
    return {
        "local_pref": a.local_pref,
        "med": a.med,
        "origin": a.origin.name,
        "as_path": " ".join(map(_segment, a.as_path)),
        "communities": tuple(f"{x}:{y}" for x, y in a.communities),
        "large_communities": tuple(":".join(map(str, c)) for c in a.large_communities),
        "route_targets": tuple(sorted(map(str, a.route_targets))),
        "sites_of_origin": tuple(sorted(map(str, a.sites_of_origin))),
        "extended_communities": a.extended,
        "atomic_aggregate": a.atomic_aggregate,
        "aggregator": a.aggregator or "",
        "originator_id": a.originator_id or "",
        "cluster_list": a.cluster_list,
        "unknown_attributes": tuple(
            f"{code} (flags {flags:#04x}): {value.hex()}" for flags, code, value in a.unknown
        ),
    }


def _segment(segment: AsSegment) -> str:
    text = " ".join(map(str, segment.asns))
    if segment.kind == "confed-sequence":
        return f"({text})"
    return text if segment.kind == "sequence" else f"{{{text.replace(' ', ',')}}}"


def source_of(path: Path) -> RouteSource:
    """Return where a path of a VRF comes from."""
    if path.source.protocol is RouteProtocol.CONNECTED:
        return RouteSource.CONNECTED
    if path.source.protocol is RouteProtocol.STATIC:
        return RouteSource.STATIC
    if path.source.is_workload:
        return RouteSource.WORKLOAD
    if path.source.is_local:
        return RouteSource.EBGP
    return RouteSource.VPN if path.source.peer else RouteSource.LEAKED


def order(prefix: Prefix) -> tuple[int, bytes, int]:
    """Return the key by which prefixes are listed: IPv4 first, then by address and length."""
    return (len(prefix.packed), prefix.packed, prefix.length)


Selection: TypeAlias = Callable[[Prefix], bool]


def selection(wanted: RouteFilter) -> Selection:
    """Return what is True for the prefix that is asked for, those inside it where longer ones are
    wanted, and those around an address. The text is read once, for a table of any size."""
    if not wanted.prefix:
        return lambda _: True
    asked = parse_prefix(wanted.prefix, strict=False)
    if wanted.longer:
        return asked.contains
    if "/" in wanted.prefix:
        return lambda prefix: prefix == asked
    return lambda prefix: prefix.contains(asked)
