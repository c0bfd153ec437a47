"""What the node asks of a store, whatever keeps it."""

from __future__ import annotations

from typing import Protocol

from controlplane.model.effects import SaveLabels
from controlplane.vpn.labels import LabelLedger


class Store(Protocol):
    """Every ``save`` is on the disk when it returns, whole or not at all."""

    def load_labels(self) -> LabelLedger:
        """The label ledger as it was saved last; an empty one if it never was."""

    def save_labels(self, labels: SaveLabels) -> None:
        """Make this the label ledger."""

    def close(self) -> None:
        """Give up the file."""
