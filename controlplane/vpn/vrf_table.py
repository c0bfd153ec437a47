"""One VRF's table: the candidates for every prefix, the best of them, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from controlplane.bgp.decision import Metric, best_path
from controlplane.bgp.path import BestPathChange, Path, Source
from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteDistinguisher
from controlplane.vpn.table_index import TableIndex

Slot: TypeAlias = tuple[Source, RouteDistinguisher | None]
Candidates: TypeAlias = Path | tuple[Path, ...]


class VrfTable:
    """Prefix -> candidates. A lone candidate is stored bare: nearly all are alone."""

    def __init__(self, vrf: str = "", index: TableIndex | None = None) -> None:
        self._vrf, self._index = vrf, index or TableIndex()
        self._led: Path | None = None  # the latest one that the index knows of
        self._candidates: dict[Prefix, Candidates] = {}
        self.best: dict[Prefix, Path] = {}
        self.dirty: dict[Prefix, None] = {}  # a set that keeps its order, so that replays agree

    def __len__(self) -> int:
        return len(self._candidates)

    def __contains__(self, prefix: Prefix) -> bool:
        return prefix in self._candidates

    def put(self, prefixes: Iterable[Prefix], path: Path) -> None:
        """Add a candidate, in place of the one of the same source and RD."""
        for prefix in prefixes:
            old = self._candidates.setdefault(prefix, path)
            if old is path or self._replace(prefix, old, path):
                self.dirty[prefix] = None
        if path is not self._led:
            self._led = path
            self._index.lead_through(path.hop, self._vrf)
        self._note()

    def _note(self) -> None:
        if self.dirty:
            self._index.dirty[self._vrf] = None

    def _replace(self, prefix: Prefix, old: Candidates, path: Path) -> bool:
        others = _as_tuple(old)
        if any(path.says_the_same_as(other) for other in others):
            return False
        kept = tuple(other for other in others if not path.replaces(other))
        self._candidates[prefix] = (*kept, path) if kept else path
        return True

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
        self.dirty[prefix] = None
        self._note()

    def candidates(self, prefix: Prefix) -> tuple[Path, ...]:
        """Return all candidates of a prefix, in no order that means anything."""
        found = self._candidates.get(prefix)
        return () if found is None else _as_tuple(found)

    def prefixes(self) -> Iterator[Prefix]:
        """Return every prefix that has a candidate."""
        return iter(self._candidates)

    def paths(self) -> set[Path]:
        """Return every candidate, each once however many prefixes share it."""
        return {path for found in self._candidates.values() for path in _as_tuple(found)}

    def touch(self, turned: Callable[[NextHopKey], bool]) -> None:
        """Mark every prefix with a candidate through such a next hop for a new decision."""
        touched = {path for path in self.paths() if turned(path.hop)}
        if not touched:
            return
        for prefix, found in self._candidates.items():
            if found in touched if isinstance(found, Path) else not touched.isdisjoint(found):
                self.dirty[prefix] = None
        self._note()

    def clear(self) -> None:
        """Forget every candidate but keep what was chosen, so that only differences come out."""
        self.dirty.update(dict.fromkeys(self._candidates))
        self.dirty.update(dict.fromkeys(self.best))
        self._candidates.clear()
        self._note()

    def decide(
        self, metric: Metric, failures: dict[Prefix, Exception] | None = None
    ) -> list[BestPathChange]:
        """Choose anew for what is marked; gives (prefix, old best, new best) where they differ.

        A prefix whose choice raises has no best path, and is noted in ``failures``.
        """
        choose = _Chooser(metric)
        changes: list[BestPathChange] = []
        best, candidates = self.best, self._candidates
        for prefix in self.dirty:
            found = candidates.get(prefix)
            try:
                new = None if found is None else choose[found]
            except Exception as error:  # one route must not end the decisions about all others
                if failures is None:
                    raise
                new, failures[prefix] = None, error
            old = best.get(prefix)
            if new is old:
                continue
            if new is None:
                del best[prefix]
            else:
                best[prefix] = new
            changes.append((prefix, old, new))
        self.dirty.clear()
        self._index.dirty.pop(self._vrf, None)
        return changes

    def leave_out(self, prefixes: Iterable[Prefix]) -> list[BestPathChange]:
        """Have no best path for these prefixes; gives the changes, as `decide`."""
        found = [(prefix, self.best.pop(prefix, None), None) for prefix in prefixes]
        return [change for change in found if change[1] is not None]


class _Chooser(dict[Candidates, Path | None]):
    """Prefixes with the same candidates have the same best path: it is looked for once."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = _Metrics(metric).__getitem__

    def __missing__(self, found: Candidates) -> Path | None:
        if isinstance(found, Path):
            best = None if self._metric(found.hop) is None else found
        else:
            best = best_path(found, self._metric)
        self[found] = best
        return best


class _Metrics(dict[NextHopKey, int | None]):
    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, hop: NextHopKey) -> int | None:
        self[hop] = found = self._metric(hop)
        return found


def _as_tuple(found: Candidates) -> tuple[Path, ...]:
    return (found,) if isinstance(found, Path) else found
