"""Scratch VRFs: requested by a selftest, decided here like any other, not advertised.

They stand beside the configuration's VRFs and not among them: their routes go to no peer, no
session is opened for their neighbours, no ledger keeps their labels. What the kernel should hold
for them comes from the same layout as for all VRFs.
"""

from __future__ import annotations

import msgspec

from controlplane.model.desired import Delta, NextHop, NextHopKey, NextHopPath
from controlplane.model.intent import CorePortIntent, NodeIntent
from controlplane.model.label import Label
from controlplane.model.scratch import RemoteSite, SelftestLayout
from controlplane.routing.desired_vrf import Layout, difference
from controlplane.routing.state import RouterState
from controlplane.vpn.labels import LabelAllocator, LabelsExhaustedError
from controlplane.vpn.vrf import Vrf


class SelftestVrfs:
    """At most one scratch at a time. ``labels``: VRF -> label, None while there is none."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._there: Delta | None = None
        self.labels: dict[str, Label] | None = None
        self.refusal = ""

    def open(self, scratch: SelftestLayout) -> None:
        """Order its objects in the kernel; ``refusal`` is why not."""
        self.refusal = ""
        intent = self._state.intent
        if intent is None or self.labels is not None:
            self.refusal = "the node has no configuration yet" if intent is None else "one is open"
            return
        try:
            names = (vrf.name for vrf in scratch.vrfs)
            self.labels = self._allocator(intent).borrow(names, self._state.now.boot)
        except LabelsExhaustedError as error:
            self.refusal = str(error)
            return
        self._there = self._lay_out(intent, scratch, self.labels)
        self._state.effects.delta.merge(self._there)

    def close(self) -> None:
        """Take all of it back."""
        if self._there is not None:
            self._state.effects.delta.merge(_reverse(self._there))
        if self.labels is not None and self._state.intent is not None:
            self._allocator(self._state.intent).hold(self.labels, self._state.now.boot)
        self._there = self.labels = None

    def _allocator(self, intent: NodeIntent) -> LabelAllocator:
        state = self._state
        tables = state.tables.values()
        return LabelAllocator(intent.label_block, intent.label_hold_down, state.ledger, tables)

    def _lay_out(
        self, intent: NodeIntent, scratch: SelftestLayout, labels: dict[str, Label]
    ) -> Delta:
        own = (CorePortIntent(name=scratch.core_port),)
        vrfs = {wanted.name: Vrf(wanted, labels[wanted.name]) for wanted in scratch.vrfs}
        wanted = msgspec.structs.replace(intent, vrfs=scratch.vrfs, core_ports=own, peers=())
        delta = difference(None, Layout(wanted, vrfs))
        delta.node = None  # it is there already
        for vrf in vrfs.values():
            for prefix, hop in vrf.static_hops():
                delta.next_hops[hop] = NextHop(hop, (NextHopPath(hop.address, hop.device),))
                delta.routes.setdefault(vrf.number, {})[prefix] = hop
        for site in scratch.far_sites:
            hop = _far_hop(site, scratch.core_port)
            path = NextHopPath(site.gateway, scratch.core_port, site.labels)
            delta.next_hops[hop] = NextHop(hop, (path,))
            delta.routes.setdefault(vrfs[site.vrf].number, {})[site.prefix] = hop
        return delta


def _far_hop(site: RemoteSite, port: str) -> NextHopKey:
    return NextHopKey(site.prefix.afi, site.gateway, site.labels[-1], port)


def _reverse(delta: Delta) -> Delta:
    return Delta(
        vrfs=dict.fromkeys(delta.vrfs),
        ce_ports=dict.fromkeys(delta.ce_ports),
        core_ports=dict.fromkeys(delta.core_ports),
        sessions=dict.fromkeys(delta.sessions),
        next_hops=dict.fromkeys(delta.next_hops),
        labels=dict.fromkeys(delta.labels),
        routes={table: dict.fromkeys(routes) for table, routes in delta.routes.items()},
    )
