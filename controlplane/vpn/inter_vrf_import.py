"""Routes from VRF to VRF on one PE: RFC 4364 section 4.3.1 holds without a core in between.

A site's route that another VRF here imports arrives there as it would from another PE, except
that its next hop is the site's own link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from controlplane.bgp.path import BestPathChange, Path, RouteProtocol, Source
from controlplane.model.rd import RouteTarget
from controlplane.vpn.vrf import Vrf


class InterVrfImport:
    """Who imports from whom, among the VRFs of this node."""

    def __init__(self) -> None:
        self._into: dict[str, list[Vrf]] = {}
        self._from: dict[str, list[Vrf]] = {}
        self._router_id = 0

    def connect(self, vrfs: Sequence[Vrf], router_id: int) -> None:
        """Take in changed VRFs and route targets."""
        self._router_id = router_id
        self._from = {vrf.name: [] for vrf in vrfs}
        by_target: dict[RouteTarget, list[Vrf]] = {}
        for vrf in vrfs:
            for target in vrf.intent.import_targets:
                by_target.setdefault(target, []).append(vrf)
        for vrf in vrfs:
            found = {o.name: o for t in sorted(vrf.mark.targets) for o in by_target.get(t, ())}
            found.pop(vrf.name, None)
            self._into[vrf.name] = list(found.values())
            for other in found.values():
                self._from[other.name].append(vrf)

    def into(self, vrf: Vrf) -> list[Vrf]:
        """Return the VRFs that import what this one exports."""
        return self._into.get(vrf.name, [])

    def carry(self, vrf: Vrf, changes: Iterable[BestPathChange]) -> None:
        """Offer changed best paths of a VRF to the VRFs that import them."""
        others = self.into(vrf)
        if others:
            self._carry(vrf, others, changes)

    def fill(self, vrf: Vrf) -> None:
        """Offer a VRF all that it imports from others."""
        for other in self._from.get(vrf.name, ()):
            best = other.table.best.items()
            self._carry(other, [vrf], ((prefix, None, path) for prefix, path in best))

    def _carry(self, vrf: Vrf, others: list[Vrf], changes: Iterable[BestPathChange]) -> None:
        source, mark = Source(RouteProtocol.BGP, router_id=self._router_id, via=vrf.name), vrf.mark
        slot = (source, mark.rd)
        twins: dict[Path, Path] = {}
        for prefix, old, new in changes:
            if new is not None and mark.lets_out(new):
                if new not in twins:
                    twins[new] = _twin(new, source, vrf)
                for other in others:
                    other.offer([prefix], twins[new])
            elif old is not None and old.source.vrf:
                for other in others:
                    other.table.drop(prefix, slot)


def _twin(path: Path, source: Source, vrf: Vrf) -> Path:
    mark = vrf.mark
    attributes = msgspec.structs.replace(path.attributes, route_targets=mark.targets)
    return Path(source, attributes, path.hop, mark.rd, path.accepted)
