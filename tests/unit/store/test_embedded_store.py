"""The store: what was saved is there again, whole, also after a crash."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.model.label import LabelLedger
from controlplane.store import StoreDamagedError, StoreError, open_store
from controlplane.store.migration import APPLICATION_ID
from controlplane.store.schema import STEPS, VERSION

LABELS = SaveLabels({"red": 16000, "blue": 16001}, {16002: (BootTime("boot-1", 1234.5), "green")})


def saved(labels: SaveLabels) -> LabelLedger:
    return LabelLedger(labels.held, labels.held_down)


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    store = open_store(tmp_path / "new" / "folder")
    assert store.load_labels() == LabelLedger()
    store.save_labels(LABELS)
    assert store.load_labels() == saved(LABELS)
    store.close()
    again = open_store(tmp_path / "new" / "folder")
    assert again.load_labels() == saved(LABELS)
    again.save_labels(SaveLabels({}, {}))
    assert again.load_labels() == LabelLedger()
    again.close()


def test_only_the_node_may_read_it(tmp_path: Path) -> None:
    open_store(tmp_path / "state").close()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state" / "state.db").stat().st_mode & 0o077 == 0


def test_it_is_synced_with_every_save(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    settings = [store._database.rows(f"PRAGMA {name}")[0][0] for name in
                ("journal_mode", "synchronous")]  # fmt: skip
    assert settings == ["wal", 2]
    store.close()


def test_a_save_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save_labels(LABELS)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.save_labels(SaveLabels({"red": 17, "blue": 17}, {}))
    with pytest.raises(StoreError, match="CHECK"):
        store.save_labels(SaveLabels({"red": 3}, {}))
    assert store.load_labels() == saved(LABELS)
    store.save_labels(SaveLabels({"red": 17}, {}))
    store.close()


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StoreError, match="in use by another process"):
        open_store(tmp_path)
    store.close()
    open_store(tmp_path).close()


def test_a_file_that_is_none_is_named_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is not a database, however long it may be" * 100)
    with pytest.raises(StoreDamagedError, match=r"state\.db is damaged .* move state\.db\* away"):
        open_store(tmp_path)


def test_a_damaged_page_is_found_when_it_is_opened(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save_labels(SaveLabels({f"vrf-{i}": 16 + i for i in range(2000)}, {}))
    store.close()
    file = tmp_path / "state.db"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(range(256)) * 16
    file.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="damaged"):
        open_store(tmp_path)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "state.db")
    other.executescript("CREATE TABLE precious (x); PRAGMA user_version = 1;")
    other.close()
    with pytest.raises(StoreDamagedError, match="of something else"):
        open_store(tmp_path)


def test_a_newer_file_is_not_touched(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    file = sqlite3.connect(tmp_path / "state.db")
    file.execute(f"PRAGMA user_version = {VERSION + 1}")
    file.close()
    with pytest.raises(StoreError, match=f"version {VERSION + 1}.*run the newer program"):
        open_store(tmp_path)


def test_a_hold_down_of_unix_time_becomes_one_of_unknown_age(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "state.db")
    for step in STEPS[:2]:
        old.executescript(step)
    old.execute("INSERT INTO label_resting VALUES (16002, 1234.5, 'green')")
    old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    old.execute("PRAGMA user_version = 2")
    old.commit()
    old.close()
    store = open_store(tmp_path)
    assert store.load_labels() == LabelLedger({}, {16002: (BootTime("", 0.0), "green")})
    store.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give the node a folder"):
        open_store(tmp_path / "file")
