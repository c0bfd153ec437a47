"""Which VRFs a route belongs to, by its targets (RFC 4364 section 4.3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from controlplane.model.rd import RouteTarget
from controlplane.vpn.vrf import Vrf

Importers: TypeAlias = tuple[Vrf, ...]

MOST_REMEMBERED = 65536


class ImportIndex:
    """Route target -> the VRFs that import it. Made anew when an import list changes."""

    def __init__(self, vrfs: Iterable[Vrf]) -> None:
        self._by_target: dict[RouteTarget, list[Vrf]] = {}
        self._known: dict[frozenset[RouteTarget], Importers] = {}
        for vrf in vrfs:
            for target in vrf.intent.import_targets:
                self._by_target.setdefault(target, []).append(vrf)

    def of(self, targets: frozenset[RouteTarget]) -> Importers:
        """Return the VRFs that import at least one of the targets, each once."""
        known = self._known.get(targets)
        if known is None:
            if len(self._known) >= MOST_REMEMBERED:  # peers choose the targets, we the memory
                self._known.clear()
            known = self._known[targets] = self._find(targets)
        return known

    def _find(self, targets: frozenset[RouteTarget]) -> Importers:
        found = {vrf.name: vrf for t in sorted(targets) for vrf in self._by_target.get(t, ())}
        return tuple(found.values())
