"""MPLS labels (RFC 3032): 20 bits, the first sixteen reserved."""

from __future__ import annotations

from typing import NewType

import msgspec

from controlplane.model.instant import BootTime

Label = NewType("Label", int)

EXPLICIT_NULL_V4 = Label(0)
EXPLICIT_NULL_V6 = Label(2)
IMPLICIT_NULL = Label(3)
FIRST_UNRESERVED = 16
LAST = (1 << 20) - 1


def parse_label(value: int | str) -> Label:
    """Return a label that may be given to a VRF: 16 to 1048575; ValueError otherwise."""
    number = int(value)
    if not FIRST_UNRESERVED <= number <= LAST:
        raise ValueError(f"label {number} is outside {FIRST_UNRESERVED}-{LAST}")
    return Label(number)


class LabelBlock(msgspec.Struct, frozen=True):
    """A closed range of labels that this node may give out."""

    first: int
    last: int

    def __contains__(self, label: int) -> bool:
        return self.first <= label <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse_block(text: str) -> LabelBlock:
    """Read ``16000-16999``; ValueError if it is empty, reversed or touches reserved labels."""
    first, dash, last = text.partition("-")
    if not dash:
        raise ValueError(f"'{text}' is not a label block; write FIRST-LAST, such as 16000-16999")
    block = LabelBlock(parse_label(first.strip()), parse_label(last.strip()))
    if block.first > block.last:
        raise ValueError(f"'{text}': the first label is above the last")
    return block


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
