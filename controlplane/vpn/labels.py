"""Labels for VRFs: from one block, one a VRF, and rested before another VRF gets them.

A label that was just freed may still be on the way in packets and in peers' tables; given at once
to another VRF it would carry one VPN's packets into another (security requirement ISO-11).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

import msgspec

from controlplane.model.label import Label, LabelBlock

ZONE_MASK = 0xFFFF


class LabelLedger(msgspec.Struct):
    """What outlives the process: VRF -> label held, and label -> (freed at, by which VRF).

    Times are seconds of the wall clock, since they must mean something after a reboot.
    """

    held: dict[str, int] = msgspec.field(default_factory=dict)
    resting: dict[int, tuple[float, str]] = msgspec.field(default_factory=dict)

    def copy(self) -> LabelLedger:
        """One to try things on."""
        return LabelLedger(dict(self.held), dict(self.resting))


class LabelsExhaustedError(Exception):
    """Every label of the block is held or resting."""


def zone_of(label: int) -> int:
    """The conntrack zone that goes with a label; zones have 16 bits, and 0 is the core's."""
    return label & ZONE_MASK


class LabelAllocator:
    """Gives out the labels of ``block``; ``rest`` is in seconds. Writes into ``ledger``.

    ``avoid`` are numbers that something else goes by, such as kernel tables.
    """

    def __init__(
        self, block: LabelBlock, rest: float, ledger: LabelLedger, avoid: Collection[int] = ()
    ) -> None:
        self.block = block
        self.rest = rest
        self.ledger = ledger
        self._avoid = frozenset(avoid)

    def assign(self, vrfs: Iterable[str], wall: float) -> dict[str, Label]:
        """A label for every VRF, and rest for those of all others.

        LabelsExhaustedError if there are too few; the ledger is then not to be used.
        """
        wanted = list(vrfs)
        for name in [name for name in self.ledger.held if name not in wanted]:
            self.release(name, wall)
        return {name: self.obtain(name, wall) for name in wanted}

    def obtain(self, vrf: str, wall: float) -> Label:
        """The VRF's label, a new one if it has none; LabelsExhaustedError if none is to be had.

        A VRF that comes back gets its former label while that still rests, so that peers which
        kept it (RFC 4724) are right.
        """
        held = self.ledger.held.get(vrf)
        if held is not None and held in self.block:
            return Label(held)
        self.release(vrf, wall)  # of a block that is not ours any more: it rests all the same
        self._tidy(wall)
        label = self._former(vrf) or self._fresh()
        self.ledger.resting.pop(label, None)
        self.ledger.held[vrf] = label
        return label

    def release(self, vrf: str, wall: float) -> None:
        """Free the VRF's label, which then rests."""
        label = self.ledger.held.pop(vrf, None)
        if label is not None:
            self.ledger.resting[label] = (wall, vrf)

    def spare(self, count: int) -> list[Label]:
        """Labels that nobody has, from the end of the block, for what is told to nobody: they are
        not written down, and need no rest. LabelsExhaustedError if there are too few."""
        found = list(islice(self._free(reversed(range(*self._bounds))), count))
        if len(found) < count:
            raise LabelsExhaustedError(f"fewer than {count} labels of {self.block} are free")
        return found

    def _former(self, vrf: str) -> Label | None:
        resting = self.ledger.resting.items()
        return next((Label(n) for n, (_, by) in resting if by == vrf and n in self.block), None)

    def _fresh(self) -> Label:
        for label in self._free(range(*self._bounds)):
            return label
        resting = sum(label in self.block for label in self.ledger.resting)
        raise LabelsExhaustedError(f"no free label in {self.block} ({resting} are resting)")

    @property
    def _bounds(self) -> tuple[int, int]:
        return self.block.first, self.block.last + 1

    def _free(self, numbers: Iterable[int]) -> Iterator[Label]:
        """Those of ``numbers`` that may be given out, whose zones differ from all that are."""
        taken = {*self.ledger.held.values(), *self.ledger.resting}
        zones = {zone_of(label) for label in taken} | {0}
        for number in numbers:
            if number not in taken and zone_of(number) not in zones and number not in self._avoid:
                zones.add(zone_of(number))
                yield Label(number)

    def _tidy(self, wall: float) -> None:
        for number, (at, by) in list(self.ledger.resting.items()):
            if wall < at:
                # The clock was set back. Nobody knows how long it has rested: it begins anew.
                self.ledger.resting[number] = (wall, by)
            elif wall - at >= self.rest:
                del self.ledger.resting[number]
