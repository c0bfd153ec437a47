"""Allocate one label per VRF from the block; a released label is held down before its reuse.

Packets in flight and peers' tables may still carry a label that was just released; reused at once
for another VRF it would carry one VPN's packets into another (security requirement ISO-11).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from controlplane.model.instant import BootTime
from controlplane.model.label import Label, LabelBlock, LabelLedger

ZONE_MASK = 0xFFFF


class LabelsExhaustedError(Exception):
    """Every label of the block is in use or in hold-down."""


def zone_of(label: int) -> int:
    """Return the conntrack zone of a label; zones have 16 bits, and 0 is the core's."""
    return label & ZONE_MASK


class LabelAllocator:
    """Allocates the labels of ``block``; ``hold_down`` is in seconds. Writes into ``ledger``.

    ``avoid`` are numbers already in use for something else: kernel tables, and labels that
    another program of the machine routes.
    """

    def __init__(
        self, block: LabelBlock, hold_down: float, ledger: LabelLedger, avoid: Collection[int] = ()
    ) -> None:
        self.block = block
        self.hold_down = hold_down
        self.ledger = ledger
        self._avoid = frozenset(avoid)
        # Derived from the ledger once, then kept in step: a search per VRF made a reload with
        # 4,000 new VRFs take a second.
        self._zones = Counter(map(zone_of, (*ledger.held.values(), *ledger.held_down)))
        self._former = {by: label for label, (_, by) in ledger.held_down.items() if label in block}
        self._cursor = block.first

    def assign(self, vrfs: Iterable[str], now: BootTime) -> dict[str, Label]:
        """Return a label for every VRF, and release the labels of all other VRFs.

        LabelsExhaustedError if there are too few; the ledger is then not to be used.
        """
        wanted = dict.fromkeys(vrfs)
        for name in [name for name in self.ledger.held if name not in wanted]:
            self.release(name, now)
        self._end_hold_downs(now)
        return {name: self._obtain(name, now) for name in wanted}

    def _obtain(self, vrf: str, now: BootTime) -> Label:
        """Return the VRF's label, a new one if it has none.

        A VRF that comes back gets its former label while that is in hold-down, so that peers which
        kept it (RFC 4724) are right.
        """
        held = self.ledger.held.get(vrf)
        if held is not None and held in self.block and held not in self._avoid:
            return Label(held)
        self.release(vrf, now)  # of a former block: it is held down all the same
        former = self._former.pop(vrf, None)
        if former is None or former in self._avoid:
            label = self._fresh()
            self._zones[zone_of(label)] += 1
        else:
            label = Label(former)
            del self.ledger.held_down[label]
        self.ledger.held[vrf] = label
        return label

    def release(self, vrf: str, now: BootTime) -> None:
        """Release the VRF's label into hold-down."""
        label = self.ledger.held.pop(vrf, None)
        if label is not None:
            self.ledger.held_down[label] = (now, vrf)
            if label in self.block:
                self._former[vrf] = label

    def borrow(self, vrfs: Iterable[str], now: BootTime) -> dict[str, Label]:
        """Return labels from the end of the block for VRFs that are not advertised.

        They are in hold-down from now on, so that no other VRF gets them, nor their zones with
        connections of these VRFs; the same VRFs get them again. LabelsExhaustedError if there are
        too few; then nothing has changed.
        """
        self._end_hold_downs(now)
        found: dict[str, Label] = {}
        numbers = iter(range(self.block.last, self.block.first - 1, -1))
        taken: set[int] = set()
        for vrf in vrfs:
            former = self._former.get(vrf, 0)
            number = (former if former not in self._avoid else 0) or next(
                (n for n in numbers if self._is_free(n) and zone_of(n) not in taken), None
            )
            if number is None:
                raise LabelsExhaustedError(f"too few labels of {self.block} are free")
            found[vrf] = Label(number)
            taken.add(zone_of(number))
        self.hold(found, now)
        return found

    def hold(self, labels: Mapping[str, Label], now: BootTime) -> None:
        """Begin the hold-down of borrowed labels, or begin it anew."""
        for vrf, label in labels.items():
            if label not in self.ledger.held_down:
                self._zones[zone_of(label)] += 1
            self.ledger.held_down[label] = (now, vrf)
            self._former[vrf] = label

    def _fresh(self) -> Label:
        """Return the lowest free label; those below the cursor are in use."""
        for number in range(self._cursor, self.block.last + 1):
            self._cursor = number
            if self._is_free(number):
                return Label(number)
        held_down = sum(label in self.block for label in self.ledger.held_down)
        raise LabelsExhaustedError(f"no free label in {self.block} ({held_down} are in hold-down)")

    def _is_free(self, number: int) -> bool:
        """Return True if the label may be given out: no label in use shares its zone."""
        zone = zone_of(number)
        return zone != 0 and not self._zones[zone] and number not in self._avoid

    def _end_hold_downs(self, now: BootTime) -> None:
        for number, (released, vrf) in list(self.ledger.held_down.items()):
            since = released.anchored(now)
            if since.elapsed(now) >= self.hold_down:
                del self.ledger.held_down[number]
                self._zones[zone_of(number)] -= 1
                if self._former.get(vrf) == number:
                    del self._former[vrf]
                self._cursor = self.block.first
            else:
                self.ledger.held_down[number] = (since, vrf)
