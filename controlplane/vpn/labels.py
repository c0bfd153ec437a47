"""Labels for VRFs: from one block, one a VRF, and rested before another VRF gets them.

A label that was just freed may still be on the way in packets and in peers' tables; given at once
to another VRF it would carry one VPN's packets into another (security requirement ISO-11).
"""

from __future__ import annotations

import msgspec

from controlplane.model.label import Label, LabelBlock


class LabelLedger(msgspec.Struct):
    """What outlives the process: VRF -> label held, and label -> (freed at, by which VRF).

    Times are seconds of the wall clock, since they must mean something after a reboot.
    """

    held: dict[str, int] = msgspec.field(default_factory=dict)
    resting: dict[int, tuple[float, str]] = msgspec.field(default_factory=dict)


class LabelsExhaustedError(Exception):
    """Every label of the block is held or resting."""


class LabelAllocator:
    """Gives out the labels of ``block``; ``rest`` is in seconds."""

    def __init__(self, block: LabelBlock, rest: float, ledger: LabelLedger | None = None) -> None:
        self.block = block
        self.rest = rest
        self.ledger = ledger or LabelLedger()

    def obtain(self, vrf: str, wall: float) -> Label:
        """The VRF's label, a new one if it has none; LabelsExhaustedError if none is to be had.

        A VRF that comes back gets its former label while that still rests, so that peers which
        kept it (RFC 4724) are right.
        """
        held = self.ledger.held.get(vrf)
        if held is not None and held in self.block:
            return Label(held)
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

    def _former(self, vrf: str) -> Label | None:
        resting = self.ledger.resting.items()
        return next((Label(n) for n, (_, by) in resting if by == vrf and n in self.block), None)

    def _fresh(self) -> Label:
        taken = set(self.ledger.held.values()) | set(self.ledger.resting)
        for number in range(self.block.first, self.block.last + 1):
            if number not in taken:
                return Label(number)
        resting = len(self.ledger.resting)
        raise LabelsExhaustedError(f"no free label in {self.block} ({resting} are resting)")

    def _tidy(self, wall: float) -> None:
        # A clock that was set back must not make a label rest for years.
        for number, (at, _) in list(self.ledger.resting.items()):
            if not 0 <= wall - at < self.rest:
                del self.ledger.resting[number]
