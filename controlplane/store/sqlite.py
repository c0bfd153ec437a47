"""The node's store: SQLite in WAL mode, fsync at every commit.

The file is opened, checked and migrated once. ``kill -9`` at any point leaves the state before or
after a transaction, never between (SQLite, "Atomic Commit"; synchronous=FULL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.model.effects import SaveLabels
from controlplane.vpn.labels import LabelLedger

FILE = "bulkhead.sqlite"
BUSY_SECONDS = 5.0

# One script a version, run in order: a file of version N lacks all after the Nth.
MIGRATIONS = (
    """
    CREATE TABLE labels_held (vrf TEXT PRIMARY KEY, label INTEGER NOT NULL UNIQUE) STRICT;
    CREATE TABLE labels_resting (
        label INTEGER PRIMARY KEY, freed_at REAL NOT NULL, vrf TEXT NOT NULL
    ) STRICT;
    """,
)


class StoreError(OSError):
    """The store cannot be used; the message names the file and the cure."""


class Store:
    """An open store. One process at a time uses it: the node holds its lock."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A durable change, whole or not at all. Raises StoreError where the disk fails."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"the store did not take a change: {error}") from error

    def load_labels(self) -> LabelLedger:
        """The label ledger as it was last saved; an empty one at first."""
        held = self._database.execute("SELECT vrf, label FROM labels_held")
        resting = self._database.execute("SELECT label, freed_at, vrf FROM labels_resting")
        return LabelLedger(dict(held), {label: (at, vrf) for label, at, vrf in resting})

    def save_labels(self, labels: SaveLabels) -> None:
        """Replace the label ledger; durable when this returns."""
        resting = [(label, at, vrf) for label, (at, vrf) in labels.resting.items()]
        with self.transaction() as database:
            database.execute("DELETE FROM labels_held")
            database.execute("DELETE FROM labels_resting")
            database.executemany("INSERT INTO labels_held VALUES (?, ?)", labels.held.items())
            database.executemany("INSERT INTO labels_resting VALUES (?, ?, ?)", resting)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def open_store(folder: Path) -> Store:
    """Open or make the store in a node's state folder. Raises StoreError with the cure."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        _prepare(database)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{path}: {error}; move the file away to start with an empty store"
            " (labels are then given anew, which other PEs follow)"
        ) from error
    path.chmod(0o600)
    return Store(database)


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"damaged: {verdict}")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"written by a newer version (schema {version})")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version={number}; COMMIT;")
