"""One VRF's table: the candidates for every prefix, the best of them, and what changed."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.bgp.decision import Metric, best_path
from controlplane.bgp.path import Path, Source
from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteDistinguisher

Slot = tuple[Source, RouteDistinguisher | None]


class VrfTable:
    """Prefix -> candidates. A lone candidate is stored bare: nearly all are alone."""

    def __init__(self) -> None:
        self._candidates: dict[Prefix, Path | tuple[Path, ...]] = {}
        self.best: dict[Prefix, Path] = {}
        self.dirty: set[Prefix] = set()
        self.restarted = True  # nothing was put in yet

    def __len__(self) -> int:
        return len(self._candidates)

    def __contains__(self, prefix: Prefix) -> bool:
        return prefix in self._candidates

    def put(self, prefix: Prefix, path: Path) -> None:
        """Add a candidate, in place of the one of the same source and RD."""
        old = self._candidates.get(prefix)
        if old is None or (isinstance(old, Path) and old.slot == path.slot):
            self._candidates[prefix] = path
        else:
            others = (old,) if isinstance(old, Path) else old
            self._candidates[prefix] = (*(o for o in others if o.slot != path.slot), path)
        self.dirty.add(prefix)

    def drop(self, prefix: Prefix, slot: Slot) -> None:
        """Take a candidate away; nothing happens if it is not there."""
        old = self._candidates.get(prefix)
        if old is None:
            return
        rest = tuple(p for p in _as_tuple(old) if p.slot != slot)
        if not rest:
            del self._candidates[prefix]
        else:
            self._candidates[prefix] = rest[0] if len(rest) == 1 else rest
        self.dirty.add(prefix)

    def candidates(self, prefix: Prefix) -> tuple[Path, ...]:
        """All candidates of a prefix, in no order that means anything."""
        found = self._candidates.get(prefix)
        return () if found is None else _as_tuple(found)

    def prefixes(self) -> Iterator[Prefix]:
        """Every prefix that has a candidate."""
        return iter(self._candidates)

    def touch_hops(self, addresses: set[object]) -> None:
        """Mark every prefix with a candidate through one of these next hops for a new decision."""
        for prefix, found in self._candidates.items():
            if any(path.hop.address in addresses for path in _as_tuple(found)):
                self.dirty.add(prefix)

    def touch_device(self, device: str) -> None:
        """The same for every candidate that leaves through a port."""
        for prefix, found in self._candidates.items():
            if any(path.hop.device == device for path in _as_tuple(found)):
                self.dirty.add(prefix)

    def restart(self) -> None:
        """Forget every candidate but keep what was chosen, so that only differences come out."""
        self.dirty.update(self._candidates)
        self.dirty.update(self.best)
        self._candidates.clear()
        self.restarted = True

    def decide(self, metric: Metric) -> list[tuple[Prefix, Path | None, Path | None]]:
        """Choose anew for what is marked; gives (prefix, old best, new best) where they differ."""
        changes: list[tuple[Prefix, Path | None, Path | None]] = []
        for prefix in self.dirty:
            found = self._candidates.get(prefix)
            new = None if found is None else best_path(_as_tuple(found), metric)
            old = self.best.get(prefix)
            if new is old:
                continue
            if new is None:
                del self.best[prefix]
            else:
                self.best[prefix] = new
            changes.append((prefix, old, new))
        self.dirty.clear()
        return changes


def _as_tuple(found: Path | tuple[Path, ...]) -> tuple[Path, ...]:
    return (found,) if isinstance(found, Path) else found
