"""Next hops in use: counted, resolved, and turned into the kernel's next-hop objects.

Routes of the same remote PE, VRF label and family share one object, so that a change of the core
path is one message to the kernel whatever the number of routes.
"""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.model.desired import Delta, NextHop, NextHopKey, NextHopPath
from controlplane.model.events import UnderlayPath
from controlplane.model.prefix import IPAddress
from controlplane.vpn.underlay import Underlay


class NextHopBook:
    """Counts the routes on every next hop; writes what changes into a delta."""

    def __init__(self, underlay: Underlay) -> None:
        self._underlay = underlay
        self._uses: dict[NextHopKey, int] = {}
        self._ports_up: set[str] = set()

    def metric(self, hop: NextHopKey) -> int | None:
        """IGP metric of a next hop, 0 on a link of ours, None where it is unreachable."""
        if hop.device:
            return 0 if hop.device in self._ports_up else None
        if hop.address is None:
            return 0
        found = self._underlay.watch(hop.address)
        return None if found is None else found.metric

    def set_port(self, name: str, *, up: bool) -> bool:
        """Note a CE port's state; True if it is news."""
        if up == (name in self._ports_up):
            return False
        if up:
            self._ports_up.add(name)
        else:
            self._ports_up.discard(name)
        return True

    def port_is_up(self, name: str) -> bool:
        """True if the port can carry packets now."""
        return name in self._ports_up

    def take(self, hop: NextHopKey, delta: Delta) -> None:
        """A route uses this next hop from now on."""
        uses = self._uses.get(hop, 0)
        self._uses[hop] = uses + 1
        if not uses:
            delta.next_hops[hop] = self.resolve(hop)

    def release(self, hop: NextHopKey, delta: Delta) -> None:
        """A route uses it no more; the last one out takes the object away."""
        uses = self._uses[hop] - 1
        if uses:
            self._uses[hop] = uses
        else:
            del self._uses[hop]
            delta.next_hops[hop] = None

    def refresh(self, addresses: Iterable[IPAddress], delta: Delta) -> None:
        """The way to these next hops is another now: write their objects anew."""
        wanted = set(addresses)
        for hop in self._uses:
            # An unreachable one is left as it is: its routes are about to go, and with it they go.
            if hop.address in wanted and not hop.device and self.metric(hop) is not None:
                delta.next_hops[hop] = self.resolve(hop)

    def resolve(self, hop: NextHopKey) -> NextHop:
        """The object for a next hop by what is known now; no paths where it is a discard."""
        if hop.device:
            return NextHop(hop, (NextHopPath(hop.address, hop.device),))
        found = self._underlay.watch(hop.address) if hop.address else None
        legs = found.paths if found else ()
        return NextHop(hop, tuple(_labelled(hop, leg) for leg in legs))

    @property
    def uses(self) -> dict[NextHopKey, int]:
        """Next hop -> number of routes on it."""
        return self._uses


def _labelled(hop: NextHopKey, leg: UnderlayPath) -> NextHopPath:
    """The VPN label goes under the labels of the way (RFC 3032 section 2.1)."""
    gateway = leg.gateway if leg.gateway is not None else hop.address
    return NextHopPath(gateway, leg.device, (*leg.labels, hop.label), leg.weight)
