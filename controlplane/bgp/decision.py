"""The decision process of RFC 4271 section 9.1.2.2, with the tie-breaks of RFC 4456 section 9.

Every step keeps a subset and none looks at the order of the candidates, so that the choice is the
same in any order of arrival. Link Bandwidth and other extended communities do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from controlplane.bgp.path import Path, router_id_of
from controlplane.model.desired import NextHopKey

DEFAULT_LOCAL_PREF = 100

Metric = Callable[[NextHopKey], int | None]


def best_path(paths: Sequence[Path], metric: Metric) -> Path | None:
    """Return the best of the paths whose next hop resolves, or None.

    ``metric`` gives the IGP metric of a next hop, None where it is unreachable, which makes the
    path ineligible (section 9.1.2.1).
    """
    eligible = [path for path in paths if metric(path.hop) is not None]
    if len(eligible) < 2:
        return eligible[0] if eligible else None
    return _tie_break(_lowest_med(_least(eligible, _preference)), metric)


def _preference(path: Path) -> tuple[int, int, int, int]:
    """Return what is looked at first: the protocol, then steps a and b with LOCAL_PREF before
    them."""
    attributes = path.attributes
    return (
        path.source.protocol,
        -local_pref(path),
        attributes.as_path_length,
        attributes.origin,
    )


def _tie_break(paths: list[Path], metric: Metric) -> Path:
    """Steps d to g, between what is equally good."""
    if len(paths) == 1:
        return paths[0]

    def nearness(path: Path) -> tuple[int, int, int, int]:
        cost, clusters = metric(path.hop) or 0, len(path.attributes.cluster_list)
        return (0 if path.source.ebgp else 1, cost, router_id_of(path), clusters)

    paths = _least(paths, nearness)
    return paths[0] if len(paths) == 1 else min(paths, key=_address_order)


def why_not(path: Path, best: Path, metric: Metric) -> str:
    """Return the step at which a path lost against the best one, "" if it is that: for people.

    MED decides between paths of one neighbouring AS only, so a path may also have lost against a
    third one; then it is the first step at which the two differ.
    """
    if path is best:
        return ""
    steps: list[tuple[str, object, object]] = [
        ("protocol", path.source.protocol, best.source.protocol),
        ("LOCAL_PREF", -local_pref(path), -local_pref(best)),
        ("AS path length", path.attributes.as_path_length, best.attributes.as_path_length),
        ("origin", path.attributes.origin, best.attributes.origin),
    ]
    if path.attributes.neighbor_as == best.attributes.neighbor_as:
        steps.append(("MED", path.attributes.med or 0, best.attributes.med or 0))
    steps += [
        ("eBGP before iBGP", not path.source.ebgp, not best.source.ebgp),
        ("IGP metric", metric(path.hop), metric(best.hop)),
        ("router id", router_id_of(path), router_id_of(best)),
        ("CLUSTER_LIST length", len(path.attributes.cluster_list),
         len(best.attributes.cluster_list)),
    ]  # fmt: skip
    return next((name for name, mine, its in steps if mine != its), "peer address")


def local_pref(path: Path) -> int:
    """Return LOCAL_PREF, or the default where the path carries none."""
    value = path.attributes.local_pref
    return DEFAULT_LOCAL_PREF if value is None else value


def _least(paths: list[Path], key: Callable[[Path], tuple[int, ...]]) -> list[Path]:
    keys = [key(path) for path in paths]
    lowest = min(keys)
    return [path for path, value in zip(paths, keys, strict=True) if value == lowest]


def _lowest_med(paths: list[Path]) -> list[Path]:
    """Step c: MED counts only between paths from the same neighbouring AS; none means 0."""
    if len(paths) == 1:
        return paths
    lowest: dict[int | None, int] = {}
    for path in paths:
        asn, med = path.attributes.neighbor_as, path.attributes.med or 0
        lowest[asn] = min(lowest.get(asn, med), med)
    return [p for p in paths if (p.attributes.med or 0) == lowest[p.attributes.neighbor_as]]


def _address_order(path: Path) -> tuple[int, bytes, tuple[int, ...], str]:
    """Step g, the lowest peer address; then the RD and the link, which leave no two alike."""
    peer = path.source.peer
    address = peer.address.packed if peer else b""
    rd = (path.rd.kind, path.rd.admin, path.rd.number) if path.rd else ()
    return (len(address), address, rd, path.source.via)


def ranked(paths: Iterable[Path], metric: Metric) -> list[Path]:
    """Best first, ineligible ones last: for showing, not for deciding."""
    rest, order = list(paths), []
    while (best := best_path(rest, metric)) is not None:
        order.append(best)
        rest.remove(best)
    return order + rest
