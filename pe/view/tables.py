"""Render VRFs, labels and next hops as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controlplane.model.desired import NextHopKey
from controlplane.model.instant import BootTime
from controlplane.model.view import LabelView, NextHopView, PathView, VrfView
from controlplane.router import Router


def vrf_rows(router: Router) -> Iterator[VrfView]:
    """Yield every VRF, by name."""
    for name in sorted(router.vrfs):
        vrf = router.vrfs[name]
        yield VrfView(
            name=name,
            rd=str(vrf.intent.rd),
            import_targets=tuple(sorted(map(str, vrf.intent.import_targets))),
            export_targets=tuple(sorted(map(str, vrf.intent.export_targets))),
            table=vrf.number,
            label=int(vrf.label),
            ports=tuple(port.name for port in vrf.intent.ports),
            routes=len(vrf.table),
            active_routes=len(vrf.table.best),
            route_limit=vrf.intent.route_limit,
            refused_routes=vrf.refused,
            description=vrf.intent.description,
        )


def label_rows(router: Router, now: BootTime) -> Iterator[LabelView]:
    """List the labels of VRFs, then those in hold-down."""
    for vrf in sorted(router.vrfs.values(), key=lambda v: v.label):
        yield LabelView(label=int(vrf.label), vrf=vrf.name, table=vrf.number)
    hold_down = router.intent.label_hold_down if router.intent else 0
    for label, (released, owner) in sorted(router.ledger.held_down.items()):
        left = max(0.0, hold_down - released.elapsed(now))
        yield LabelView(label=label, vrf=owner, table=0, held_down=True, hold_down=left)


def next_hop_rows(router: Router, ids: Mapping[NextHopKey, int]) -> Iterator[NextHopView]:
    """Yield every next hop that a route uses; ``ids`` are the kernel's."""
    vrf_of = {p.name: v.name for v in router.vrfs.values() for p in v.intent.ports}
    for hop, uses in list(router.hops.uses.items()):
        resolved = router.hops.resolve(hop)
        yield NextHopView(
            id=ids.get(hop, 0),
            address=str(hop.address) if hop.address else ("" if hop.device else "blackhole"),
            reachable=router.hops.metric(hop) is not None,
            paths=tuple(
                PathView(
                    gateway=str(p.gateway or ""), port=p.device, labels=p.labels, weight=p.weight
                )
                for p in resolved.paths
            ),
            vrf=vrf_of.get(hop.device, ""),
            vpn_label=hop.label if hop.label >= 0 else None,
            routes=uses,
        )
