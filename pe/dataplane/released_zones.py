"""Flush the connections of conntrack zones that no port uses any more.

A zone's number is given to another VRF after the hold-down of its label, while a connection that
is tracked may last for days: entries of the former VRF would let packets of the new one through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from controlplane.model.desired import CePort, Delta
from controlplane.model.log import Log
from pe.model.state import Failures
from pe.observe import zone_flush

KIND = "conntrack-zone"


class ReleasedZones:
    """Zones by the ports that use them, and those to be flushed with the ports that used them."""

    def __init__(self, failures: Failures, log: Log) -> None:
        self._failures, self._log = failures, log
        self._users: dict[int, set[str]] = {}
        self._released: dict[int, set[str]] = {}

    def changing(self, delta: Delta, ports: Mapping[str, CePort]) -> None:
        """Take in a change; ``ports`` are those before it."""
        former: dict[int, set[str]] = {}
        for name, port in delta.ce_ports.items():
            if old := ports.get(name):
                self._users[old.zone].discard(name)
                former.setdefault(old.zone, set()).add(name)
            if port:
                self._users.setdefault(port.zone, set()).add(name)
        for zone, names in former.items():
            if not self._users[zone]:
                del self._users[zone]
                self._released.setdefault(zone, set()).update(names)

    async def flush(self, waits: Callable[[set[str]], bool], now: float) -> None:
        """Flush the zones whose ports are gone; ``waits`` is true of ports that are not yet."""
        due = [
            zone
            for zone, ports in self._released.items()
            if not self._failures.waiting(KIND, str(zone), now) and not waits(ports)
        ]
        if not due:
            return
        try:
            deleted = await asyncio.to_thread(zone_flush.flush, frozenset(due))
        except OSError as error:
            for zone in due:
                self._failures.report(self._log, KIND, str(zone), error, now)
            return
        if deleted:
            zones = ", ".join(map(str, due))
            self._log("info", "zone_flushed", {"zones": zones, "connections": deleted})
        for zone in due:
            self._released.pop(zone, None)
            self._failures.cleared(KIND, str(zone))
