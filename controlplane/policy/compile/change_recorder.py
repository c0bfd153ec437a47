"""Changes to tables, written down as they are made."""

from __future__ import annotations

from typing import Any

from controlplane.model.verdict_tables import MapDelta, TablesDelta

ABSENT: Any = object()
"""Put in place of a value, it removes the element."""


class ChangeRecorder:
    """Write to tables and remember what was there before, to compute a delta.

    `tables` is anything whose attributes are the maps that are written to."""

    def __init__(self, tables: object) -> None:
        self._tables = tables
        self._before: dict[tuple[str, Any], Any] = {}

    def put(self, name: str, key: Any, value: Any) -> None:
        """Set an element; ABSENT removes it."""
        elements = getattr(self._tables, name)
        self._before.setdefault((name, key), elements.get(key, ABSENT))
        if value is ABSENT:
            elements.pop(key, None)
        else:
            elements[key] = value

    def forget(self) -> None:
        """Forget what was written: it is nothing that a delta should have."""
        self._before.clear()

    def delta(self) -> TablesDelta:
        """Everything written since the last call; what was undone again is not in it."""
        gone: dict[str, set[Any]] = {}
        put: dict[str, dict[Any, Any]] = {}
        for (name, key), before in self._before.items():
            after = getattr(self._tables, name).get(key, ABSENT)
            if after is before or after == before:
                continue
            if before is not ABSENT:
                gone.setdefault(name, set()).add(key)
            if after is not ABSENT:
                put.setdefault(name, {})[key] = after
        self._before.clear()
        names = gone.keys() | put.keys()
        return {n: MapDelta(frozenset(gone.get(n, ())), put.get(n, {})) for n in sorted(names)}
