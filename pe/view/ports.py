"""Render ports as rows: desired beside observed state."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.model.intent import NodeIntent
from controlplane.model.view import PortView
from pe.dataplane.reconciler import DataplaneReconciler
from pe.devices.port_states import PortState


def port_rows(intent: NodeIntent, actor: DataplaneReconciler) -> Iterator[PortView]:
    """Yield every configured port, the core's first."""
    seen = actor.ports()
    for core in intent.core_ports:
        yield _row(core.name, "", seen.get(core.name), None, "")
    for vrf in intent.vrfs:
        for port in vrf.ports:
            sources = None if port.sources is None else tuple(map(str, port.sources))
            yield _row(port.name, vrf.name, seen.get(port.name), sources, port.description)


def _row(
    name: str,
    vrf: str,
    state: PortState | None,
    sources: tuple[str, ...] | None,
    description: str,
) -> PortView:
    return PortView(
        name=name,
        vrf=vrf,
        present=state is not None and state.present,
        up=state is not None and state.up,
        addresses=state.addresses if state else (),
        mtu=state.mtu if state else 0,
        sources=sources,
        guarded=state is not None and state.guarded,
        description=description,
    )
