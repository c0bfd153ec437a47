"""Routes that are left out because a defect makes their decision, export or advertisement raise.

One route must end neither the process nor, after each restart, the next one. It is withdrawn, the
journal names it, and it stays out until it is another route.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import NamedTuple

from controlplane.bgp.path import Path
from controlplane.model.effects import LogEvent
from controlplane.model.prefix import Prefix
from controlplane.routing.state import RouterState

MOST_LINES = 10
"""Routes that the journal names in one turn; the line has the number of all."""

Failures = dict[Prefix, Exception]


class LeftOut(NamedTuple):
    """``route`` is where it came from; ``why`` the exception and the line of code."""

    vrf: str
    prefix: Prefix
    route: str
    why: str
    tried: Path | None
    """The path that was chosen and could not be carried out; None where the choice itself raised.
    It is not tried again."""

    def __str__(self) -> str:
        return f"{self.prefix} in VRF {self.vrf}, {self.route}: {self.why}"


class LeftOutRoutes:
    """Of all VRFs."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._by_vrf: dict[str, dict[Prefix, LeftOut]] = {}

    def __iter__(self) -> Iterator[LeftOut]:
        return (each for found in self._by_vrf.values() for each in found.values())

    def __len__(self) -> int:
        return sum(map(len, self._by_vrf.values()))

    def of(self, vrf: str) -> dict[Prefix, LeftOut]:
        """Return those of a VRF."""
        return self._by_vrf.get(vrf, {})

    def forget(self, vrf: str, prefixes: Iterable[Prefix]) -> None:
        """Forget routes that are decided, or gone."""
        found = self._by_vrf.get(vrf, {})
        for prefix in prefixes:
            found.pop(prefix, None)
        if not found:
            self._by_vrf.pop(vrf, None)

    def forget_vrf(self, vrf: str) -> None:
        """Forget all of a VRF that is gone."""
        self._by_vrf.pop(vrf, None)

    def add(
        self, vrf: str, prefix: Prefix, path: Path | None, error: Exception, *, chosen: bool
    ) -> None:
        """Note a route, and have the journal name it unless it has done so."""
        route, why = _origin(path), _last_line(error)
        left = LeftOut(vrf, prefix, route, why, path if chosen else None)
        known = self._by_vrf.setdefault(vrf, {})
        before = known.get(prefix)
        known[prefix] = left
        if before is not None and (before.route, before.why) == (route, why):
            return
        actions = self._state.effects.actions
        named = sum(isinstance(a, LogEvent) and a.event == "route_left_out" for a in actions)
        if named < MOST_LINES:
            self._state.notice(
                "error", "route_left_out", vrf=vrf, prefix=str(prefix), route=route, why=why,
                left_out=len(self), cure="report it; withdraw the route, or clear its session",
            )  # fmt: skip


def _origin(path: Path | None) -> str:
    if path is None:
        return "no path"
    source = path.source
    sender = str(source.peer) if source.peer else source.via or source.protocol.name.lower()
    return f"from {sender} via {path.hop.address or path.hop.device or 'discard'}"


def _last_line(error: Exception) -> str:
    """Return the exception, and the line of code that raised it."""
    said = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({PurePath(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{said}{where}"
