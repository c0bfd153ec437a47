"""Flush the connections of conntrack zones that no port of their VRF uses any more.

A zone's number is given to another VRF after the hold-down of its label (at once where that is 0),
while a connection that is tracked may last for days: entries of the former VRF would let packets of
the new one through.
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
    """The ports that use a zone, by zone and VRF, and the zones to be flushed with the ports that
    used them."""

    def __init__(self, failures: Failures, log: Log) -> None:
        self._failures, self._log = failures, log
        self._users: dict[tuple[int, str], set[str]] = {}
        self._released: dict[int, set[str]] = {}

    def changing(self, delta: Delta, ports: Mapping[str, CePort]) -> None:
        """Take in a change; ``ports`` are those before it."""
        former: dict[tuple[int, str], set[str]] = {}
        for name, port in delta.ce_ports.items():
            if old := ports.get(name):
                self._users[old.zone, old.vrf].discard(name)
                former.setdefault((old.zone, old.vrf), set()).add(name)
            if port:
                self._users.setdefault((port.zone, port.vrf), set()).add(name)
        for user, names in former.items():
            if not self._users[user]:
                del self._users[user]
                self._released.setdefault(user[0], set()).update(names)

    async def flush(self, waits: Callable[[set[str]], bool], now: float) -> None:
        """Flush the zones whose ports are gone; ``waits`` is true of ports that are not yet."""
        due = [
            zone
            for zone, ports in self._released.items()
            if not self._failures.waiting(KIND, str(zone), now) and not waits(ports)
        ]
        if not due:
            return
        used = frozenset(zone for zone, _ in self._users)
        try:
            deleted = await asyncio.to_thread(zone_flush.flush, frozenset(due), used)
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
