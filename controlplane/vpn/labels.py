"""Allocate one label per VRF from the block; a released label is held down before its reuse.

Packets in flight and peers' tables may still carry a label that was just released; reused at once
for another VRF it would carry one VPN's packets into another (security requirement ISO-11).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

import msgspec

from controlplane.model.instant import BootTime
from controlplane.model.label import Label, LabelBlock

ZONE_MASK = 0xFFFF


class LabelLedger(msgspec.Struct):
    """What outlives the process: VRF -> label, and label in hold-down -> (its release, former VRF).

    The release is dated by the boot clock: a step of the wall clock, such as NTP's first one on a
    machine without a battery, ended every hold-down at once.
    """

    held: dict[str, int] = msgspec.field(default_factory=dict)
    held_down: dict[int, tuple[BootTime, str]] = msgspec.field(default_factory=dict)

    def copy(self) -> LabelLedger:
        """Return a copy to plan on."""
        return LabelLedger(dict(self.held), dict(self.held_down))


class LabelsExhaustedError(Exception):
    """Every label of the block is in use or in hold-down."""


def zone_of(label: int) -> int:
    """Return the conntrack zone of a label; zones have 16 bits, and 0 is the core's."""
    return label & ZONE_MASK


class LabelAllocator:
    """Allocates the labels of ``block``; ``hold_down`` is in seconds. Writes into ``ledger``.

    ``avoid`` are numbers already in use for something else, such as kernel tables.
    """

    def __init__(
        self, block: LabelBlock, hold_down: float, ledger: LabelLedger, avoid: Collection[int] = ()
    ) -> None:
        self.block = block
        self.hold_down = hold_down
        self.ledger = ledger
        self._avoid = frozenset(avoid)

    def assign(self, vrfs: Iterable[str], now: BootTime) -> dict[str, Label]:
        """Return a label for every VRF, and release the labels of all other VRFs.

        LabelsExhaustedError if there are too few; the ledger is then not to be used.
        """
        wanted = list(vrfs)
        for name in [name for name in self.ledger.held if name not in wanted]:
            self.release(name, now)
        return {name: self.obtain(name, now) for name in wanted}

    def obtain(self, vrf: str, now: BootTime) -> Label:
        """Return the VRF's label, a new one if it has none; LabelsExhaustedError if none is free.

        A VRF that comes back gets its former label while that is in hold-down, so that peers which
        kept it (RFC 4724) are right.
        """
        held = self.ledger.held.get(vrf)
        if held is not None and held in self.block:
            return Label(held)
        self.release(vrf, now)  # of a former block: it is held down all the same
        self._end_hold_downs(now)
        label = self._former(vrf) or self._fresh()
        self.ledger.held_down.pop(label, None)
        self.ledger.held[vrf] = label
        return label

    def release(self, vrf: str, now: BootTime) -> None:
        """Release the VRF's label into hold-down."""
        label = self.ledger.held.pop(vrf, None)
        if label is not None:
            self.ledger.held_down[label] = (now, vrf)

    def spare(self, count: int) -> list[Label]:
        """Return unallocated labels from the end of the block, for VRFs that are not advertised.

        They are neither saved nor held down. LabelsExhaustedError if there are too few.
        """
        found = list(islice(self._free(reversed(range(*self._bounds))), count))
        if len(found) < count:
            raise LabelsExhaustedError(f"fewer than {count} labels of {self.block} are free")
        return found

    def _former(self, vrf: str) -> Label | None:
        held_down = self.ledger.held_down.items()
        return next((Label(n) for n, (_, by) in held_down if by == vrf and n in self.block), None)

    def _fresh(self) -> Label:
        for label in self._free(range(*self._bounds)):
            return label
        held_down = sum(label in self.block for label in self.ledger.held_down)
        raise LabelsExhaustedError(f"no free label in {self.block} ({held_down} are in hold-down)")

    @property
    def _bounds(self) -> tuple[int, int]:
        return self.block.first, self.block.last + 1

    def _free(self, numbers: Iterable[int]) -> Iterator[Label]:
        """Yield those of ``numbers`` that are free and whose zones differ from all in use."""
        taken = {*self.ledger.held.values(), *self.ledger.held_down}
        zones = {zone_of(label) for label in taken} | {0}
        for number in numbers:
            if number not in taken and zone_of(number) not in zones and number not in self._avoid:
                zones.add(zone_of(number))
                yield Label(number)

    def _end_hold_downs(self, now: BootTime) -> None:
        for number, (released, vrf) in list(self.ledger.held_down.items()):
            since = released.anchored(now)
            if since.elapsed(now) >= self.hold_down:
                del self.ledger.held_down[number]
            else:
                self.ledger.held_down[number] = (since, vrf)
