"""Next hops in use: counted, resolved, and turned into the kernel's next-hop objects.

Routes of the same remote PE, VRF label and family share one object, so that a change of the core
path is one message to the kernel independent of the number of routes.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.desired import Delta, NextHop, NextHopKey, NextHopPath
from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import IPAddress
from controlplane.vpn.next_hop_resolver import NextHopResolver


class NextHopTracker:
    """Counts the routes on every next hop; writes what changes into a delta."""

    def __init__(self, underlay: NextHopResolver) -> None:
        self._underlay = underlay
        self._uses: dict[NextHopKey, int] = {}
        self._by_address: dict[IPAddress, dict[NextHopKey, None]] = {}
        self._ports_up: set[str] = set()

    def metric(self, hop: NextHopKey) -> int | None:
        """Return IGP metric of a next hop, 0 on a link of ours, None where it is unreachable."""
        if hop.device:
            return 0 if hop.device in self._ports_up else None
        if hop.address is None:
            return 0
        if hop.label < 0:
            # A CE that is on none of the VRF's links must not be looked for in the core.
            return None
        found = self._underlay.watch(hop.address)
        return None if found is None else found.metric

    def unusable(self, hop: NextHopKey) -> str:
        """Say why a next hop has no metric, "" where it has one."""
        if self.metric(hop) is not None:
            return ""
        if hop.device:
            return f"port {hop.device} is down"
        if hop.address is not None and hop.address.is_unspecified:
            return "no route through the workload's port leads to it"
        if hop.label < 0 or hop.address is None:
            return "the next hop is on no link of the VRF"
        return self._underlay.unusable(hop.address)

    def set_port(self, name: str, *, up: bool) -> bool:
        """Note a CE port's state; True if it is news."""
        if up == (name in self._ports_up):
            return False
        if up:
            self._ports_up.add(name)
        else:
            self._ports_up.discard(name)
        return True

    def count(self, hop: NextHopKey, routes: int, delta: Delta) -> None:
        """Add to the number of routes that use this next hop; delete it with the last one."""
        before = self._uses.get(hop, 0)
        after = before + routes
        if after:
            self._uses[hop] = after
        elif before:
            self._forget(hop, delta)
        if after and not before:
            if hop.address is not None:
                self._by_address.setdefault(hop.address, {})[hop] = None
            delta.next_hops[hop] = self.resolve(hop)

    def _forget(self, hop: NextHopKey, delta: Delta) -> None:
        del self._uses[hop]
        delta.next_hops[hop] = None
        sharing = self._by_address.get(hop.address) if hop.address is not None else None
        if sharing is not None and hop.address is not None:
            del sharing[hop]
            if not sharing:
                del self._by_address[hop.address]

    def refresh(self, addresses: Iterable[IPAddress], delta: Delta) -> None:
        """Write the objects of these next hops anew, after they resolved anew."""
        for address in addresses:
            for hop in self._by_address.get(address, ()):
                # An unreachable one is left as it is: its routes are about to go, and it with them.
                if not hop.device and self.metric(hop) is not None:
                    delta.next_hops[hop] = self.resolve(hop)

    def resolve(self, hop: NextHopKey) -> NextHop:
        """Return the object for a next hop by what is known now; no paths where it is a discard."""
        if hop.device:
            return NextHop(hop, (NextHopPath(hop.address, hop.device),))
        found = self._underlay.watch(hop.address) if hop.address and hop.label >= 0 else None
        members = found.paths if found else ()
        return NextHop(hop, tuple(_labelled(hop, member) for member in members))

    @property
    def uses(self) -> dict[NextHopKey, int]:
        """Next hop -> number of routes on it."""
        return self._uses


def _labelled(hop: NextHopKey, member: UnderlayPath) -> NextHopPath:
    """The VPN label goes under the labels of the way (RFC 3032 section 2.1)."""
    gateway = member.gateway if member.gateway is not None else hop.address
    return NextHopPath(gateway, member.device, (*member.labels, hop.label), member.weight)
