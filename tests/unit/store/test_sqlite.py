"""The store keeps the ledger whole: over reopening, damage, newer files, and kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.model.effects import SaveLabels
from controlplane.store.sqlite import FILE, StoreError, open_store

WRITER = """
import sys
from pathlib import Path
from controlplane.model.effects import SaveLabels
from controlplane.store.sqlite import open_store
store = open_store(Path(sys.argv[1]))
n = 0
while True:
    n += 1
    held = {f"vrf{i}": 16 + n * 10 + i for i in range(10)}
    store.save_labels(SaveLabels(held, {n: (float(n), "x")}))
    print(n, flush=True)
"""


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.load_labels().held == {}
    store.save_labels(SaveLabels({"red": 16000}, {16001: (12.5, "blue")}))
    store.close()
    again = open_store(tmp_path).load_labels()
    assert again.held == {"red": 16000}
    assert again.resting == {16001: (12.5, "blue")}


def test_a_damaged_file_is_refused_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="move the file away"):
        open_store(tmp_path)


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with store.transaction() as database:
        database.execute("PRAGMA user_version=999")
    store.close()
    with pytest.raises(StoreError, match="newer version"):
        open_store(tmp_path)


def test_a_failed_change_leaves_what_was(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save_labels(SaveLabels({"red": 16000}, {}))
    with pytest.raises(StoreError):
        store.save_labels(SaveLabels({"red": 16001, "blue": 16001}, {}))
    assert store.load_labels().held == {"red": 16000}


@pytest.mark.parametrize("pause", [0.0, 0.003, 0.011, 0.02, 0.05])
def test_kill_9_leaves_before_or_after(tmp_path: Path, pause: float) -> None:
    argv = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause)  # the moment of the blow is what varies here
        writer.send_signal(signal.SIGKILL)
        told = [int(line) for line in writer.stdout.read().split()]
    held = open_store(tmp_path).load_labels().held
    number = (held["vrf0"] - 16) // 10
    assert held == {f"vrf{i}": 16 + number * 10 + i for i in range(10)}
    assert number >= max(told, default=1)
