"""The store of one node, in one file beside it."""

from __future__ import annotations

from pathlib import Path

from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.store.database import Database
from controlplane.store.segment import SegmentStore
from controlplane.vpn.labels import LabelLedger

FILE = "state.db"


def open_store(folder: Path) -> EmbeddedStore:
    """The node's store in its state folder, made if it is not there. StoreError says the cure."""
    return EmbeddedStore(Database(folder / FILE))


class EmbeddedStore:
    """``Store`` in SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.segment = SegmentStore(database)

    def load_labels(self) -> LabelLedger:
        """The label ledger as it was saved last; an empty one if it never was."""
        held = self._database.rows("SELECT vrf, label FROM label_held")
        held_down = self._database.rows("SELECT label, boot, released, vrf FROM label_hold_down")
        return LabelLedger(
            {str(vrf): _number(label) for vrf, label in held},
            {
                _number(label): (BootTime(str(boot), float(str(released))), str(vrf))
                for label, boot, released, vrf in held_down
            },
        )

    def save_labels(self, labels: SaveLabels) -> None:
        """Make this the label ledger; durable when it returns."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM label_held")
            connection.execute("DELETE FROM label_hold_down")
            connection.executemany("INSERT INTO label_held VALUES (?, ?)", labels.held.items())
            connection.executemany(
                "INSERT INTO label_hold_down VALUES (?, ?, ?, ?)",
                [
                    (label, released.boot, released.seconds, vrf)
                    for label, (released, vrf) in labels.held_down.items()
                ],
            )

    def close(self) -> None:
        """Give up the file."""
        self._database.close()


def _number(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - the tables are STRICT
    return value
