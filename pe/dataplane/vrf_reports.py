"""Report by VRF that the kernel holds what was submitted: no tenant waits for another."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.model.desired import Delta, Desired, VrfObjects, objects_by_vrf


class VrfReports:
    """The VRFs ("" is the core) to be reported, each with its number and objects."""

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._due: dict[str, tuple[int, VrfObjects]] = {}

    def note(self, delta: Delta, number: int) -> None:
        """Take in a change before it is applied; with number 0 it delays what is due already."""
        desired = self._desired
        found = objects_by_vrf(delta, desired.vrfs, desired.ce_ports, desired.labels)
        for vrf, objects in found.items():
            earlier, known = self._due.get(vrf, (0, VrfObjects()))
            if number or earlier:
                objects.devices |= known.devices
                objects.tables |= known.tables
                objects.labels |= known.labels
                self._due[vrf] = (number or earlier, objects)

    def take(self, waits: Callable[[str, VrfObjects], bool]) -> dict[str, int]:
        """Return the VRFs that wait for nothing any more, with their numbers, and forget them."""
        held = {v: number for v, (number, objects) in self._due.items() if not waits(v, objects)}
        for vrf in held:
            del self._due[vrf]
        return held
