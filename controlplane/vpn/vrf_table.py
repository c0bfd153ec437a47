"""One VRF's table: the candidates for every prefix, the best of them, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from controlplane.bgp.decision import Metric, best_path
from controlplane.bgp.path import BestPathChange, Path, Source
from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import Prefix
from controlplane.model.rd import RouteDistinguisher
from controlplane.vpn.table_index import TableIndex

Slot: TypeAlias = tuple[Source, RouteDistinguisher | None]
Candidates: TypeAlias = Path | tuple[Path, ...]


class AddressConflict(NamedTuple):
    """``places`` claim a prefix under different names; ``own`` is the path of the one here."""

    places: tuple[str, ...]
    own: Path | None


FindConflict: TypeAlias = Callable[[tuple[Path, ...]], AddressConflict | None]
Claimed: TypeAlias = Path | AddressConflict | None
"""What was decided about a prefix: its best path, or that it is in conflict."""
ClaimChange: TypeAlias = tuple[Prefix, Claimed, Claimed]


class VrfTable:
    """Prefix -> candidates. A lone candidate is stored bare: nearly all are alone."""

    def __init__(self, vrf: str = "", index: TableIndex | None = None) -> None:
        self._vrf, self._index = vrf, index or TableIndex()
        self._led: Path | None = None  # the latest one that the index knows of
        self._candidates: dict[Prefix, Candidates] = {}
        self.best: dict[Prefix, Path] = {}
        self.dirty: dict[Prefix, None] = {}  # a set that keeps its order, so that replays agree
        self._conflicts: dict[Prefix, AddressConflict] = {}
        self._former: dict[Prefix, AddressConflict | None] = {}  # of those that changed

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
        if self.dirty:
            self._index.dirty[self._vrf] = None

    def _note(self) -> None:
        if self.dirty:
            self._index.dirty[self._vrf] = None

    def _replace(self, prefix: Prefix, old: Candidates, path: Path) -> bool:
        if isinstance(old, Path):  # nearly always
            if path.says_the_same_as(old):
                return False
            self._candidates[prefix] = path if path.replaces(old) else (old, path)
            return True
        others = old
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
        if isinstance(old, Path):
            rest: tuple[Path, ...] = () if old.slot == slot else (old,)
        else:
            rest = tuple(p for p in old if p.slot != slot)
        if not rest:
            del self._candidates[prefix]
        else:
            self._candidates[prefix] = rest[0] if len(rest) == 1 else rest
        self.mark(prefix)

    def mark(self, prefix: Prefix) -> None:
        """Mark a prefix for a new decision."""
        self.dirty[prefix] = None
        self._index.dirty[self._vrf] = None

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
        self, metric: Metric, failures: dict[Prefix, Exception] | None = None,
        find_conflict: FindConflict | None = None,
    ) -> list[BestPathChange]:  # fmt: skip
        """Choose anew for what is marked; gives (prefix, old best, new best) where they differ.

        A prefix whose choice raises has no best path, and is noted in ``failures``. While a prefix
        is in conflict, our own path beats those of other PEs: it stays advertised, so that each PE
        sees the other's claim for as long as both stand.
        """
        choose = _Chooser(metric, find_conflict)
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
            if choose.conflicts or self._conflicts:
                self._note_conflict(prefix, choose.conflicts.get(found) if found else None)
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

    def _note_conflict(self, prefix: Prefix, conflict: AddressConflict | None) -> None:
        former = self._conflicts.get(prefix)
        if conflict == former:
            return
        self._former.setdefault(prefix, former)
        if conflict is None:
            del self._conflicts[prefix]
        else:
            self._conflicts[prefix] = conflict

    def is_in_conflict(self, prefix: Prefix) -> bool:
        """Return whether a prefix is claimed under different names."""
        return prefix in self._conflicts

    def end_conflicts(self) -> None:
        """Forget all conflicts, as the VRF goes."""
        for prefix in list(self._conflicts):
            self._note_conflict(prefix, None)

    @property
    def has_new_conflicts(self) -> bool:
        """Return whether conflicts changed since `claim_changes`."""
        return bool(self._former)

    def claim_changes(self, changes: list[BestPathChange]) -> Sequence[ClaimChange]:
        """Return these changes, and those of conflicts since the last call."""
        former, now = self._former, self._conflicts
        if not former and not now:
            return changes
        self._former = {}
        found: list[ClaimChange] = [
            (prefix, former.pop(prefix, now.get(prefix)) or old, now.get(prefix) or new)
            for prefix, old, new in changes
        ]
        for prefix, conflict in former.items():
            best = self.best.get(prefix)
            found.append((prefix, conflict or best, now.get(prefix) or best))
        return found

    def leave_out(self, prefixes: Iterable[Prefix]) -> list[BestPathChange]:
        """Have no best path for these prefixes; gives the changes, as `decide`."""
        found = [(prefix, self.best.pop(prefix, None), None) for prefix in prefixes]
        return [change for change in found if change[1] is not None]


class _Chooser(dict[Candidates, Path | None]):
    """Prefixes with the same candidates have the same best path: it is looked for once."""

    def __init__(self, metric: Metric, find_conflict: FindConflict | None = None) -> None:
        super().__init__()
        self._metric = _Metrics(metric).__getitem__
        self._find_conflict = find_conflict
        self.conflicts: dict[Candidates, AddressConflict] = {}

    def __missing__(self, found: Candidates) -> Path | None:
        if isinstance(found, Path):
            best = None if self._metric(found.hop) is None else found
        else:
            best = best_path(found, self._metric)
            if self._find_conflict is not None:
                best = self._contested(found, best)
        self[found] = best
        return best

    def _contested(self, found: tuple[Path, ...], best: Path | None) -> Path | None:
        conflict = self._find_conflict(found) if self._find_conflict else None
        if conflict is None:
            return best
        self.conflicts[found] = conflict
        own = conflict.own
        if own is None or self._metric(own.hop) is None or (best is not None and best.source.vrf):
            return best
        return own


class _Metrics(dict[NextHopKey, int | None]):
    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, hop: NextHopKey) -> int | None:
        self[hop] = found = self._metric(hop)
        return found


def _as_tuple(found: Candidates) -> tuple[Path, ...]:
    return (found,) if isinstance(found, Path) else found
