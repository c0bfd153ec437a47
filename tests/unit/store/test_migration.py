"""Files that older programs wrote are read by this one, and newer or damaged ones are left alone.

``kept/version-N.db`` was written by the program of that version, from the same content.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controlplane.model.effects import SaveLabels
from controlplane.model.instant import BootTime
from controlplane.model.prefix import parse_prefix
from controlplane.model.revision import State
from controlplane.policy.language.revision import Ledger, UnreadableError
from controlplane.store import EmbeddedStore, StoreDamagedError, StoreError, open_store
from controlplane.store.schema import VERSION

KEPT = Path(__file__).parent / "kept"
UNKNOWN = BootTime("", 0.0)
NOW = BootTime("this-boot", 50.0)


def placed(version: int, folder: Path) -> Path:
    """Put a file of a version where a node has its store."""
    folder.chmod(0o700)
    return Path(shutil.copy(KEPT / f"version-{version}.db", folder / "state.db"))


def version_of(file: Path) -> int:
    with closing(sqlite3.connect(file)) as opened:
        return int(opened.execute("PRAGMA user_version").fetchone()[0])


def test_every_version_has_a_file_here() -> None:
    found = sorted(version_of(file) for file in KEPT.glob("version-*.db"))
    assert found == list(range(1, VERSION))


@pytest.mark.parametrize("version", range(1, VERSION))
def test_labels_survive_from_each_version(tmp_path: Path, version: int) -> None:
    placed(version, tmp_path)
    store = open_store(tmp_path)
    ledger = store.load_labels()
    assert ledger.held == {"red": 16000, "blue": 16001}
    ((released, vrf),) = ledger.held_down.values()
    assert vrf == "green"
    assert released == (UNKNOWN if version < 3 else BootTime("an-earlier-boot", 1000.5))
    store.save_labels(SaveLabels({"red": 16000}, {}))
    assert store.load_labels().held == {"red": 16000}
    store.close()


@pytest.mark.parametrize("version", range(2, VERSION))
def test_microsegmentation_survives_from_each_version(tmp_path: Path, version: int) -> None:
    placed(version, tmp_path)
    store = open_store(tmp_path)
    kept = store.load_policy()
    assert kept.attachments["web"].workload.tags == {"tier": "web"}
    assert [line.change for line in kept.history] == ["attached", "attached", "detached"]
    assert kept.held_down == {("red", parse_prefix("10.0.0.9")): UNKNOWN}
    assert kept.baselines["may"].lost == 4
    ledger = Ledger.kept(kept.revisions, kept.trail)
    named = {State.ENFORCED: "second", State.STAGED: "third"}
    for state, name in named.items():
        revision = ledger.in_state(state)
        assert revision is not None
        assert revision.policy.name == name
    assert [entry.move for entry in ledger.trail] == ["stage", "promote", "stage", "promote",
                                                      "stage"]  # fmt: skip
    check_still_usable(store, ledger)


def check_still_usable(store: EmbeddedStore, ledger: Ledger) -> None:
    """Later changes go into the migrated tables."""
    (first,) = [r for r in ledger.revisions.values() if r.state is State.SUPERSEDED]
    store.save_ledger(Ledger(), Ledger({first.digest: first}))
    line = store.load_policy().history[-1]
    store.forget_attachment("web", line, [("red", parse_prefix("10.0.0.1"))], NOW, 300.0)
    # The hold-down of unknown age now has one, else it would begin anew at every start.
    assert set(store.load_policy().held_down.values()) == {NOW}
    later = BootTime("this-boot", 400.0)
    store.forget_attachment("web", line, [], later, 300.0)
    assert store.load_policy().held_down == {}
    store.close()


@pytest.mark.parametrize("version", range(2, VERSION))
def test_a_document_that_is_refused_today_is_a_named_remnant(tmp_path: Path, version: int) -> None:
    placed(version, tmp_path)
    store = open_store(tmp_path)
    kept = store.load_policy()
    store.close()
    drafts = {r.name: r for r in Ledger.kept(kept.revisions, kept.trail).revisions.values()}
    for name in ("empty-service", "selective"):
        assert drafts[name].problem
        with pytest.raises(UnreadableError, match="unreadable"):
            _ = drafts[name].policy
    assert drafts["first"].policy.name == "first"  # the control
    assert not drafts["first"].problem


@pytest.mark.parametrize("version", range(1, VERSION))
def test_the_file_is_copied_before_it_is_migrated(tmp_path: Path, version: int) -> None:
    before = placed(version, tmp_path).read_bytes()
    open_store(tmp_path).close()
    copy = tmp_path / f"state.db.version-{version}"
    assert version_of(copy) == version
    assert copy.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(copy)) as opened, closing(sqlite3.connect(":memory:")) as old:
        old.deserialize(before)
        assert list(opened.iterdump()) == list(old.iterdump())
    assert version_of(tmp_path / "state.db") == VERSION
    open_store(tmp_path).close()  # and only once
    assert {file.name for file in tmp_path.glob("state.db.*")} == {copy.name}


def test_a_new_file_is_not_copied(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    assert not list(tmp_path.glob("state.db.*"))


def test_without_room_for_the_copy_nothing_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = placed(2, tmp_path)

    def full(_source: object, _target: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("controlplane.store.migration._copy", full)
    with pytest.raises(StoreError, match="full"):
        open_store(tmp_path)
    assert version_of(file) == 2


def test_a_newer_file_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    file = tmp_path / "state.db"
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("PRAGMA journal_mode = DELETE")
        opened.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = file.read_bytes()
    with pytest.raises(StoreError, match=f"schema version {VERSION + 1}.*run the newer program"):
        open_store(tmp_path)
    assert file.read_bytes() == before


def test_a_foreign_database_of_version_zero_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("CREATE TABLE precious (x)")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StoreDamagedError, match="of something else"):
        open_store(tmp_path)
    assert (tmp_path / "state.db").read_bytes() == before
