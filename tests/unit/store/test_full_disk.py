"""No room: a change is refused with its cause, nothing of it stays, and the next one is kept."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.model.effects import SaveLabels
from controlplane.store import StoreError, open_store

ROOT = Path(__file__).parents[3]


def test_at_the_limit_of_a_files_size_nothing_is_kept_by_halves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.store.full_disk", str(tmp_path), "limit"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (found.stdout, found.stderr) == ("good\n", "")


def test_a_failed_commit_leaves_the_store_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    store.save_labels(SaveLabels({"red": 16}, {}))

    class Failing:
        """A connection whose COMMIT fails, as with a full disk at the sync."""

        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> object:
            return getattr(self._connection, name)

        def execute(self, statement: str, *more: object) -> object:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._connection.execute(statement, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(store._database, "_connection", Failing(store._database._connection))
        with pytest.raises(StoreError, match="disk I/O error"):
            store.save_labels(SaveLabels({"blue": 17}, {}))
    assert store.load_labels().held == {"red": 16}
    store.save_labels(SaveLabels({"blue": 17}, {}))
    assert store.load_labels().held == {"blue": 17}
    store.close()


@pytest.mark.parametrize("name", ["\ud800", "x" * 10])
def test_a_value_that_sqlite_does_not_take_is_a_store_error(tmp_path: Path, name: str) -> None:
    store = open_store(tmp_path)
    label = 2**70 if name.isascii() else 16
    with pytest.raises(StoreError):
        store.save_labels(SaveLabels({name: label}, {}))
    store.save_labels(SaveLabels({"red": 16}, {}))
    store.close()
