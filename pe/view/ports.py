"""Render ports as rows: desired beside observed state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.model.intent import NodeIntent
from controlplane.model.view import PortView
from pe.dataplane.reconciler import DataplaneReconciler
from pe.devices.port_states import PortState
from pe.model.state import ADDRESS, PORT, Failure


def port_rows(intent: NodeIntent, actor: DataplaneReconciler) -> Iterator[PortView]:
    """Yield every configured port, the core's first."""
    seen, problems = actor.state.ports(), port_problems(actor.failures())
    for core in intent.core_ports:
        problem = problems.get(core.name, "")
        yield _row(core.name, "", seen.get(core.name), None, "", problem)
    for vrf in intent.vrfs:
        for port in vrf.ports:
            sources = None if port.sources is None else tuple(map(str, port.sources))
            state, problem = seen.get(port.name), problems.get(port.name, "")
            yield _row(port.name, vrf.name, state, sources, port.description, problem)


def port_problems(failures: Iterable[Failure]) -> dict[str, str]:
    """Return what fails of each port, by its name: all of it, or the addresses of one family."""
    found: dict[str, list[str]] = {}
    for failure in failures:
        if failure.kind == PORT:
            found.setdefault(failure.key, []).append(failure.message)
        elif failure.kind == ADDRESS:
            port, _, family = failure.key.partition(" ")
            words = f"{family.replace('ip', 'IP')} address refused: {failure.message}"
            found.setdefault(port, []).append(words)
    return {port: "; ".join(reasons) for port, reasons in found.items()}


def _row(
    name: str,
    vrf: str,
    state: PortState | None,
    sources: tuple[str, ...] | None,
    description: str,
    problem: str,
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
        problem=problem,
    )
