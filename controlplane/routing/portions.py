"""Cuts a change of intent into portions, each of which one turn can take over. Pure.

Each portion is a configuration by itself: first the old one with fewer and fewer VRFs, then the new
one with the VRFs that stay, each as it was or as it will be, then with more and more new ones. No
two VRFs of a portion have one label, table, RD or port, and no port of the core is a VRF's too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from controlplane.model.intent import NodeIntent, VrfIntent
from controlplane.model.label import Label


class Portion(NamedTuple):
    """What one turn takes over: the intent, and the labels of its VRFs by name. ``removes``: VRFs
    of the old intent are left that the new one does not have."""

    intent: NodeIntent
    labels: Mapping[str, Label]
    removes: bool = False


def portions(
    former: NodeIntent | None, old: Sequence[tuple[VrfIntent, Label]],
    new: NodeIntent, labels: Mapping[str, Label], at_once: int,
) -> Iterator[Portion]:  # fmt: skip
    """Yield what leads from the old VRFs, with their labels, to the new intent; the last portion is
    the new intent itself. ``former`` is None at the start. A portion changes about ``at_once``
    ports, sessions, static routes and VRFs."""
    wanted = {vrf.name: vrf for vrf in new.vrfs}
    present = {vrf.name: vrf for vrf, _ in old}
    held = {vrf.name: label for vrf, label in old}
    if former is not None:
        gone = ([vrf] for vrf in present.values() if vrf.name not in wanted)
        for removed in list(_cut(gone, at_once))[:-1]:  # the last ones go with the first change
            for vrf in removed:
                del present[vrf.name]
            left = tuple(present.values())
            yield Portion(msgspec.structs.replace(former, vrfs=left), dict(held), removes=True)
    present = {name: vrf for name, vrf in present.items() if name in wanted}
    held = {name: held[name] for name in present}
    changed = [
        vrf
        for vrf in new.vrfs
        if vrf.name in present
        and (present[vrf.name] is not vrf or held[vrf.name] != labels[vrf.name])
    ]
    moving = {port.name for port in new.core_ports}
    moving &= {port.name for vrf in changed for port in present[vrf.name].ports}
    steps = list(_steps(changed, labels, present, held))
    steps += [[vrf] for vrf in new.vrfs if vrf.name not in present]
    for taken in list(_cut(steps, at_once))[:-1]:
        present |= {vrf.name: vrf for vrf in taken}
        held |= {vrf.name: labels[vrf.name] for vrf in taken}
        if moving:
            moving &= {port.name for vrf in present.values() for port in vrf.ports}
        core = tuple(port for port in new.core_ports if port.name not in moving)
        vrfs = tuple(present[v.name] for v in new.vrfs if v.name in present)
        yield Portion(msgspec.structs.replace(new, vrfs=vrfs, core_ports=core), dict(held))
    yield Portion(new, labels)


def _steps(
    changed: Sequence[VrfIntent], labels: Mapping[str, Label],
    present: Mapping[str, VrfIntent], held: Mapping[str, Label],
) -> Iterator[list[VrfIntent]]:  # fmt: skip
    """Yield what can change by itself, each after those that have until now what it takes: one VRF,
    or several of which each takes what another one has."""
    left = {vrf.name: vrf for vrf in changed}
    owners = {key: name for name in left for key in _unique(present[name], held[name])}
    waits = {
        name: {owners[key] for key in _unique(vrf, labels[name]) if key in owners} - {name}
        for name, vrf in left.items()
    }
    waited_for: dict[str, list[str]] = {}
    for name, owning in waits.items():
        for owner in owning:
            waited_for.setdefault(owner, []).append(name)
    ready = deque(name for name, owning in waits.items() if not owning)
    while left:
        names = [ready.popleft()] if ready else _closure(next(iter(left)), waits)
        yield [left.pop(name) for name in names]
        for name in names:
            for other in waited_for.get(name, ()):
                waits[other].discard(name)
                if other in left and not waits[other]:
                    ready.append(other)


def _closure(name: str, waits: Mapping[str, set[str]]) -> list[str]:
    """Return a VRF and all for which it waits, directly or not."""
    found = [name]
    for each in found:
        found += sorted(waits[each].difference(found))
    return found


def _unique(vrf: VrfIntent, label: Label) -> Iterator[Hashable]:
    """Yield each thing that no other VRF may have at the same time."""
    yield "label", label
    yield "table", vrf.table or int(label)
    yield "RD", vrf.rd
    if vrf.internet:
        yield "Internet"
    for port in vrf.ports:
        yield "port", port.name
        if port.parent:
            yield "VLAN", port.parent, port.vlan


def _cut(steps: Iterable[Sequence[VrfIntent]], at_once: int) -> Iterator[list[VrfIntent]]:
    portion, size = list[VrfIntent](), 0
    for vrfs in steps:
        portion += vrfs
        size += sum(1 + len(v.ports) + len(v.neighbors) + len(v.static_routes) for v in vrfs)
        if size >= at_once:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion
