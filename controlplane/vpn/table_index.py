"""Which of the VRFs' tables there is something to do in, so that no turn looks through all."""

from __future__ import annotations

from typing import TypeAlias

from controlplane.model.desired import NextHopKey
from controlplane.model.prefix import IPAddress

Way: TypeAlias = "str | IPAddress | None"


class TableIndex:
    """Of all VRFs of a node, by name; dictionaries stand for sets that keep their order."""

    def __init__(self) -> None:
        self.dirty: dict[str, None] = {}
        """Tables with prefixes to decide."""
        self.overflowed: dict[str, None] = {}
        """VRFs that had no room for a route."""
        self._through: dict[Way, dict[str, None]] = {}
        self._ways: dict[str, dict[Way, None]] = {}
        """The same by VRF."""

    def lead_through(self, hop: NextHopKey, vrf: str) -> None:
        """Note that a table has a candidate through a next hop, or had one."""
        way = way_of(hop)
        self._through.setdefault(way, {})[vrf] = None
        self._ways.setdefault(vrf, {})[way] = None

    def through(self, way: Way) -> dict[str, None]:
        """Return the VRFs that may have a candidate through a device or an address."""
        return self._through.get(way, {})

    def forget(self, vrf: str) -> None:
        """Forget a VRF that is gone."""
        self.dirty.pop(vrf, None)
        self.overflowed.pop(vrf, None)
        for way in self._ways.pop(vrf, ()):
            del self._through[way][vrf]
            if not self._through[way]:
                del self._through[way]


def way_of(hop: NextHopKey) -> Way:
    """Return what a next hop changes with: its device, or the address that is resolved."""
    return hop.device or hop.address
